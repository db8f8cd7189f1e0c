"""Hostile arguments: each raises an exception with one line, and never ends the process."""

from __future__ import annotations

import copy
import itertools
import pickle
from pathlib import Path
from typing import Any, Callable

import numpy as np
import pytest

import fanin
from fanin import _native

pytestmark = pytest.mark.usefixtures("in_folder")

RECIPE = fanin.Recipe.from_toml("extends = 'kaiming'\nseed = 1")
LIST = [("fc.weight", (4, 3), None)]


class Unprintable:
    """An object that no code can show or convert."""

    def __repr__(self) -> str:
        raise RuntimeError("no repr")

    __str__ = __repr__


class PathOfBytes:
    """A path that Python's own functions take."""

    def __fspath__(self) -> bytes:
        return b"kaiming"


SELF_CONTAINING_DICT: dict[str, Any] = {}
SELF_CONTAINING_DICT["a"] = SELF_CONTAINING_DICT
SELF_CONTAINING_LIST: list[Any] = []
SELF_CONTAINING_LIST.append(SELF_CONTAINING_LIST)

HOSTILE: list[Any] = [
    None,
    True,
    -1,
    2**64,
    10**6000,
    -(10**6000),
    1.5,
    float("nan"),
    float("inf"),
    "",
    "\0",
    "\ud800",
    "x" * 100_000,
    "*" * 5000,
    "[",
    "{a",
    b"w",
    (),
    [],
    [()],
    [None],
    {},
    {"w": None},
    {"w": -1},
    {"w": {"w": "x"}},
    {1: (2,)},
    (-1,),
    (2**63, 2**63),
    ("a", "b"),
    [[1], [2]],
    object(),
    Unprintable(),
    np.float32(1),
    np.array([1, 2]),
    np.array(["a"]),
    np.zeros((3, 3), "complex128"),
    slice(None, None, -1),
    slice("a", "b"),
    ...,
    lambda *_: 1 / 0,
    type,
    SELF_CONTAINING_DICT,
    SELF_CONTAINING_LIST,
    PathOfBytes(),
    (1,) * 65,
    np.zeros((4, 3), ">f4"),
    np.dtype(">f8"),
]

# README.md promises these, and no other ValueError, OverflowError, OSError and so on.
EXPECTED = (fanin.FaninError, TypeError, MemoryError)


def pickled(value: Any) -> Any:
    return pickle.loads(pickle.dumps(value))


def fill(**arguments: Any) -> object:
    given = {"init": "normal", "shape": (4, 3), "name": "w", "seed": 1, **arguments}
    return fanin.fill(given.pop("init"), given.pop("shape"), **given)


def native_fill(**arguments: Any) -> object:
    array = np.empty((4, 3), "float32")
    given = {"init": "normal", "shape": (4, 3), "dtype": "f32", "name": "w", "seed": 1, **arguments}
    return _native.fill_at(
        given.pop("init"), given.pop("shape"), array.ctypes.data, array.nbytes, **given
    )


def plan(**arguments: Any) -> object:
    given = {"recipe": "kaiming", "tensors": LIST, "seed": 1, **arguments}
    recipe = given.pop("recipe")
    if not isinstance(recipe, str):
        return fanin.Recipe.from_rules(recipe)
    return fanin.Recipe.preset(recipe).plan(**given)


def plan_fill(**arguments: Any) -> object:
    plan = fanin.Recipe.preset("kaiming").plan(LIST, 1)
    return plan.fill(**{"name": "fc.weight", **arguments})


def rules(**arguments: Any) -> object:
    given = {"match": "*", "init": "zeros", **arguments}
    return fanin.Recipe.from_rules([given]).plan(LIST, 1)


def init_model(**arguments: Any) -> object:
    given = {"recipe": "kaiming", "tensors": LIST, "seed": 1, "out": "m/", **arguments}
    return fanin.init_model(**given)


def check(function: Callable[..., object]) -> Callable[..., object]:
    def run(**arguments: Any) -> object:
        fanin.init_model("kaiming", LIST, 1, out="w.safetensors")
        given = {"path": "w.safetensors", "recipe": RECIPE, **arguments}
        return function(given.pop("path"), given.pop("recipe"), **given)

    return run


def diff(**arguments: Any) -> object:
    fanin.init_model("kaiming", LIST, 1, out="w.safetensors")
    return fanin.diff(**{"start": "kaiming", "trained": "w.safetensors", "seed": 1, **arguments})


def preset(text: str = "kaiming") -> object:
    return fanin.Recipe.preset(text)


def from_toml(text: str = "extends = 'kaiming'") -> object:
    return fanin.Recipe.from_toml(text)


