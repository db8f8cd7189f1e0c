"""Lists of the tensors of a model, in the forms that Python code has them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Union

from fanin import _native
from fanin._errors import ArgumentError, shown
from fanin._paths import path_of

TensorsLike = Union[str, "os.PathLike[str]", Mapping[str, Any], Iterable[tuple[Any, ...]]]
"""The tensors of a model.

- A path, as the command line takes it: a .safetensors file, an index, a folder that holds one, or a
JSON list.
- A mapping of names to shapes, or to anything with a shape and a dtype, such as a state dict of
  torch, a dict of arrays, or the tree of `jax.eval_shape`. Names of nested mappings are joined by
  dots.
- Tuples (name, shape) or (name, shape, dtype).
"""

Listed = tuple[str, Any, Any]
"""A name, a shape, and a dtype or None."""


def listed(tensors: TensorsLike | None) -> str | list[Listed] | None:
    """Returns tensors as the native module takes them.

    Args:
        tensors: The tensors, or None for those that a recipe names.

    Raises:
        ArgumentError: A tensor has no shape, or a mapping contains itself.
        TypeError: The argument is of none of the forms of `TensorsLike`.
    """
    if tensors is None:
        return None
    if isinstance(tensors, (str, os.PathLike)):
        return path_of("tensors", tensors)
    if isinstance(tensors, Mapping):
        return [tensor for key, value in tensors.items() for tensor in _of_item(key, value)]
    if not isinstance(tensors, Iterable) or isinstance(tensors, (bytes, bytearray)):
        raise TypeError(
            f"tensors is a {type(tensors).__name__}: use a path, a state dict, or tuples "
            "(name, shape, dtype)"
        )
    return [_of_tuple(tensor) for tensor in tensors]


def plain(tensors: str | list[Listed] | None) -> str | list[Listed] | None:
    """Returns tensors that `listed` gave without references to objects of the caller.

    Paths are absolute, shapes are tuples, and dtypes have fanin's names. Equal tensors can be
    planned from them in another process.
    """
    if isinstance(tensors, str):
        return os.path.abspath(tensors)
    return tensors and [
        (name, _native.shape(shape), None if dtype is None else _native.dtype(dtype)[0])
        for name, shape, dtype in tensors
    ]


def _of_item(key: object, value: object) -> list[Listed]:
    """Returns the tensors of an item of a mapping."""
    try:
        return list(_named(str(key), value))
    except RecursionError:
        raise ArgumentError(
            f"tensors[{shown(key)}] contains itself, or is nested too deeply"
        ) from None


def _named(name: str, value: Any) -> Iterator[Listed]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _named(f"{name}.{key}", inner)
    elif hasattr(value, "shape"):
        yield name, list(value.shape), getattr(value, "dtype", None)
    elif isinstance(value, (tuple, list, int)):
        yield name, value, None
    else:
        raise ArgumentError(f"tensor {shown(name)} is a {type(value).__name__}, which has no shape")


def _of_tuple(tensor: object) -> Listed:
    if (
        not isinstance(tensor, (tuple, list))
        or len(tensor) not in (2, 3)
        or not isinstance(tensor[0], str)
    ):
        raise TypeError(
            f"tensors has {shown(tensor)}: use tuples (name, shape) or (name, shape, dtype)"
        )
    name, shape, *dtype = tensor
    return name, shape, dtype[0] if dtype else None
