"""Arrays filled by the crate on the processor of the host."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Sharding

from fanin._recipe import Plan

Ranges = tuple[tuple[int, int], ...]
"""The start and the end of each dimension."""

_ALIGNMENT = 64
"""The alignment in bytes with which JAX takes an array of numpy on the CPU without a copy."""


def filled(plan: Plan, name: str, dtype: np.dtype[Any], sharding: Sharding | None) -> jax.Array:
    """Returns a tensor of a plan. Each process makes the parts of its own devices.

    Args:
        plan: The plan.
        name: The name of the tensor.
        dtype: The dtype of the array.
        sharding: The sharding of the array, or None for the default device.
    """
    shape = plan[name].shape
    known: dict[Ranges, np.ndarray[Any, Any]] = {}

    def part(index: tuple[slice, ...] | None) -> np.ndarray[Any, Any]:
        ranges = tuple(one.indices(dim)[:2] for one, dim in zip(index or (), shape))
        # Devices with equal parts share one array.
        if ranges not in known:
            out = _aligned([end - start for start, end in ranges], dtype)
            known[ranges] = plan.fill(name, ranges, out=out, dtype=dtype, progress=False)
        return known[ranges]

    if sharding is None:
        array: jax.Array = jax.device_put(part((slice(None),) * len(shape)))
        return array
    return jax.make_array_from_callback(shape, sharding, part, dtype=dtype)


def _aligned(dims: list[int], dtype: np.dtype[Any]) -> np.ndarray[Any, Any]:
    """Returns a new array whose memory JAX can take over."""
    nbytes = math.prod(dims) * dtype.itemsize
    memory = np.empty(nbytes + _ALIGNMENT, np.uint8)
    start = -memory.__array_interface__["data"][0] % _ALIGNMENT
    return memory[start : start + nbytes].view(dtype).reshape(dims)


def is_host(sharding: Sharding | None) -> bool:
    """Returns true if arrays of a sharding are in the memory of processors."""
    devices = jnp.zeros(()).devices() if sharding is None else sharding.device_set
    return all(device.platform == "cpu" for device in devices)
