"""Trees of Flax, Equinox and plain Python, and the bytes of the command line."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax.sharding import AxisType, NamedSharding
from safetensors.numpy import load_file

import fanin
import fanin.jax

from . import llama
from .compare import SEED, assert_same_bits, rules, shape, traced


class Net(nn.Module):
    """A model of Linen, one of whose kernels is in a box with the names of its axes."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Returns features of shape (batch, 8, 4)."""
        boxed = nn.with_partitioning(nn.initializers.lecun_normal(), (None, "x"))
        x = nn.BatchNorm(use_running_average=True)(nn.Dense(8, kernel_init=boxed)(x))
        return nn.Conv(4, (3,))(x[..., None])


class NetNnx(nnx.Module):
    """A model of NNX with state that is no weights."""

    def __init__(self, rngs: nnx.Rngs) -> None:
        self.layers = nnx.List([nnx.Linear(4, 4, rngs=rngs) for _ in range(2)])
        self.norm = nnx.BatchNorm(4, rngs=rngs)
        self.drop = nnx.Dropout(0.1, rngs=rngs)


def test_names_and_values_of_linen() -> None:
    shapes = jax.eval_shape(Net().init, jax.random.key(0), jnp.ones((1, 6)))
    made = fanin.jax.init("flax", shapes, SEED)
    plan = fanin.Recipe.preset("flax").plan(
        {
            "params.Dense_0.kernel": (6, 8),
            "params.Dense_0.bias": (8,),
            "params.Conv_0.kernel": (3, 1, 4),
            "batch_stats.BatchNorm_0.var": (8,),
        },
        SEED,
    )
    for name in plan:
        collection, layer, leaf = name.split(".")
        assert_same_bits(nn.unbox(made)[collection][layer][leaf], plan.fill(name), name)
    assert isinstance(made["params"]["Dense_0"]["kernel"], nn.Partitioned)
    assert Net().apply(made, jnp.ones((1, 6))).shape == (1, 8, 4)


def test_linen_boxes_give_shardings() -> None:
    mesh = jax.make_mesh((8,), ("x",), axis_types=(AxisType.Auto,))
    shapes = jax.eval_shape(Net().init, jax.random.key(0), jnp.ones((1, 6)))
    made = fanin.jax.init("flax", shapes, SEED, sharding=nn.get_sharding(shapes, mesh))
    kernel = nn.unbox(made)["params"]["Dense_0"]["kernel"]
    assert {shard.data.shape for shard in kernel.addressable_shards} == {(6, 1)}
    whole = nn.unbox(fanin.jax.init("flax", shapes, SEED))["params"]["Dense_0"]["kernel"]
    assert_same_bits(kernel, whole, "box")


def test_names_and_values_of_nnx() -> None:
    model = nnx.eval_shape(lambda: NetNnx(nnx.Rngs(0)))
    kinds = (nnx.Param, nnx.BatchStat)
    state = fanin.jax.init("flax", nnx.state(model, kinds), SEED)
    nnx.update(model, state)
    expected = fanin.fill(
        "lecun_normal", (4, 4), name="layers.1.kernel", seed=SEED, layout="in_out"
    )
    assert_same_bits(model.layers[1].kernel[...], expected, "layers.1.kernel")
    assert_same_bits(model.norm.var[...], np.ones(4, np.float32), "norm.var")


def test_keys_are_no_weights() -> None:
    model = nnx.eval_shape(lambda: NetNnx(nnx.Rngs(0)))
    with pytest.raises(fanin.ArgumentError, match="'drop.rngs.key' holds keys of jax.random"):
        fanin.jax.init("flax", nnx.state(model), 1)


def test_names_of_lists_tuples_and_equinox() -> None:
    import equinox as eqx

    module = eqx.filter_eval_shape(eqx.nn.Linear, 3, 2, key=jax.random.key(0))
    tree = {"net": [module.weight, (shape(2), None)], "5": shape(3)}
    made = fanin.jax.init(rules({"*": "normal"}), tree, SEED)
    assert jax.tree.structure(made) == jax.tree.structure(tree)
    for one, name in ((made["net"][0], "net.0"), (made["net"][1][0], "net.1.0"), (made["5"], "5")):
        expected = fanin.fill("normal", one.shape, name=name, seed=SEED)
        assert_same_bits(one, expected, name)
    linear = fanin.jax.init(rules({"weight": "normal", "bias": "zeros"}), module, SEED)
    expected = fanin.fill("normal", (2, 3), name="weight", seed=SEED)
    assert_same_bits(linear.weight, expected, "weight")


