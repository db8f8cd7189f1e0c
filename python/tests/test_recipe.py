"""Recipes and plans."""

from __future__ import annotations

import copy
import json
import multiprocessing
import pickle
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

import fanin

pytestmark = pytest.mark.usefixtures("in_folder")

TENSORS = {"fc.weight": (8, 6), "fc.bias": (8,)}


def test_presets() -> None:
    names = fanin.Recipe.presets()
    assert {"gpt2", "llama", "torch"} <= set(names)
    for name in names:
        recipe = fanin.Recipe.preset(name)
        assert recipe.name == name
        assert len(recipe.sha256) == 64
        assert "[[rule]]" in recipe.text
        assert recipe.seed is None
        assert recipe.tensors is None
    assert repr(fanin.Recipe.preset("gpt2")).startswith("<fanin.Recipe 'gpt2', sha256 ")


def test_recipes_have_a_source() -> None:
    with pytest.raises(TypeError, match="Recipe.preset, Recipe.load"):
        fanin.Recipe()
    with pytest.raises(TypeError, match="use Recipe.plan"):
        fanin.Plan()


def test_from_rules_gives_the_recipe_of_its_text() -> None:
    rules = [
        {"match": ["*.bias", 'odd "name"\\\n\x7f'], "rank": 1, "init": "ones"},
        {"match": "fc.weight", "values": np.arange(48, dtype="float32").reshape(8, 6)},
        {"match": "h", "parts": [{"slice": "0:2", "init": "zeros"}], "init": "normal(std=0.5)"},
        {"match": "i", "values": [float("-inf"), True, 1e-45, -0.0], "dtype": "f32"},
    ]
    recipe = fanin.Recipe.from_rules(
        rules, seed=7, dtype="bf16", layout="in_out", extends="buffers"
    )
    again = fanin.Recipe.from_toml(recipe.text)
    assert again.sha256 == recipe.sha256
    assert recipe.seed == 7
    plan = recipe.plan({**TENSORS, "h": (4, 2), "i": (4,), "bn.running_var": (3,)})
    assert plan["fc.bias"].init == "ones"
    assert plan["fc.bias"].dtype == "bf16"
    assert plan["bn.running_var"].init == "ones"
    assert plan["h"].parts == (fanin.PlanPart(((0, 2), (0, 2)), "zeros"),)
    values = plan.fill("fc.weight", dtype="float32")
    assert (values == np.arange(48).reshape(8, 6)).all()
    assert np.isneginf(plan.fill("i", dtype="float32")[0])


def test_faulty_rules_are_refused() -> None:
    with pytest.raises(fanin.RecipeError, match=r"recipe line \d+, column \d+: .*inti"):
        fanin.Recipe.from_rules([{"match": "*", "inti": "zeros"}])
    with pytest.raises(fanin.RecipeError, match="has no .*rule"):
        fanin.Recipe.from_rules([])
    with pytest.raises(TypeError, match="a rule is a str: use a dict"):
        fanin.Recipe.from_rules(["*"])  # type: ignore[list-item]
    with pytest.raises(TypeError, match="is a object, for which TOML has no form"):
        fanin.Recipe.from_rules([{"match": object()}])


