"""Products of 32-bit integers in two words. `lax.mulhi` of jax 0.10.2 does not compile for a mesh.

Twin of `src/kernel/mul.rs`.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax


def signed(x: jax.Array) -> jax.Array:
    """Returns the bits of unsigned numbers as int32."""
    return lax.bitcast_convert_type(x, np.int32)


def unsigned(x: jax.Array) -> jax.Array:
    """Returns the bits of signed numbers as uint32."""
    return lax.bitcast_convert_type(x, np.uint32)


def mul_hi(a: jax.Array, b: jax.Array) -> jax.Array:
    """Returns the high 32 bits of products of uint32."""
    a, b = jnp.broadcast_arrays(a, b)
    # Only these three operations have 64 bits, so callers need not enable x64. Compilers turn
    # them into one instruction. The same product of 16-bit halves takes the CPU twice the time of
    # a whole normal fill.
    with jax.enable_x64(True):
        wide = lax.mul(
            lax.convert_element_type(a, np.uint64), lax.convert_element_type(b, np.uint64)
        )
        high = lax.shift_right_logical(wide, lax.full_like(wide, 32))
        return lax.convert_element_type(high, np.uint32)


def mul_hi_rounded_unsigned(a: jax.Array, b: jax.Array) -> jax.Array:
    """Returns products of uint32 over 2^32, rounded to nearest, halves up."""
    return mul_hi(a, b) + (a * b >> 31)


def mul_shifted(a: jax.Array, b: jax.Array, shift: jax.Array) -> jax.Array:
    """Returns products of int32 over 2^(32 + shift), rounded to nearest, halves up.

    Products are below 2^61 in magnitude, and the shift is at most 30.
    """
    high = signed(mul_hi(unsigned(a), unsigned(b))) - (b & (a >> 31)) - (a & (b >> 31))
    # Half a unit is the highest bit of the low word, or a bit of the high word.
    carry = signed(unsigned(a * b) >> 31)
    half = jnp.where(shift == 0, carry, 1 << jnp.maximum(shift - 1, 0))
    return high + half >> shift
