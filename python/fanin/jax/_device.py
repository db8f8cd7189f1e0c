"""Arrays made by XLA where they are kept."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from fanin.jax._elements import whole
from fanin.jax._form import Arguments, Form
from fanin.jax._philox import Words
from fanin.jax._tree import ShardingLike


def made(
    form: Form,
    arguments: Arguments,
    dtype: np.dtype[Any],
    key: Words,
    sharding: ShardingLike,
) -> jax.Array:
    """Returns a tensor. Each device computes its own elements.

    Args:
        form: The constants of the fill.
        arguments: The other numbers of the fill.
        dtype: The dtype of the array.
        key: The words of the seed.
        sharding: The sharding of the array. None leaves it to the compiler in a traced function,
            and is the default device elsewhere.
    """
    mesh = jax.sharding.get_abstract_mesh()
    pairs = zip(mesh.axis_names, mesh.axis_types)
    explicit = tuple(name for name, kind in pairs if kind == AxisType.Explicit)
    array: jax.Array = compiled(form, dtype, sharding, explicit)(arguments, key)
    return array


@functools.cache
def compiled(
    form: Form, dtype: np.dtype[Any], sharding: ShardingLike, explicit: tuple[str, ...] = ()
) -> Any:
    """Returns the compiled function of all tensors with these constants.

    Args:
        form: The constants of the fill.
        dtype: The dtype of the array.
        sharding: The sharding of the array, or None.
        explicit: The axes of the context's mesh that are part of types. The compiler partitions
            the function along them as along others.
    """
    make = functools.partial(whole, form, dtype)
    if explicit:
        make = jax.sharding.auto_axes(make, axes=explicit, out_sharding=_among(sharding, explicit))
    return jax.jit(make, out_shardings=sharding)


def _among(sharding: ShardingLike, axes: tuple[str, ...]) -> PartitionSpec:
    """Returns the spec of a sharding without the axes of the mesh that are not among some."""
    spec = sharding.spec if isinstance(sharding, NamedSharding) else sharding
    given = spec if isinstance(spec, PartitionSpec) else ()
    names = (one if isinstance(one, tuple) else (one,) for one in given)
    kept = (tuple(name for name in some if name in axes) for some in names)
    return PartitionSpec(*kept)  # type: ignore[no-untyped-call]


def is_traced(*arrays: object) -> bool:
    """Returns true in a function that JAX traces, and for arrays of one."""
    return any(isinstance(one, jax.core.Tracer) for one in (*arrays, jnp.uint32(0)))