def load(path: str = "own.toml") -> object:
    Path("own.toml").write_text("extends = 'kaiming'")
    return fanin.Recipe.load(path)


def local_indices(**arguments: Any) -> object:
    given = {"shape": (4,), "mesh": (2,), "placements": ["shard(0)"], "rank": 0, **arguments}
    return _native.local_indices(*given.values())


FUNCTIONS: dict[str, tuple[Callable[..., object], list[str]]] = {
    "fill": (
        fill,
        "init shape name seed dtype layout groups in_axis out_axis batch_axis slice out threads "
        "stream progress".split(),
    ),
    "native_fill": (native_fill, "init shape name seed dtype layout slice threads stream".split()),
    "plan": (plan, "recipe tensors seed dtype".split()),
    "plan_fill": (plan_fill, "name slice out dtype threads progress".split()),
    "rules": (rules, "match init seed dtype rank parts values same_as keep extra".split()),
    "init_model": (
        init_model,
        "recipe tensors seed out dtype max_shard_size shard_spec rank world_size memory "
        "threads progress".split(),
    ),
    "verify": (check(fanin.verify), "path recipe seed tensors threads progress".split()),
    "stats": (check(fanin.stats), "path recipe threads progress".split()),
    "diff": (diff, "start trained seed tensors dtype threads progress".split()),
    "preset": (preset, ["text"]),
    "load": (load, ["path"]),
    "from_toml": (from_toml, ["text"]),
    "local_indices": (local_indices, "shape mesh placements rank".split()),
}


@pytest.mark.parametrize(
    ("function", "argument"),
    [
        pytest.param(function, argument, id=f"{name}-{argument}")
        for name, (function, arguments) in FUNCTIONS.items()
        for argument in arguments
    ],
)
def test_hostile_arguments_raise(function: Callable[..., object], argument: str) -> None:
    # Without a hostile argument it works, so the argument is at fault.
    function()
    raised = 0
    for value in HOSTILE:
        try:
            function(**{argument: value})
        except ZeroDivisionError:
            assert argument == "progress"
            raised += 1
        except EXPECTED as error:
            raised += 1
            if isinstance(error, fanin.FaninError):
                message = str(error)
                assert message
                assert "\n" not in message
                assert len(message) < 10_000
    assert raised > 0


def test_errors_name_the_argument() -> None:
    accepted = "use a whole number from 0 to 18446744073709551615"
    with pytest.raises(fanin.ArgumentError, match=f"seed -1 is out of range: {accepted}"):
        fill(seed=-1)
    with pytest.raises(TypeError, match=f"seed True is not a whole number: {accepted}"):
        fill(seed=True)
    with pytest.raises(TypeError, match="seed np.True_ is not a whole number"):
        fill(seed=np.bool_(True))
    with pytest.raises(fanin.ArgumentError, match="seed np.int64.-5. is out of range"):
        fill(seed=np.int64(-5))
    with pytest.raises(fanin.ArgumentError, match="threads 0 is out of range: use 1 to 1024"):
        fill(threads=0)
    with pytest.raises(fanin.ArgumentError, match='tensor "w": .*is not an initializer'):
        fill(init="nrmal")
    with pytest.raises(fanin.ArgumentError, match="step 2: use slices with step 1"):
        fill(slice=slice(0, 4, 2))
    with pytest.raises(fanin.ArgumentError, match=r"for the index 1, use \(1, 2\)\)"):
        fill(slice=[1])
    with pytest.raises(fanin.ArgumentError, match=r"for the index -1, use \(3, 4\)\)"):
        fill(slice=[-1])


def test_what_contains_itself_is_named() -> None:
    recipe = fanin.Recipe.preset("kaiming")
    with pytest.raises(fanin.ArgumentError, match=r"tensors\['a'\] contains itself"):
        recipe.plan(SELF_CONTAINING_DICT, 1)
    for value in (SELF_CONTAINING_DICT, SELF_CONTAINING_LIST):
        rule = {"match": value, "init": "zeros"}
        with pytest.raises(fanin.RecipeError, match="rule 2: 'match' contains itself"):
            fanin.Recipe.from_rules([{"match": "*", "init": "zeros"}, rule])
    # Mappings that are only deep are fine.
    deep: dict[str, Any] = {"weight": (2, 2)}
    for _ in range(50):
        deep = {"a": deep}
    assert recipe.plan(deep, 1).names == ["a." * 50 + "weight"]


