"""Lists of the tensors of a model, in the forms that Python code has them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Union

from fanin._errors import ArgumentError, shown

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
        ArgumentError: A tensor has no shape.
        TypeError: The argument is of none of the forms of `TensorsLike`.
    """
    if tensors is None:
        return None
    if isinstance(tensors, (str, os.PathLike)):
        return os.fspath(tensors)
    if isinstance(tensors, Mapping):
        return list(_of_mapping(tensors, ""))
    if not isinstance(tensors, Iterable) or isinstance(tensors, (bytes, bytearray)):
        raise TypeError(
            f"tensors is a {type(tensors).__name__}: use a path, a state dict, or tuples "
            "(name, shape, dtype)"
        )
    return [_of_tuple(tensor) for tensor in tensors]


def _of_mapping(tensors: Mapping[Any, Any], prefix: str) -> Iterator[Listed]:
    for key, value in tensors.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            yield from _of_mapping(value, f"{name}.")
        elif hasattr(value, "shape"):
            yield name, list(value.shape), getattr(value, "dtype", None)
        elif isinstance(value, (tuple, list, int)):
            yield name, value, None
        else:
            raise ArgumentError(
                f"tensor {shown(name)} is a {type(value).__name__}, which has no shape"
            )


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
