"""Seeds and keys of JAX as the 64-bit seed of fanin."""

from __future__ import annotations

import operator
from typing import Any, Union

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from fanin._errors import ArgumentError, shown
from fanin.jax._philox import Words

SeedLike = Union[int, np.integer[Any], np.ndarray[Any, Any], jax.Array]
"""A seed: a whole number from 0 to 2^64 - 1, an array of no dimensions that holds one, or a key of
`jax.random`, typed or raw. A key stands for the number whose high word is the key's first word, and
whose low word is the second one. So `jax.random.key(42)` is the seed 42."""

_ACCEPTED = "use a whole number from 0 to 18446744073709551615, or a key of jax.random"


def words(seed: SeedLike) -> Words:
    """Returns the words of a seed, the low one first. Traced seeds have traced words.

    Raises:
        ArgumentError: The seed is out of range, or an array is neither a seed nor a key.
        TypeError: The seed is of another type.
    """
    if isinstance(seed, (np.ndarray, jax.Array)):
        if jnp.issubdtype(seed.dtype, jax.dtypes.prng_key):
            return _of_raw_key(jax.random.key_data(seed), seed)
        if seed.dtype == np.uint32 and seed.ndim > 0:
            return _of_raw_key(jnp.asarray(seed), seed)
        if seed.ndim == 0 and isinstance(seed, jax.core.Tracer):
            return _of_traced(seed)
    whole = _whole_number(seed)
    return jnp.uint32(whole & 0xFFFF_FFFF), jnp.uint32(whole >> 32)


def number(seed: SeedLike) -> int | None:
    """Returns a seed as a number, or None if it is traced.

    Raises:
        ArgumentError, TypeError: As for `words`.
    """
    if not isinstance(seed, (np.ndarray, jax.Array)):
        return _whole_number(seed)
    low, high = words(seed)
    # In a traced function, the words of any array are traced.
    return None if isinstance(low, jax.core.Tracer) else int(low) | int(high) << 32


def _whole_number(seed: object) -> int:
    """Returns a whole number of Python, of numpy, or in an array of no dimensions."""
    try:
        found = operator.index(seed)  # type: ignore[arg-type]
    except TypeError:
        found = None
    if found is None or isinstance(seed, bool):
        raise TypeError(f"seed {shown(seed)} is not a whole number: {_ACCEPTED}")
    if not 0 <= found < 1 << 64:
        raise ArgumentError(f"seed {found} is out of range: {_ACCEPTED}")
    return found


def _of_raw_key(data: jax.Array, seed: Any) -> Words:
    # Keys of the generator rbg have four words. The first two differ for any two keys.
    if data.ndim != 1 or data.shape[0] < 2:
        raise ArgumentError(
            f"seed has shape {seed.shape} and dtype {seed.dtype}: use a single key, "
            "or jax.vmap for several"
        )
    return data[1], data[0]


def _of_traced(seed: jax.Array) -> Words:
    if not jnp.issubdtype(seed.dtype, jnp.integer):
        raise TypeError(f"seed has dtype {seed.dtype}: {_ACCEPTED}")
    if seed.dtype.itemsize == 8:
        low, high = (lax.bitcast_convert_type(seed, np.uint32)[k] for k in (0, 1))
        return low, high
    return seed.astype(np.uint32), jnp.uint32(0)
