"""Whole numbers p from random words: an element is p * 2^e.

Twin of `src/kernel/uniform.rs`, `curve.rs` and `box_muller.rs`.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from fanin.jax._mul import mul_hi, mul_hi_rounded_unsigned, mul_shifted, signed, unsigned

Table = jax.Array
"""Entries of two uint32: the shape is (entries, 2)."""

_CURVE_ENTRIES = 4096
_POINTS = 1024


def cut(x: jax.Array) -> jax.Array:
    """Returns int32 rounded down to 24 significant bits."""
    highest = 31 - lax.clz(x ^ (x >> 31))
    return x & (np.int32(-1) << jnp.maximum(highest - 23, 0))


def uniform(word: jax.Array, count: jax.Array, first: jax.Array) -> jax.Array:
    """Returns one of the `count` whole numbers from `first` on for each word."""
    return first + signed(mul_hi(word, count))


def curve(word: jax.Array, table: Table) -> jax.Array:
    """Returns the value of the table's function at words, in the table's units."""
    # The conversion is exact, since the number is cut to 24 bits. Its exponent and the bits below
    # the leading one are the number of the entry, and the next 16 bits are the place in it.
    bits = signed(cut(signed(word | np.uint32(1))).astype(np.float32))
    entry = ((bits >> 17) & 0x7FF) | ((bits >> 20) & 0x800)
    t = ((bits >> 1) & 0xFFFF) - 0x8000
    constant, both = _entry(table, entry)
    linear, square = (both << 16) >> 16, both >> 16
    return constant + (linear * t + square * ((t * t) >> 16) >> 9)


def quantile(
    word: jax.Array, table: Table, multiplier: jax.Array, shift: jax.Array, offset: jax.Array
) -> jax.Array:
    """Returns `offset` plus the scaled curve, before it is held within bounds and cut."""
    return offset + mul_shifted(curve(word, table), signed(multiplier), shift)


def normal(
    words: tuple[jax.Array, jax.Array],
    odd: jax.Array,
    table: Table,
    multiplier: jax.Array,
    shift: jax.Array,
    offset: jax.Array,
) -> jax.Array:
    """Returns the even or the odd normal number of pairs of words, before it is cut."""
    radius = signed(mul_hi_rounded_unsigned(unsigned(curve(words[0], table)), multiplier))
    b = signed(words[1])
    cosine, sine = _entry(table, (b & (_POINTS - 1)) + _CURVE_ENTRIES)
    angle = ((b >> 16) * 25736 + (1 << 14)) >> 15
    square = (angle * angle + (1 << 23)) >> 24
    c, s = cosine >> 15, sine >> 15
    # Selected before the product with the radius, which is the dearest step.
    direction = jnp.where(
        odd,
        sine - ((s * square - c * angle) >> 8),
        cosine - ((s * angle + c * square) >> 8),
    )
    return offset + mul_shifted(radius, direction, shift)


def _entry(table: Table, entry: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Returns both words of entries, which are in range, as int32."""
    words = (table[:, k].at[entry].get(mode="promise_in_bounds") for k in (0, 1))
    first, second = (signed(word) for word in words)
    return first, second