@pytest.mark.parametrize(
    ("make", "dtype"),
    [(fanin.jax.init, None), (fanin.jax.init, "bfloat16"), (traced, "bfloat16")],
    ids=["host", "host-bfloat16", "traced-bfloat16"],
)
def test_llama_on_a_mesh_has_the_bytes_of_the_command_line(
    make: Callable[..., Any], dtype: str | None, tmp_path: Path
) -> None:
    tree = llama.shapes()
    files = fanin.init_model(
        "llama", _flat(tree), SEED, out=tmp_path / "m.safetensors", dtype=dtype
    )
    expected = load_file(files.out)
    mesh = jax.make_mesh((2, 2), ("data", "model"), devices=jax.devices()[:4])
    shardings = jax.tree.map(lambda spec: NamedSharding(mesh, spec), llama.specs(tree))
    made = _flat(make("llama", tree, SEED, sharding=shardings, dtype=dtype))
    assert made.keys() == expected.keys()
    for name, array in made.items():
        assert len(array.sharding.device_set) == 4
        assert_same_bits(array, expected[name], name)


def _flat(tree: Any) -> dict[str, Any]:
    paths = jax.tree_util.tree_leaves_with_path(tree)
    return {jax.tree_util.keystr(path, simple=True, separator="."): leaf for path, leaf in paths}


def test_kept_and_skipped_tensors(tmp_path: Path) -> None:
    tensors = {"kept": (3, 4), "w": (5,)}
    fanin.init_model(rules({"*": "normal"}), tensors, 1, out=tmp_path / "old.safetensors")
    (tmp_path / "recipe.toml").write_text(
        '[[rule]]\nmatch = "kept"\nkeep = "old.safetensors"\n'
        '[[rule]]\nmatch = "left"\nskip = true\n'
        '[[rule]]\nmatch = "*"\ninit = "normal"\n'
    )
    recipe = fanin.Recipe.load(tmp_path / "recipe.toml")
    shapes = {"kept": shape(3, 4), "left": shape(2), "w": shape(5)}
    expected = fanin.fill("normal", (3, 4), name="kept", seed=1)
    made = fanin.jax.init(recipe, shapes, 2)
    assert_same_bits(made["kept"], expected, "kept")
    assert made["left"] is shapes["left"]
    array = jnp.ones(2)
    made = jax.jit(lambda left: fanin.jax.init(recipe, {**shapes, "left": left}, 2))(array)
    assert_same_bits(made["kept"], expected, "kept in a traced function")
    assert_same_bits(made["left"], array, "left")


def test_tied_tensors_have_equal_weights() -> None:
    recipe = fanin.Recipe.from_rules(
        [{"match": "head", "tied_to": "embed"}, {"match": "*", "init": "normal"}]
    )
    shapes = {"embed": shape(5, 3), "head": shape(5, 3)}
    for make in (fanin.jax.init, traced):
        made = make(recipe, shapes, 1)
        assert_same_bits(made["head"], made["embed"], "tied")


def test_dtypes() -> None:
    tree = {"w": shape(3, dtype="bfloat16"), "n": shape(2, dtype="int32")}
    recipe = rules({"w": "normal", "n": "ones"})
    assert fanin.jax.init(recipe, tree, 1)["w"].dtype == jnp.bfloat16
    made = fanin.jax.init(recipe, tree, 1, dtype=jnp.float16)
    assert (made["w"].dtype, made["n"].dtype) == (jnp.float16, jnp.int32)
    with pytest.raises(fanin.ArgumentError, match="'w' has dtype float64, and JAX has no such"):
        fanin.jax.init(recipe, tree, 1, dtype="float64")
    with jax.enable_x64(True):
        assert fanin.jax.init(recipe, tree, 1, dtype="float64")["w"].dtype == jnp.float64


def test_unused_rules_are_warned_of() -> None:
    with pytest.warns(UserWarning, match="b"):
        fanin.jax.init(rules({"w": "normal", "b": "zeros"}), {"w": shape(2)}, 1)


@pytest.mark.parametrize(
    ("tree", "error", "message"),
    [
        ({"w": 3}, fanin.ArgumentError, "tensor 'w' is a int, which has no shape and dtype"),
        ({"a": shape(2)}, fanin.RecipeError, 'tensor "a" .*no rule'),
        ({"w": {"x": shape(2)}, "w.x": shape(2)}, fanin.FormatError, "w.x"),
    ],
    ids=itertools.count(),
)
def test_trees_that_do_not_fit(tree: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        fanin.jax.init(rules({"w*": "normal"}), tree, 1)
