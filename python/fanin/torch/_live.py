"""The live tensors of a recording: every tensor that Python code can still reach, named or not."""

from __future__ import annotations

import gc
from collections import deque
from collections.abc import Iterator
from types import ModuleType
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
    storages = recorded._storages
    found = []
    # `type` and not `isinstance`, which would ask proxy objects for their class.
    for thing in gc.get_objects():
        if issubclass(type(thing), torch.Tensor) and has_storage(thing):
            ref = storages.ref(thing)
            if ref is not None:
                found.append((thing, ref))
    return found


def has_storage(tensor: torch.Tensor) -> bool:
    """Returns true for a tensor whose elements are in memory of its own, or on the meta device."""
    try:
        if has_own_dispatch(tensor) or tensor.layout is not torch.strided or tensor.is_nested:
            return False
        tensor.untyped_storage()
    except Exception:
        # Lazy parameters, tensors of torch.func, classes of other libraries: each has its error.
        return False
    return True


def attribute_paths(model: nn.Module) -> Iterator[tuple[str, torch.Tensor]]:
    """Yields the tensors that the attributes of a model reach, by path: `layers.0.scales.1`.

    Lists, tuples, dicts, modules in them, and objects with attributes of their own are searched.
    """
    for path, thing in _reached(model):
        if isinstance(thing, torch.Tensor):
            yield path, thing


def attribute_modules(model: nn.Module) -> Iterator[nn.Module]:
    """Yields the modules that the attributes of a model reach, the model first."""
    for _, thing in _reached(model):
        if isinstance(thing, nn.Module):
            yield thing


def _reached(model: nn.Module) -> Iterator[tuple[str, Any]]:
    """Yields all objects that the attributes of a model reach once, those of short paths first."""
    seen: set[int] = set()
    queue: deque[tuple[str, Any]] = deque([("", model)])
    while queue:
        path, thing = queue.popleft()
        if id(thing) in seen:
            continue
        seen.add(id(thing))
        yield path, thing
        prefix = f"{path}." if path else ""
        for key, child in _children(thing):
            if not issubclass(type(child), _LEAVES):
                queue.append((f"{prefix}{key}", child))


#: What holds no tensors, and can be there in great number.
_LEAVES = (type(None), bool, int, float, str, bytes, torch.dtype, torch.device)
#: The attributes of an empty module: dicts of members, which are searched, and of hooks.
_OF_MODULES = frozenset(vars(nn.Module()))


def _children(thing: Any) -> Iterator[tuple[str, Any]]:
    # `type` and not `isinstance`, which would ask proxy objects for their class. `dict.items`,
    # because some subclasses of dict import modules when they are asked for items.
    kind = type(thing)
    if issubclass(kind, nn.Module):
        for members in ("_parameters", "_buffers", "_modules"):
            yield from vars(thing).get(members, {}).items()
        yield from ((key, value) for key, value in vars(thing).items() if key not in _OF_MODULES)
    elif issubclass(kind, dict):
        yield from ((str(key), value) for key, value in dict.items(thing))
    elif issubclass(kind, (list, tuple)):
        yield from ((str(at), value) for at, value in enumerate(thing))
    elif not issubclass(kind, (torch.Tensor, type, ModuleType)):
        yield from getattr(thing, "__dict__", {}).items()
