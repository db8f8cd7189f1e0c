"""Arrays on meshes: the bits do not depend on the sharding, and devices send nothing."""

from __future__ import annotations

import re
from typing import Any

import jax
import numpy as np
import pytest
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

import fanin
import fanin.jax
from fanin.jax import _host

from .compare import SEED, assert_same_bits, key, rules, shape, traced

P = PartitionSpec
#: Shapes whose shards begin anywhere in a block of four elements, and specs for a mesh of 4 by 2.
SHARDED = [
    ((12, 10), P("x", "y")),
    ((12, 10), P("y")),
    ((8, 20), P(None, "x")),
    ((3, 24), P(None, ("x", "y"))),
    ((5, 3, 14), P(None, None, "y")),
    ((16, 3), P(("y", "x"), None)),
    ((7, 5), P()),
    ((), P()),
]
COMMUNICATION = re.compile(
    r"\b(all-gather|all-reduce|all-to-all|collective-\w+|reduce-scatter|send|recv|infeed)"
)


@pytest.fixture
def device_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets XLA make arrays on the CPU, as it does on other devices."""
    monkeypatch.setattr(_host, "is_host", lambda sharding: False)


def tree(sharded: list[tuple[tuple[int, ...], PartitionSpec]], mesh: Mesh) -> tuple[Any, Any]:
    shapes = {f"t{n}": shape(*dims) for n, (dims, _) in enumerate(sharded)}
    return shapes, {f"t{n}": NamedSharding(mesh, spec) for n, (_, spec) in enumerate(sharded)}


def assert_right(made: Any, mesh: Mesh, init: str) -> None:
    for n, (dims, spec) in enumerate(SHARDED):
        one = made[f"t{n}"]
        assert one.sharding.is_equivalent_to(NamedSharding(mesh, spec), len(dims)), spec
        assert_same_bits(one, fanin.fill(init, dims, name=f"t{n}", seed=SEED), (init, dims, spec))


INITS = ["normal(mean=0,std=0.02)", "truncated_normal(mean=0,std=1,lower=-2,upper=2)"]


@pytest.mark.parametrize("init", INITS)
def test_shards_made_by_the_host(mesh: Mesh, init: str) -> None:
    shapes, shardings = tree(SHARDED, mesh)
    assert_right(fanin.jax.init(rules({"*": init}), shapes, SEED, sharding=shardings), mesh, init)


@pytest.mark.parametrize("init", INITS)
def test_shards_made_by_devices(mesh: Mesh, init: str, device_way: None) -> None:
    shapes, shardings = tree(SHARDED, mesh)
    assert_right(fanin.jax.init(rules({"*": init}), shapes, SEED, sharding=shardings), mesh, init)


@pytest.mark.parametrize("init", INITS)
def test_shards_made_in_a_traced_function(mesh: Mesh, init: str) -> None:
    shapes, shardings = tree(SHARDED, mesh)
    assert_right(traced(rules({"*": init}), shapes, SEED, sharding=shardings), mesh, init)


@pytest.mark.parametrize("way", ["host", "device", "traced"])
def test_specs_on_the_mesh_of_the_context(
    mesh: Mesh, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_host, "is_host", lambda sharding: way == "host")
    make = traced if way == "traced" else fanin.jax.init
    shapes = {f"t{n}": shape(*dims) for n, (dims, _) in enumerate(SHARDED)}
    specs = {f"t{n}": spec for n, (_, spec) in enumerate(SHARDED)}
    with jax.set_mesh(mesh):
        made = make(rules({"*": "uniform"}), shapes, SEED, sharding=specs)
    assert_right(made, mesh, "uniform")


def test_one_sharding_serves_for_a_branch(mesh: Mesh) -> None:
    shapes = {"a": {"u": shape(8, 3), "v": shape(4)}, "b": shape(6)}
    rows = NamedSharding(mesh, P("x"))
    made = fanin.jax.init(rules({"*": "normal"}), shapes, 1, sharding={"a": rows, "b": None})
    assert made["a"]["u"].sharding == made["a"]["v"].sharding == rows
    assert len(made["b"].sharding.device_set) == 1


def test_leaves_bring_their_shardings(mesh: Mesh) -> None:
    rows = NamedSharding(mesh, P("x"))
    shapes = {
        "struct": jax.ShapeDtypeStruct((8, 3), np.float32, sharding=rows),
        "array": jax.device_put(np.zeros((8, 3), np.float32), rows),
    }
    made = fanin.jax.init(rules({"*": "normal"}), shapes, 1)
    assert made["struct"].sharding == made["array"].sharding == rows


@pytest.mark.parametrize("spec", [P("a", "b"), P(("a", "c"), "b"), P(None, "c"), P("b")])
@pytest.mark.parametrize("make", [fanin.jax.init, traced])
def test_meshes_of_explicit_and_automatic_axes(
    make: Any, spec: PartitionSpec, device_way: None
) -> None:
    kinds = (AxisType.Explicit, AxisType.Auto, AxisType.Auto)
    mesh = jax.make_mesh((2, 2, 2), ("a", "b", "c"), kinds)
    with jax.set_mesh(mesh):
        made = make(rules({"*": "normal"}), {"w": shape(8, 6)}, SEED, sharding=spec)["w"]
    assert made.sharding.is_equivalent_to(NamedSharding(mesh, spec), 2)
    assert_same_bits(made, fanin.fill("normal", (8, 6), name="w", seed=SEED), spec)


@pytest.mark.parametrize("make", [fanin.jax.init, traced])
def test_shapes_of_an_explicit_mesh_bring_their_shardings(make: Any) -> None:
    mesh = jax.make_mesh((4, 2), ("x", "y"), (AxisType.Explicit,) * 2)
    with jax.set_mesh(mesh):
        shapes = jax.eval_shape(lambda: {"w": jax.reshard(jax.numpy.zeros((8, 6)), P("x", "y"))})
        made = make(rules({"*": "normal"}), shapes, SEED)["w"]
    assert made.sharding == NamedSharding(mesh, P("x", "y"))
    assert_same_bits(made, fanin.fill("normal", (8, 6), name="w", seed=SEED), "abstract")


@pytest.mark.parametrize(
    "init",
    [
        *INITS,
        "uniform(low=0,high=1)",
        "embedding(mean=0,std=1,padding_idx=3)",
        "sinusoids",
        "eye",
        "orthogonal(gain=1)",
    ],
)
def test_no_device_sends_anything(mesh: Mesh, init: str) -> None:
    dims, specs = (96, 160), [P("x", "y"), P(None, "x"), P(("x", "y"))]
    shapes = {f"t{n}": shape(*dims) for n in range(len(specs))}
    shardings = {f"t{n}": NamedSharding(mesh, spec) for n, spec in enumerate(specs)}
    recipe = rules({"*": init})
    make = jax.jit(lambda k: fanin.jax.init(recipe, shapes, k, sharding=shardings))
    text = make.lower(key(SEED)).compile().as_text()
    assert "partition-id" in text, "the function is not partitioned"
    assert not COMMUNICATION.findall(text)
    if not init.startswith("orthogonal"):
        assert "[96,160]" not in text, "a device makes a whole tensor"


def test_equal_tensors_share_a_compiled_function(device_way: None) -> None:
    from fanin.jax import _device

    shapes = {"layers": [{"kernel": shape(30, 50), "bias": shape(30)} for _ in range(6)]}
    recipe = rules({"*.kernel": "normal(std=0.013)", "*": "zeros"})
    _device.compiled.cache_clear()
    made = fanin.jax.init(recipe, shapes, SEED)
    fanin.jax.init(recipe, shapes, SEED + 1)
    fanin.jax.init(rules({"*.kernel": "normal(std=0.5)", "*": "ones"}), shapes, SEED)
    assert _device.compiled.cache_info().misses == 2
    assert len({np.asarray(layer["kernel"]).tobytes() for layer in made["layers"]}) == 6


def test_tensors_without_elements(mesh: Mesh) -> None:
    sharding = NamedSharding(mesh, P("x"))
    for make in (fanin.jax.init, traced):
        made = make(rules({"*": "normal"}), {"w": shape(4, 0)}, 1, sharding=sharding)["w"]
        assert (made.shape, made.dtype) == ((4, 0), np.float32)


@pytest.mark.parametrize("spec", [P(), P("x")])
def test_arrays_can_be_donated(mesh: Mesh, spec: PartitionSpec) -> None:
    # Devices with equal parts share the memory that the crate has filled.
    sharding = NamedSharding(mesh, spec)
    start = fanin.jax.init(rules({"*": "normal"}), {"w": shape(64, 64)}, 1, sharding=sharding)["w"]
    step = jax.jit(lambda w: w * 2 + 1, donate_argnums=0)
    expected = fanin.fill("normal", (64, 64), name="w", seed=1) * 2 + 1
    for shard in step(start).addressable_shards:
        assert_same_bits(shard.data, expected[shard.index], spec)
    assert start.is_deleted()


def test_a_spec_needs_a_mesh() -> None:
    with pytest.raises(fanin.ArgumentError, match="has no mesh: use jax.sharding.NamedSharding"):
        fanin.jax.init(rules({"*": "normal"}), {"w": shape(8)}, 1, sharding=P("x"))


def test_uneven_shards_are_refused_by_jax(mesh: Mesh) -> None:
    sharding = NamedSharding(mesh, P("x"))
    with pytest.raises(ValueError, match="dimension size is 7"):
        fanin.jax.init(rules({"*": "normal"}), {"w": shape(7)}, 1, sharding=sharding)


def test_none_among_the_shapes_is_no_leaf(mesh: Mesh) -> None:
    axis = mesh.axis_names[0]
    rows, columns = (NamedSharding(mesh, PartitionSpec(*spec)) for spec in ((axis,), (None, axis)))
    kernel = jax.ShapeDtypeStruct((8, 8), "float32")
    shapes = {"a": {"bias": None, "kernel": kernel}, "b": {"kernel": kernel}}
    for given in ({"a": rows, "b": columns}, {"a": {"bias": None, "kernel": rows}, "b": columns}):
        made = fanin.jax.init("flax", shapes, 1, sharding=given)
        assert made["a"]["bias"] is None
        assert made["a"]["kernel"].sharding == rows
        assert made["b"]["kernel"].sharding == columns