def test_messages_name_arguments_of_python() -> None:
    for function, arguments, error, message in (
        (fill, {"name": None}, TypeError, "name None is not text: use a str"),
        (fill, {"init": 3}, TypeError, "init 3 is not text: use a str"),
        (fill, {"layout": b"out_in"}, TypeError, "layout b'out_in' is not text"),
        (fill, {"name": "\ud800"}, fanin.ArgumentError, "it has a lone surrogate"),
        (fill, {"threads": -1}, fanin.ArgumentError, "threads -1 is out of range: use 1 to 1024"),
        (fill, {"shape": b"ab"}, fanin.ArgumentError, "shape b'ab': use whole numbers"),
        (fill, {"shape": (1,) * 65}, fanin.ArgumentError, "tensor 'w': numpy has no array of its"),
        (fill, {"dtype": ">f4"}, fanin.ArgumentError, "byte order of another .*: use float32"),
        (fill, {"init": "he_normal", "groups": 3}, fanin.ArgumentError, "groups"),
        (fill, {"in_axis": "x"}, fanin.ArgumentError, "in_axis 'x': use the number of an axis"),
        (fill, {"batch_axis": [2**70]}, fanin.ArgumentError, r"batch_axis \[1180591620717411303"),
        (init_model, {"memory": 0}, fanin.ArgumentError, "memory 0: use a number of bytes"),
        (init_model, {"max_shard_size": -1}, fanin.ArgumentError, "max_shard_size -1 is out of"),
        (init_model, {"rank": True}, TypeError, "rank True is not a whole number"),
        (init_model, {"rank": -1}, fanin.ArgumentError, "rank -1 is out of range"),
        (init_model, {"world_size": 2**64}, fanin.ArgumentError, "world_size 18446744073709551616"),
        (
            init_model,
            {"rank": 0, "world_size": 0},
            fanin.ArgumentError,
            "world_size 0 is out of range: use the number of processes, 1 or more",
        ),
        (init_model, {"out": ".safetensors"}, fanin.ArgumentError, "the file's name is missing"),
        (init_model, {"out": b"m"}, TypeError, "out is a bytes, not .*: use os.fsdecode"),
        (init_model, {"recipe": PathOfBytes()}, TypeError, "recipe is a PathOfBytes of bytes"),
        (init_model, {"recipe": "\ud800.toml"}, fanin.ArgumentError, "recipe .* is not a path"),
        (diff, {"start": b"kaiming"}, TypeError, "start is a bytes"),
        (plan, {"tensors": [("\ud800", (2,))]}, fanin.ArgumentError, "the name of a tensor '"),
    ):
        with pytest.raises(error, match=message):
            function(**arguments)  # type: ignore[operator]


def test_addresses_out_of_range_are_refused() -> None:
    plan = fanin.Recipe.preset("kaiming").plan(LIST, 1)
    for address, nbytes in ((-1, 48), (2**64, 48), (8, -1), (8, 2**64)):
        with pytest.raises(fanin.ArgumentError, match="(address|nbytes) [-0-9]+ is out of range"):
            plan.fill_at("fc.weight", address, nbytes)


@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, pickled])
def test_exceptions_are_copied_with_their_attributes(again: Callable[[Any], Any]) -> None:
    with pytest.raises(fanin.MissingFileError) as caught:
        fanin.Recipe.load("missing.toml")
    error = again(caught.value)
    assert type(error) is fanin.MissingFileError
    assert (error.errno, error.filename) == (2, "missing.toml")
    assert str(error) == str(caught.value)
    with pytest.raises(fanin.UnknownTensorError) as unknown:
        fanin.Recipe.preset("kaiming").plan(LIST, 1)["v"]
    assert str(again(unknown.value)) == str(unknown.value)


def test_exceptions_are_also_those_of_python() -> None:
    assert issubclass(fanin.ArgumentError, ValueError)
    assert issubclass(fanin.RecipeError, ValueError)
    assert issubclass(fanin.FormatError, ValueError)
    with pytest.raises(FileNotFoundError) as caught:
        fanin.Recipe.load("missing.toml")
    assert caught.value.filename == "missing.toml"
    assert caught.value.errno == 2
    assert str(caught.value).startswith("missing.toml: cannot open: ")
    with pytest.raises(KeyError) as unknown:
        fanin.Recipe.preset("kaiming").plan(LIST, 1)["v"]
    message = 'tensor "v" is not in the plan, which has 1 tensors, such as "fc.weight"'
    assert str(unknown.value) == message


def test_a_wrong_number_of_bytes_is_refused() -> None:
    array = np.empty(12, "float32")
    plan = fanin.Recipe.preset("kaiming").plan(LIST, 1)
    for nbytes, address in itertools.product((0, 47, 49, 2**63), (0, array.ctypes.data)):
        with pytest.raises(fanin.ArgumentError):
            plan.fill_at("fc.weight", address, nbytes)
    with pytest.raises(fanin.ArgumentError, match="the address is 0"):
        plan.fill_at("fc.weight", 0, 48)
