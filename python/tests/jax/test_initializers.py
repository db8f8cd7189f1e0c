"""Initializers with JAX's signature: their distributions, and the layers that take them."""

from __future__ import annotations

import inspect
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax.sharding import Mesh, NamedSharding, PartitionSpec

import fanin
from fanin.jax import initializers

from .compare import SEED, assert_same_bits, key

#: A call for fanin and for JAX, and the initializer of `fanin.fill`.
CALLS = {
    "zeros": ((), "zeros"),
    "ones": ((), "ones"),
    "constant": ((0.3,), "constant(value=0.3)"),
    "uniform": ((0.2,), "uniform(low=0,high=0.2)"),
    "normal": ((0.02,), "normal(std=0.02)"),
    "truncated_normal": ((0.02,), "truncated_normal(std=0.02)"),
    "variance_scaling": ((2.0, "fan_out", "normal"), "variance_scaling(2,fan_out,normal)"),
    "glorot_uniform": ((), "glorot_uniform"),
    "glorot_normal": ((), "glorot_normal"),
    "xavier_uniform": ((), "xavier_uniform"),
    "xavier_normal": ((), "glorot_normal"),
    "lecun_uniform": ((), "lecun_uniform"),
    "lecun_normal": ((), "lecun_normal"),
    "he_uniform": ((), "he_uniform"),
    "he_normal": ((), "he_normal"),
    "kaiming_uniform": ((), "kaiming_uniform"),
    "kaiming_normal": ((), "he_normal"),
    "orthogonal": ((2.0,), "orthogonal(gain=2)"),
    "delta_orthogonal": ((2.0,), "delta_orthogonal(gain=2)"),
}
DIMS = (3, 5, 40, 60)


def initializer(name: str, module: Any) -> Any:
    found = getattr(module, name)
    return found if name in ("zeros", "ones") else found(*CALLS[name][0])


@pytest.mark.parametrize("name", CALLS)
def test_arrays_are_those_of_fill(name: str) -> None:
    init = CALLS[name][1].replace(
        "(2,fan_out,normal)", "(scale=2,mode=fan_out,distribution=normal)"
    )
    make = initializer(name, initializers)
    expected = fanin.fill(init, DIMS, name="param", seed=SEED, layout="in_out")
    assert_same_bits(make(key(SEED), DIMS), expected, name)
    compiled = jax.jit(lambda k: make(k, DIMS))(key(SEED))
    if "orthogonal" in name:
        assert np.max(np.abs(np.asarray(compiled) - expected)) < 2e-5
    else:
        assert_same_bits(compiled, expected, f"traced {name}")


@pytest.mark.parametrize("name", CALLS)
def test_distributions_are_those_of_jax(name: str) -> None:
    ours = np.asarray(initializer(name, initializers)(jax.random.key(1), DIMS), np.float64)
    theirs = np.asarray(initializer(name, jax.nn.initializers)(jax.random.key(1), DIMS), np.float64)
    std = theirs.std()
    # Six standard errors of a mean, and of a standard deviation whose kurtosis is at most 45: that
    # of a matrix that fills one of 15 taps.
    assert abs(ours.mean() - theirs.mean()) <= 6 * np.sqrt(2) * std / np.sqrt(ours.size)
    assert abs(ours.std() - std) <= 6 * std * np.sqrt(2 * 44 / 4 / ours.size)
    assert abs(np.abs(ours).max() - np.abs(theirs).max()) <= 0.25 * np.abs(theirs).max()


def test_every_initializer_of_jax_is_there() -> None:
    theirs = {name for name in dir(jax.nn.initializers) if not name.startswith("_")}
    assert set(CALLS) == theirs - {"Initializer"}
    for name in ("uniform", "normal", "truncated_normal", "variance_scaling", "orthogonal"):
        given = inspect.signature(getattr(jax.nn.initializers, name)).parameters
        ours = inspect.signature(getattr(initializers, name)).parameters
        assert [*ours][: len(given)] == [*given], name
        assert all(ours[one].default == given[one].default for one in given), name


