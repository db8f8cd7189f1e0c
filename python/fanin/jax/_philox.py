"""The counter-based generator Philox4x32-10. Twin of `src/kernel/philox.rs`."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from fanin.jax._mul import mul_hi

Words = tuple[jax.Array, jax.Array]
"""A 64-bit number as two uint32, the low word first."""

_MULTIPLIERS = 0xD2511F53, 0xCD9E8D57
_WEYL = np.uint32(0x9E3779B9), np.uint32(0xBB67AE85)
_ROUNDS = 10


def philox(block: Words, draw: int, stream: Words, key: Words) -> tuple[jax.Array, ...]:
    """Returns the four words of blocks below 2^48 in a draw below 2^16."""
    low, high = jnp.broadcast_arrays(*block)
    c = (low, high + np.uint32(draw << 16), stream[0], stream[1])
    k0, k1 = key
    m0, m1 = (jnp.uint32(multiplier) for multiplier in _MULTIPLIERS)
    for _ in range(_ROUNDS):
        high0, low0 = mul_hi(m0, c[0]), m0 * c[0]
        high1, low1 = mul_hi(m1, c[2]), m1 * c[2]
        c = (high1 ^ c[1] ^ k0, low1, high0 ^ c[3] ^ k1, low0)
        k0, k1 = k0 + _WEYL[0], k1 + _WEYL[1]
    return c