def test_a_plan_has_entries() -> None:
    recipe = fanin.Recipe.from_rules(
        [
            {"match": "head.weight", "tied_to": "fc.weight"},
            {"match": "copy.weight", "same_as": "fc.weight"},
            {"match": "steps", "skip": True},
            {"match": "nothing.*", "init": "zeros"},
            {"match": "fc.bias", "init": "zeros", "seed": 9},
            {"match": "*", "init": "kaiming_normal"},
        ]
    )
    tensors = {**TENSORS, "head.weight": (8, 6), "copy.weight": (8, 6), "steps": ()}
    plan = recipe.plan(tensors, seed=42)
    assert list(plan) == plan.names == ["fc.weight", "fc.bias", "head.weight", "copy.weight"]
    assert len(plan) == 4
    assert "fc.bias" in plan
    assert "steps" not in plan
    assert 3 not in plan
    assert plan.skipped == ["steps"]
    assert (plan.seed, plan.elements, plan.bytes) == (42, 3 * 48 + 8, 4 * (3 * 48 + 8))
    assert plan.entries == [plan[name] for name in plan]
    entry = plan["fc.weight"]
    assert (entry.shape, entry.dtype, entry.init) == ((8, 6), "f32", "kaiming_normal")
    assert (entry.fan_in, entry.fan_out, entry.seed) == (6, 8, 42)
    assert entry.rule == ("recipe", 23, 1)
    assert plan["fc.bias"].seed == 9
    assert plan["head.weight"].tied_to == "fc.weight"
    assert plan["copy.weight"].same_as == "fc.weight"
    assert plan["head.weight"].stream == entry.stream
    assert (plan.fill("head.weight") == plan.fill("fc.weight")).all()
    [message] = plan.unused
    assert 'the rule with match = "nothing.*" applies to no tensor' in message
    assert repr(plan) == "<fanin.Plan of 4 tensors, 152 elements, seed 42>"
    with pytest.raises(fanin.UnknownTensorError, match="is skipped by the recipe"):
        plan.fill("steps")


def test_a_plan_fills_as_fill_does() -> None:
    plan = fanin.Recipe.preset("kaiming").plan(TENSORS, 42)
    init = plan["fc.weight"].init
    expected = fanin.fill(init, (8, 6), name="fc.weight", seed=42)
    assert (plan.fill("fc.weight") == expected).all()
    assert (plan.fill("fc.weight", "2:5,:") == expected[2:5]).all()
    half = plan.fill("fc.weight", dtype="float16")
    assert (half == expected.astype("float16")).all()
    out = np.zeros((6, 8), "float32").T
    assert plan.fill("fc.weight", out=out) is out
    assert (out == expected).all()
    raw = np.empty((2, 6), "float32")
    plan.fill_at("fc.weight", raw.ctypes.data, raw.nbytes, slice="6:,:", threads=2)
    assert (raw == expected[6:]).all()


def test_lists_of_tensors_in_all_forms() -> None:
    class Shaped:
        shape = (8,)
        dtype = np.dtype("float16")

    forms: list[Any] = [
        TENSORS,
        [("fc.weight", (8, 6)), ("fc.bias", [8])],
        [("fc.weight", (8, 6), None), ("fc.bias", 8, "float32")],
        iter([("fc.weight", (np.int64(8), 6)), ("fc.bias", (8,))]),
        {"fc": {"weight": (8, 6), "bias": 8}},
        {"fc.weight": np.zeros((8, 6), "float32"), "fc.bias": np.zeros(8, "float32")},
    ]
    Path("list.json").write_text(
        json.dumps([{"name": name, "shape": shape} for name, shape in TENSORS.items()])
    )
    forms += ["list.json", Path("list.json")]
    recipe = fanin.Recipe.preset("kaiming")
    entries = fanin.Recipe.preset("kaiming").plan(TENSORS, 1).entries
    for form in forms:
        assert recipe.plan(form, 1).entries == entries
    assert recipe.plan({**TENSORS, "fc.bias": Shaped()}, 1)["fc.bias"].dtype == "f16"
    assert recipe.plan(TENSORS, 1, "bfloat16")["fc.bias"].dtype == "bf16"