def test_names_seeds_and_dtypes() -> None:
    named = initializers.normal(1.0, jnp.bfloat16, name="fc.weight", seed=7)
    expected = fanin.fill("normal", (4, 3), name="fc.weight", seed=7, dtype="bfloat16")
    assert_same_bits(named(jax.random.key(1), (4, 3)), expected, "name and seed")
    half = named(jax.random.key(2), (4, 3), jnp.float16)
    wanted = fanin.fill("normal", (4, 3), name="fc.weight", seed=7, dtype="float16")
    assert_same_bits(half, wanted, "dtype of the call")
    made = initializers.initializer("siren_first", name="w")(key(SEED), (3, 8))
    expected = fanin.fill("siren_first", (3, 8), name="w", seed=SEED, layout="in_out")
    assert_same_bits(made, expected, "text")


def test_axes_are_those_of_jax() -> None:
    axes: dict[str, Any] = {"in_axis": (0, 1), "out_axis": 2, "batch_axis": 3}
    ours = initializers.lecun_normal(**axes)(key(3), (20, 30, 40, 5))
    theirs = jax.nn.initializers.lecun_normal(**axes)(key(3), (20, 30, 40, 5))
    assert abs(float(ours.std() / theirs.std()) - 1) < 6 / np.sqrt(ours.size)


def test_an_out_sharding(mesh: Mesh) -> None:
    spec = NamedSharding(mesh, PartitionSpec("x", "y"))
    make = initializers.normal(1.0)
    for made in (
        make(key(SEED), (8, 6), out_sharding=spec),
        jax.jit(lambda k: make(k, (8, 6), out_sharding=spec))(key(SEED)),
    ):
        assert made.sharding.is_equivalent_to(spec, 2)
        assert_same_bits(made, fanin.fill("normal", (8, 6), name="param", seed=SEED), "sharded")


def test_arguments_out_of_range() -> None:
    with pytest.raises(fanin.RecipeError, match="std"):
        initializers.normal(-1.0)
    with pytest.raises(fanin.RecipeError, match="fan_geo_avg"):
        initializers.variance_scaling(1.0, "fan_geo_avg", "normal")
    with pytest.raises(fanin.ArgumentError, match="column_axis 0 is not supported: use -1"):
        initializers.orthogonal(column_axis=0)
    with pytest.raises(fanin.RecipeError, match="has no axis -2"):
        initializers.lecun_normal()(key(1), (5,))


def test_linen_modules_take_them() -> None:
    layer = nn.Dense(6, kernel_init=initializers.he_normal(), bias_init=initializers.zeros)
    variables = layer.init(jax.random.key(1), jnp.ones((1, 4)))
    jitted = jax.jit(layer.init)(jax.random.key(1), jnp.ones((1, 4)))
    kernel = variables["params"]["kernel"]
    assert_same_bits(kernel, jitted["params"]["kernel"], "jit")
    assert kernel.std() > 0.2
    scanned = nn.vmap(
        nn.Dense,
        variable_axes={"params": 0},
        split_rngs={"params": True},
        in_axes=None,
        axis_size=3,
    )(6, kernel_init=initializers.normal(1.0))
    stacked = scanned.init(jax.random.key(1), jnp.ones((1, 4)))["params"]["kernel"]
    assert len({np.asarray(one).tobytes() for one in stacked}) == 3


def test_nnx_modules_take_them() -> None:
    rngs = nnx.Rngs(params=5)
    layer = nnx.Linear(4, 6, kernel_init=initializers.normal(0.02), rngs=rngs)
    first = jax.random.fold_in(jax.random.key(5), 0)
    expected = initializers.normal(0.02)(first, (4, 6))
    assert_same_bits(layer.kernel[...], expected, "the first key of a stream")


def test_equinox_modules_take_them() -> None:
    import equinox as eqx

    layer = eqx.nn.Linear(4, 6, key=jax.random.key(1))
    make = initializers.initializer("lecun_normal", in_axis=-1, out_axis=-2)
    made = eqx.tree_at(lambda one: one.weight, layer, make(key(SEED), layer.weight.shape))
    expected = fanin.fill("lecun_normal", (6, 4), name="param", seed=SEED)
    assert_same_bits(made.weight, expected, "weight")


def test_haiku_modules_take_them() -> None:
    import haiku as hk

    make = initializers.normal(0.5, seed=SEED, name="linear.w")

    def by_haiku(shape: Any, dtype: Any) -> jax.Array:
        return make(hk.next_rng_key(), shape, dtype)

    net = hk.transform(lambda x: hk.Linear(6, w_init=by_haiku)(x))
    weights = net.init(jax.random.key(1), jnp.ones((1, 4)))
    expected = fanin.fill("normal(std=0.5)", (4, 6), name="linear.w", seed=SEED)
    assert_same_bits(weights["linear"]["w"], expected, "w")
