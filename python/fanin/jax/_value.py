"""From whole numbers to stored elements. Twin of `src/kernel/value.rs`."""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
from jax import lax

from fanin.jax._mul import unsigned

_INFINITY = 0x7F80_0000


def value(p: jax.Array, exponent: jax.Array) -> jax.Array:
    """Returns the binary32 bits of `p * 2^exponent`, where p has at most 24 significant bits.

    All steps are integer arithmetic: a device may flush subnormal floats to zero.
    """
    magnitude = unsigned(jnp.abs(p))
    zeros = lax.clz(magnitude)
    field = exponent + 158 - zeros.astype(np.int32)
    normal = (unsigned(field - 1) << 23) + ((magnitude << (zeros & 31)) >> 8)
    subnormal = magnitude << (unsigned(exponent + 149) & 31)
    bits = jnp.where(field < 1, subnormal, jnp.where(field > 254, _INFINITY, normal))
    return jnp.where(p == 0, 0, bits | (unsigned(p) & np.uint32(0x8000_0000)))


@dataclass(frozen=True)
class _Format:
    """A float of 8 or 16 bits."""

    fraction: int
    """The number of bits of the fraction."""
    exponent: int
    """The number of bits of the exponent."""
    limit: int
    """The binary32 bits of the largest finite number."""
    saturates: bool
    """True if larger numbers become the largest one, False if they become infinity."""

    @property
    def dropped(self) -> int:
        """The number of bits of a binary32 fraction that are dropped."""
        return 23 - self.fraction

    @property
    def lowest(self) -> int:
        """The binary32 exponent field of the smallest normal number."""
        return 129 - (1 << (self.exponent - 1))

    @property
    def infinity(self) -> int:
        """The bits of infinity."""
        return ((1 << self.exponent) - 1) << self.fraction


_FORMATS = {
    np.dtype(np.float16): _Format(10, 5, 0x477F_E000, saturates=False),
    np.dtype(ml_dtypes.bfloat16): _Format(7, 8, 0x7F7F_0000, saturates=False),
    np.dtype(ml_dtypes.float8_e4m3fn): _Format(3, 4, 0x43E0_0000, saturates=True),
    np.dtype(ml_dtypes.float8_e5m2): _Format(2, 5, 0x4760_0000, saturates=True),
}


def stored(bits: jax.Array, dtype: np.dtype[np.generic]) -> jax.Array:
    """Returns binary32 numbers, given by their bits, as elements of a dtype.

    Floats of 8 and 16 bits are rounded to nearest, ties to even, in integer arithmetic.
    """
    form = _FORMATS.get(dtype)
    if form is not None:
        narrow = np.dtype(f"uint{8 * dtype.itemsize}")
        return lax.bitcast_convert_type(_rounded(bits, form, narrow), dtype)
    floats = lax.bitcast_convert_type(bits, np.float32)
    return floats.astype(dtype)


def _rounded(bits: jax.Array, form: _Format, narrow: np.dtype[np.generic]) -> jax.Array:
    """Returns the bits of binary32 numbers in a smaller format."""
    magnitude = bits & 0x7FFF_FFFF
    if form.saturates:
        magnitude = jnp.minimum(magnitude, form.limit)
    small = jnp.where(
        magnitude < np.uint32(form.lowest << 23),
        _rounded_subnormal(magnitude, form),
        _rounded_normal(magnitude, form),
    )
    # Float16 from 65536 on, where the exponent has no pattern. Below, the carry of the rounding
    # gives infinity.
    beyond = form.limit + (1 << form.dropped)
    small = jnp.where(magnitude >= beyond, np.uint32(form.infinity), small)
    return (small | bits >> 31 << (form.fraction + form.exponent)).astype(narrow)


def _rounded_normal(magnitude: jax.Array, form: _Format) -> jax.Array:
    # A carry out of the significand goes into the exponent, up to the pattern of infinity.
    rebiased = magnitude - np.uint32((form.lowest - 1) << 23)
    below_half = np.uint32((1 << (form.dropped - 1)) - 1)
    return (rebiased + below_half + ((rebiased >> form.dropped) & 1)) >> form.dropped


def _rounded_subnormal(magnitude: jax.Array, form: _Format) -> jax.Array:
    # In units of the smallest subnormal number. A shift of 31 leaves nothing of a significand.
    field = magnitude >> 23
    shift = jnp.minimum(form.dropped + form.lowest - jnp.maximum(field, 1), 31)
    significand = (magnitude & 0x7F_FFFF) | (jnp.minimum(field, 1) << 23)
    quotient = significand >> shift
    rest = significand & ((np.uint32(1) << shift) - 1)
    half = np.uint32(1) << (shift - 1)
    up = (rest > half) | ((rest == half) & (quotient & 1 == 1))
    return quotient + up.astype(np.uint32)