def test_trees_of_tensors() -> None:
    class State(NamedTuple):
        count: Any
        mean: Any

    class Empty(NamedTuple):
        pass

    weight, bias = np.zeros((8, 6), "float16"), np.zeros(8, "float32")

    def names(tensors: Any) -> list[tuple[str, tuple[int, ...], str]]:
        plan = fanin.Recipe.from_rules([{"match": "*", "init": "zeros"}]).plan(tensors, 1)
        return [(entry.name, entry.shape, entry.dtype) for entry in plan.entries]

    layer = {"weight": weight, "bias": bias}
    expected = [("weight", (8, 6), "f16"), ("bias", (8,), "f32")]
    layers = [(f"{at}.{name}", *rest) for at in (0, 1) for name, *rest in expected]
    assert names({"layers": [layer, layer]}) == [
        ("layers." + name, *rest) for name, *rest in layers
    ]
    assert names([layer, layer]) == names((layer, layer)) == layers
    assert names({"mlp": ((weight, bias),)}) == [
        ("mlp.0.0", *expected[0][1:]),
        ("mlp.0.1", *expected[1][1:]),
    ]
    assert names([weight]) == [("0", (8, 6), "f16")]
    # As the paths of JAX, the names of fields stand for the elements of a named tuple.
    state = State(np.zeros((), "int32"), {"w": bias})
    assert names({"adam": (state, Empty())}) == [
        ("adam.0.count", (), "i32"),
        ("adam.0.mean.w", (8,), "f32"),
    ]
    # Whole numbers are a shape, and so is nothing.
    shapes = {"a": [(3, 4), (5,)], "b": [2, np.int64(3)], "c": (), "d": [], "e": np.int64(8)}
    assert [shape for _, shape, _ in names(shapes)] == [(3, 4), (5,), (2, 3), (), (), (8,)]
    # The elements of an array in a pair are no shape.
    pairs = [("mean", bias), ("count", np.array([3, 4])), ("one", bias, "bf16")]
    assert names(pairs) == [("mean", (8,), "f32"), ("count", (2,), "i64"), ("one", (8,), "bf16")]
    for faulty in (weight, [(2, 3)], [("w",)], [3], ["ab"], 3):
        with pytest.raises(TypeError, match="tensors"):
            names(faulty)
    with pytest.raises(fanin.ArgumentError, match="tensor 'w.1' is a NoneType, which has no shape"):
        names({"w": [weight, None]})


def test_lists_of_torch_and_jax() -> None:
    torch = pytest.importorskip("torch")
    model = torch.nn.Sequential(torch.nn.Linear(6, 8, device="meta", dtype=torch.bfloat16))
    plan = fanin.Recipe.preset("torch").plan(model.state_dict(), 1)
    assert [(entry.name, entry.shape, entry.dtype) for entry in plan.entries] == [
        ("0.weight", (8, 6), "bf16"),
        ("0.bias", (8,), "bf16"),
    ]
    buffers = torch.nn.BatchNorm1d(3).named_buffers()
    plan = fanin.Recipe.from_rules([{"match": "*", "init": "zeros"}]).plan(buffers, 1)
    assert [entry.shape for entry in plan.entries] == [(3,), (3,), ()]
    jax = pytest.importorskip("jax")
    kernel = jax.ShapeDtypeStruct((6, 8), jax.numpy.bfloat16)
    plan = fanin.Recipe.preset("flax").plan({"dense": {"kernel": kernel}}, 1)
    assert (plan["dense.kernel"].dtype, plan["dense.kernel"].fan_in) == ("bf16", 6)


def test_faulty_lists_are_refused() -> None:
    recipe = fanin.Recipe.preset("kaiming")
    for tensors, message in (
        ([("w.weight", (2, 2)), ("w.weight", (2, 2))], "is listed twice"),
        ([("w.weight", (2, -2))], r'tensor "w.weight": shape \(2, -2\): use whole numbers'),
        ([("w.weight", (2, 2), "f99")], 'tensor "w.weight": unknown dtype "f99"'),
        ({"w.weight": "x"}, "tensor 'w.weight' is a str, which has no shape"),
        ([("odd", (2, 2))], 'tensor "odd" of shape .* is matched by no rule'),
        ("missing.json", "missing.json: cannot open"),
    ):
        with pytest.raises(fanin.FaninError, match=message):
            recipe.plan(tensors, 1)
    with pytest.raises(fanin.RecipeError, match="no list of tensors: give tensors, or write"):
        recipe.plan(seed=1)
    with pytest.raises(fanin.RecipeError, match="no seed: give one"):
        recipe.plan(TENSORS)
    with pytest.raises(TypeError, match="tensors has 5: use tuples"):
        recipe.plan([5], 1)  # type: ignore[list-item]


