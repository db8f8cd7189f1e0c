"""The live tensors of a recording: every tensor that Python code can still reach, named or not."""

from __future__ import annotations

import gc
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import nn

from fanin.torch._fill import has_own_dispatch
from fanin.torch._recorded import Recorded
from fanin.torch._storage import Ref


def live_tensors(recorded: Recorded) -> list[tuple[torch.Tensor, Ref]]:
    """Returns the tensors whose values a recording has, with the view of a storage that each is.

    The garbage collector knows all: those of the model, and those in lists, closures and caches.
    """
    storages = recorded._storages()
    found = []
    # `type` and not `isinstance`, which would ask proxy objects for their class.
    for thing in gc.get_objects():
        if issubclass(type(thing), torch.Tensor) and _has_storage(thing):
            ref = storages.ref(thing)
            if ref is not None:
                found.append((thing, ref))
    return found


def _has_storage(tensor: torch.Tensor) -> bool:
    if has_own_dispatch(tensor) or tensor.layout is not torch.strided or tensor.is_nested:
        return False
    try:
        tensor.untyped_storage()
    except (NotImplementedError, RuntimeError):
        return False  # a tensor of a torch.func transform, or of a library with its own storage
    return True


def attribute_paths(model: nn.Module) -> Iterator[tuple[str, torch.Tensor]]:
    """Yields the tensors that the attributes of a model reach, by path: `layers.0.scales.1`.

    Lists, tuples, dicts, modules in them, and objects with attributes of their own are searched.
    """
    seen: set[int] = set()
    stack: list[tuple[str, Any]] = [("", model)]
    while stack:
        path, thing = stack.pop(0)
        if id(thing) in seen:
            continue
        seen.add(id(thing))
        if isinstance(thing, torch.Tensor):
            yield path, thing
        else:
            prefix = f"{path}." if path else ""
            stack += [(f"{prefix}{key}", child) for key, child in _children(thing)]


def _children(thing: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(thing, nn.Module):
        for members in (thing._parameters, thing._buffers, thing._modules):
            yield from members.items()
        yield from ((key, value) for key, value in vars(thing).items() if not _is_machinery(key))
    elif isinstance(thing, Mapping):
        yield from ((str(key), value) for key, value in thing.items())
    elif isinstance(thing, Sequence) and not isinstance(thing, (str, bytes, range)):
        yield from ((str(at), value) for at, value in enumerate(thing))
    elif type(type(thing)) is type and type(thing).__module__ not in ("builtins", "torch"):
        yield from getattr(thing, "__dict__", {}).items()


#: The attributes of an empty module: dicts of members and hooks.
_MACHINERY = frozenset(vars(nn.Module()))


def _is_machinery(key: str) -> bool:
    return key in _MACHINERY
