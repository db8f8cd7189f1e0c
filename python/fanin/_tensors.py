"""Lists of the tensors of a model, in the forms that Python code has them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from numbers import Integral
from typing import Any, Union

from fanin import _native
from fanin._errors import ArgumentError, shown
from fanin._paths import path_of

TensorsLike = Union[str, "os.PathLike[str]", Mapping[str, Any], Iterable[tuple[Any, ...]]]
"""The tensors of a model.

- A path, as the command line takes it: a .safetensors file, an index, a folder that holds one, or a
JSON list.
- A mapping of names to shapes, or to anything with a shape and a dtype, such as a state dict of
  torch, a dict of arrays, or the tree of `jax.eval_shape`. Mappings, lists, tuples and named tuples
  nest, and the outermost one can be a list. Names are joined by dots, with the numbers of elements:
  `layers.0.weight`. A list or tuple of whole numbers, or of nothing, is a shape.
- Tuples (name, shape) or (name, shape, dtype), or of names and arrays, as
  `torch.nn.Module.named_parameters` yields.
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
    is_one = _has_shape(tensors) or isinstance(tensors, (bytes, bytearray))
    if is_one or not isinstance(tensors, Iterable):
        raise TypeError(
            f"tensors is a {type(tensors).__name__}: use a path, a state dict, or tuples "
            "(name, shape, dtype)"
        )
    return [tensor for at, one in enumerate(tensors) for tensor in _of_element(at, one)]


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
    elif _has_shape(value):
        yield name, list(value.shape), getattr(value, "dtype", None)
    elif _is_tree(value):
        # The keys of a named tuple are the names of its fields.
        for key, inner in zip(getattr(value, "_fields", range(len(value))), value):
            yield from _named(f"{name}.{key}", inner)
    elif isinstance(value, (tuple, list, Integral)):
        yield name, value, None
    else:
        raise ArgumentError(f"tensor {shown(name)} is a {type(value).__name__}, which has no shape")


def _has_shape(value: object) -> bool:
    """Returns true for an array and for what stands for one. A whole number of numpy is none."""
    return hasattr(value, "shape") and not isinstance(value, Integral)


def _is_tree(value: object) -> bool:
    """Returns true for a mapping, and for a list or tuple that holds tensors and is no shape."""
    if not isinstance(value, (tuple, list)):
        return isinstance(value, Mapping)
    is_empty_node = not value and hasattr(value, "_fields")
    return is_empty_node or any(
        _has_shape(inner) or isinstance(inner, (Mapping, tuple, list)) for inner in value
    )


def _of_element(at: int, tensor: object) -> list[Listed]:
    """Returns the tensors of an element of a list."""
    if isinstance(tensor, (tuple, list)) and tensor and isinstance(tensor[0], str):
        if len(tensor) in (2, 3):
            name, shape, *dtype = tensor
            if _has_shape(shape):
                shape, dtype = list(shape.shape), dtype or [getattr(shape, "dtype", None)]
            return [(name, shape, dtype[0] if dtype else None)]
    elif _has_shape(tensor) or _is_tree(tensor):
        return _of_item(at, tensor)
    raise TypeError(
        f"tensors has {shown(tensor)}: use tuples (name, shape) or (name, shape, dtype)"
    )