def test_recipes_are_equal_by_their_contents() -> None:
    rules = [{"match": "*", "init": "zeros"}]
    recipe = fanin.Recipe.from_rules(rules)
    same = fanin.Recipe.from_toml(recipe.text)
    assert recipe == same
    assert hash(recipe) == hash(same)
    assert len({recipe, same, fanin.Recipe.preset("gpt2"), fanin.Recipe.preset("gpt2")}) == 2
    assert recipe != fanin.Recipe.from_rules(rules, seed=1)
    assert recipe != recipe.text
    # The same text means other tensors in another folder.
    for folder in ("a", "b"):
        Path(folder).mkdir()
        Path(folder, "own.toml").write_text('extends = "kaiming"\ntensors = "list.json"\n')
    a, again, b = (fanin.Recipe.load(f"{folder}/own.toml") for folder in "aab")
    assert a == again != b


def copies(value: Any) -> list[Any]:
    """Returns copies by all ways of Python."""
    # Not multiprocessing.Pool, which waits for ever if its process cannot read an argument.
    spawned = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawned) as pool:
        return [
            copy.copy(value),
            copy.deepcopy(value),
            pickle.loads(pickle.dumps(value)),
            pool.submit(copy.copy, value).result(),
        ]


def test_recipes_are_copied() -> None:
    Path("own.toml").write_text('extends = "kaiming"\nseed = 7\n')
    for recipe in (
        fanin.Recipe.preset("llama"),
        fanin.Recipe.from_rules([{"match": "é*", "init": "zeros"}]),
        fanin.Recipe.load("own.toml"),
    ):
        assert copies(recipe) == [recipe] * 4
    written = pickle.dumps(fanin.Recipe.load("own.toml"))
    Path("own.toml").write_text('extends = "kaiming"\nseed = 8\n')
    with pytest.raises(fanin.RecipeError, match="recipe 'own.toml' has changed since it was"):
        pickle.loads(written)


def test_plans_are_copied(monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = fanin.Recipe.from_rules([{"match": "0.*", "keep": True}], extends="kaiming", seed=3)
    fanin.init_model("kaiming", {"0.weight": (4, 3), "1.weight": (4, 3)}, 1, out="old.safetensors")
    dims = [8, 6]
    array = np.zeros((2, 3), "float16")
    plans = [
        recipe.plan("old.safetensors"),
        fanin.Recipe.preset("kaiming").plan({"fc.weight": dims, "a.weight": array}, 2**64 - 1),
        fanin.Recipe.preset("kaiming").plan(TENSORS, 1, "bfloat16"),
    ]
    # Neither the caller's list nor the folder matters later.
    dims[0] = 80
    for plan in plans:
        for again in copies(plan):
            assert again.entries == plan.entries
            assert again.seed == plan.seed
    expected, written = plans[0].fill("0.weight"), pickle.dumps(plans[0])
    Path("elsewhere").mkdir()
    monkeypatch.chdir("elsewhere")
    assert (pickle.loads(written).fill("0.weight") == expected).all()


def test_a_recipe_takes_dtypes() -> None:
    for dtype in ("float16", "f16", np.float16, np.dtype("float16")):
        recipe = fanin.Recipe.from_rules([{"match": "*", "init": "zeros"}], dtype=dtype)
        assert recipe.plan(TENSORS, 1)["fc.weight"].dtype == "f16"
    with pytest.raises(TypeError, match="is a type, for which TOML has no form"):
        fanin.Recipe.from_rules([{"match": "*", "init": np.float16}])


def test_a_recipe_names_its_list() -> None:
    folder = Path("models")
    folder.mkdir()
    (folder / "list.json").write_text('[{"name": "fc.weight", "shape": [8, 6]}]')
    (folder / "own.toml").write_text('extends = "kaiming"\ntensors = "list.json"\nseed = 5\n')
    recipe = fanin.Recipe.load(folder / "own.toml")
    assert recipe.name == "own.toml"
    assert recipe.tensors == folder / "list.json"
    assert recipe.plan().names == ["fc.weight"]
    assert recipe.plan(TENSORS).names == list(TENSORS)


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int8", "int16", "uint32", "int64", "float16"])
def test_a_tensor_is_filled_in_its_own_dtype(dtype: str) -> None:
    plan = fanin.Recipe.from_rules([{"match": "*", "init": "ones"}]).plan([("w", (3,), dtype)], 1)
    assert plan.fill("w").dtype == dtype
    assert plan.fill("w").tolist() == [1, 1, 1]
