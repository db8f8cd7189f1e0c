"""Weights of `fanin.jax.init`, in both ways in which it makes them, and those of the crate."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

import fanin
import fanin.jax

SEED = 0x9E37_79B9_7F4A_7C15


def shape(*dims: int, dtype: str = "float32") -> jax.ShapeDtypeStruct:
    """Returns the shape of a tensor."""
    return jax.ShapeDtypeStruct(dims, dtype)


def key(seed: int) -> np.ndarray[Any, Any]:
    """Returns a raw key of `jax.random`, which stands for the seed."""
    return np.array([seed >> 32, seed & 0xFFFF_FFFF], np.uint32)


def traced(recipe: Any, shapes: Any, seed: int, **options: Any) -> Any:
    """Returns weights that XLA computes, because their seed is an argument of a traced function."""
    return jax.jit(lambda key: fanin.jax.init(recipe, shapes, key, **options))(key(seed))


def rules(inits: Mapping[str, str], **keys: Any) -> fanin.Recipe:
    """Returns a recipe that gives each name an initializer."""
    return fanin.Recipe.from_rules(
        [{"match": name, "init": init, **keys} for name, init in inits.items()]
    )


def assert_same_bits(one: Any, other: Any, what: object) -> None:
    """Fails unless two arrays have equal shapes, dtypes and bits."""
    first, second = np.asarray(one), np.asarray(other)
    assert (first.shape, first.dtype) == (second.shape, second.dtype), what
    differing = np.count_nonzero(
        first.reshape(-1).view(np.uint8) != second.reshape(-1).view(np.uint8)
    )
    assert differing == 0, f"{what}: {differing} bytes of {first.nbytes} differ"
