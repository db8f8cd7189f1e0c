"""Values and zeros that depend on the row and column of an element.

Twin of `src/kernel/pattern.rs`.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from fanin.jax._mul import mul_hi
from fanin.jax._philox import Words, philox

_FEISTEL_ROUNDS = 6


def on_diagonal(row: jax.Array, column: jax.Array, pattern: jax.Array) -> jax.Array:
    """Returns true where an element is on the diagonal of its group of rows.

    The pattern is: rows of a group, ones of a group, columns from a one to the next, column of the
    first.
    """
    rows, ones, stride, offset = pattern
    r = row % rows
    inside: jax.Array = (r < ones) & (column == r * stride + offset)
    return inside


def in_lower_triangle(row: jax.Array, column: jax.Array, rows: jax.Array) -> jax.Array:
    """Returns true where an element is on or below the diagonal of a matrix of `rows`."""
    return column <= row % rows


def in_range(index: Words, pattern: jax.Array) -> jax.Array:
    """Returns true where an index is from a start on and below an end, 64-bit numbers both."""
    start_low, start_high, end_low, end_high = pattern
    return ~_is_below(index, (start_low, start_high)) & _is_below(index, (end_low, end_high))


def _is_below(a: Words, b: Words) -> jax.Array:
    return (a[1] < b[1]) | ((a[1] == b[1]) & (a[0] < b[0]))


def is_sparse_zero(
    row: jax.Array,
    column: jax.Array,
    pattern: jax.Array,
    halves: tuple[int, int],
    stream: Words,
    key: Words,
) -> jax.Array:
    """Returns true where an element is in one of the zero rows of its column.

    The pattern is: rows, zeros of a column, and two numbers that `halves` has as constants: the
    bits of both halves of the permuted numbers.
    """
    rows, zeros = pattern[0], pattern[1]

    def walk(place: jax.Array) -> jax.Array:
        return jnp.where(place < rows, place, _permute(place, column, halves, stream, key))

    first = _permute(row, column, halves, stream, key)
    # Rows beyond the end, which no element has, would walk forever.
    first = jnp.where(row < rows, first, 0)
    place: jax.Array = lax.while_loop(lambda place: jnp.any(place >= rows), walk, first)
    return place < zeros


def _permute(
    number: jax.Array, column: jax.Array, halves: tuple[int, int], stream: Words, key: Words
) -> jax.Array:
    """Returns numbers of `sum(halves)` bits, permuted by a Feistel network for each column."""
    left, right = halves
    low, high = number & np.uint32((1 << left) - 1), number >> left
    for turn in range(max(_FEISTEL_ROUNDS, 4 + 48 // (left + right))):
        half = low if turn & 1 else high
        block = ((column << 16) | half, column >> 16)
        word = philox(block, turn + 1, stream, key)[0]
        if turn & 1:
            high = high ^ (word & np.uint32((1 << right) - 1))
        else:
            low = low ^ (word & np.uint32((1 << left) - 1))
    return (high << left) | low


def sine_of(row: jax.Array, column: jax.Array, table: jax.Array) -> jax.Array:
    """Returns the binary32 bits of the sine of the angle of a row and column.

    The table has two entries for each column: a frequency in turns, and a phase.
    """
    frequency, phase = table[::2], table[1::2, 0]
    low, high = (frequency[:, k].at[column].get(mode="clip") for k in (0, 1))
    angle = mul_hi(low, row) + high * row + phase.at[column].get(mode="clip")
    return _sine_value(*_sine(angle))


def _sine(angle: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Returns the magnitude of sines, with 31 fraction bits, and whether they are negative."""
    quadrant = (angle + np.uint32(1 << 29)) >> 30
    rest = angle << 2
    offset = rest | jnp.where(rest != 0, np.uint32(2), np.uint32(0))
    negative = offset >> 31
    cosine, sine = _cos_sin(jnp.where(negative == 1, -offset, offset) << 1)
    swap = quadrant & 1
    value = jnp.where(swap == 1, cosine, sine)
    return value >> 1, (quadrant >> 1) ^ ((swap ^ 1) & negative)


def _cos_sin(x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Returns cosine and sine of pi/4 * x, all with 32 fraction bits."""
    x2 = mul_hi(x, x)
    short = x2 >> 16
    c3 = np.uint32(1_399_910) - ((short * 60_668) >> 18)
    c2 = np.uint32(68_093_819) - mul_hi(x2, c3)
    c1 = np.uint32(1_324_675_871) - mul_hi(x2, c2)
    s2 = np.uint32(10_693_919) - ((short * 38_523) >> 14)
    s1 = np.uint32(346_798_712) - mul_hi(x2, s2)
    s0 = np.uint32(3_373_259_379) - mul_hi(x2, s1)
    return ~mul_hi(x2, c1), mul_hi(x, s0)


def _sine_value(magnitude: jax.Array, negative: jax.Array) -> jax.Array:
    """Returns numbers with 31 fraction bits, rounded to binary32, as bits."""
    zeros = lax.clz(magnitude)
    significand = magnitude << (zeros & 31)
    quotient = significand >> 8
    rounded = quotient + (((significand & 0xFF) + 0x7F + (quotient & 1)) >> 8)
    bits = ((126 - zeros) << 23) + rounded
    return jnp.where(magnitude == 0, 0, bits | (negative << 31))
