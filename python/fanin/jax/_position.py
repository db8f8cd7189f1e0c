"""Positions of elements in a tensor, in words of 32 bits.

Elements are given by their coordinates: one array of uint32 for each dimension. So a function of
coordinates makes the elements of a whole tensor, of a part or of a single index, and a compiler
that partitions a tensor computes the coordinates of a partition alone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from fanin.jax._mul import mul_hi
from fanin.jax._philox import Words

Coordinates = Sequence[jax.Array]
"""An array of uint32 for each dimension. All have one shape."""


def coordinates(dims: Sequence[int]) -> list[jax.Array]:
    """Returns the coordinates of all elements of a tensor."""
    return [lax.broadcasted_iota(np.uint32, dims, axis) for axis in range(len(dims))]


def element(dims: Sequence[int], at: Coordinates) -> Words:
    """Returns the index of elements in the row-major order of the tensor, below 2^50."""
    if math.prod(dims) <= 1 << 32:
        return row_major(dims, at), jnp.uint32(0)
    low = high = jnp.zeros_like(at[0])
    for dim, coordinate in zip(dims, at):
        size = jnp.uint32(dim)
        high = high * size + mul_hi(low, size)
        low = low * size + coordinate
        high += (low < coordinate).astype(np.uint32)
    return low, high


def row_major(dims: Sequence[int], at: Coordinates) -> jax.Array:
    """Returns the index of elements in row-major order, modulo 2^32."""
    index: jax.Array = jnp.uint32(0)
    for dim, coordinate in zip(dims, at):
        index = index * np.uint32(dim) + coordinate
    return index


def block_and_lane(index: Words) -> tuple[Words, jax.Array]:
    """Returns the block of four elements, and the number of the element in it."""
    low, high = index
    return ((low >> 2) | (high << 30), high >> 2), low & 3


def row_and_column(
    dims: Sequence[int], at: Coordinates, columns: int
) -> tuple[jax.Array, jax.Array]:
    """Returns the row, modulo 2^32, and the column of elements, for rows of `columns` elements.

    A row is made of the last dimensions of the tensor, however many.
    """
    axis = next(axis for axis in range(len(dims) + 1) if math.prod(dims[axis:]) == columns)
    return row_major(dims[:axis], at[:axis]), row_major(dims[axis:], at[axis:])
