"""Seeds in all their forms."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fanin
import fanin.jax

from .compare import SEED, assert_same_bits, key, rules, shape

NORMAL = rules({"*": "normal"})


def made(seed: Any) -> Any:
    return fanin.jax.init(NORMAL, {"w": shape(5, 3)}, seed)["w"]


def expected(seed: int) -> Any:
    return fanin.fill("normal", (5, 3), name="w", seed=seed)


@pytest.mark.parametrize(
    ("seed", "number"),
    [
        (42, 42),
        (np.uint64(SEED), SEED),
        (np.int32(7), 7),
        (jnp.uint32(4_000_000_000), 4_000_000_000),
        (jax.random.key(42), 42),
        (jax.random.PRNGKey(42), 42),
        (jax.random.key(42, impl="rbg"), 42),
        (key(SEED), SEED),
        (jnp.asarray(key(SEED)), SEED),
    ],
    ids=str,
)
def test_seeds_of_all_types(seed: Any, number: int) -> None:
    assert_same_bits(made(seed), expected(number), number)
    # Without x64, JAX cuts an argument of 64 bits to 32.
    if not isinstance(seed, (int, np.uint64)):
        assert_same_bits(jax.jit(made)(seed), expected(number), f"traced {number}")


def test_a_whole_number_in_a_traced_function() -> None:
    assert_same_bits(jax.jit(lambda: made(SEED))(), expected(SEED), "constant")
    assert_same_bits(jax.jit(made)(42), expected(42), "weakly typed")


def test_seeds_of_64_bits_with_x64() -> None:
    with jax.enable_x64(True):
        assert_same_bits(jax.jit(made)(np.uint64(SEED)), expected(SEED), "uint64")


def test_a_batch_of_keys() -> None:
    keys = jax.random.split(jax.random.key(1), 3)
    batch = jax.vmap(made)(keys)
    for one, given in zip(keys, batch):
        assert_same_bits(made(one), given, "vmap")


def test_the_seed_of_a_recipe_and_of_a_rule() -> None:
    recipe = fanin.Recipe.from_rules(
        [{"match": "fixed", "init": "normal", "seed": 3}, {"match": "*", "init": "normal"}], seed=5
    )
    shapes = {"fixed": shape(5), "w": shape(5, 3)}
    own = fanin.jax.init(recipe, shapes)
    assert_same_bits(own["w"], expected(5), "recipe")
    fixed = fanin.fill("normal", (5,), name="fixed", seed=3)
    for weights in (own, jax.jit(lambda s: fanin.jax.init(recipe, shapes, s))(key(9))):
        assert_same_bits(weights["fixed"], fixed, "rule")


@pytest.mark.parametrize(
    ("seed", "error", "message"),
    [
        (-1, fanin.ArgumentError, "seed -1 is out of range: use a whole number from 0"),
        (1 << 64, fanin.ArgumentError, "is out of range"),
        (True, TypeError, "seed True is not a whole number"),
        (1.5, TypeError, "seed 1.5 is not a whole number"),
        (jnp.float32(1), TypeError, "is not a whole number"),
        (jax.random.split(jax.random.key(1), 3), fanin.ArgumentError, "seed has shape \\(3,\\)"),
    ],
    ids=str,
)
def test_other_seeds_are_refused(seed: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        made(seed)


def test_traced_floats_are_refused() -> None:
    with pytest.raises(TypeError, match="seed has dtype float32"):
        jax.jit(made)(jnp.float32(1))
