"""The live tensors of a recording: every tensor that Python code can still reach, named or not."""

from __future__ import annotations

import gc
from collections import deque
from collections.abc import Iterator
from types import MemberDescriptorType, ModuleType
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
            for tensor in (thing, *gradient(thing)):
                ref = storages.ref(tensor)
                if ref is not None:
                    found.append((tensor, ref))
    return found


def gradient(tensor: torch.Tensor) -> list[torch.Tensor]:
    """Returns the gradient of a tensor, which only torch's C++ code may hold, if it has one."""
    # Only leaves have one. Views can be in a state in which torch refuses to tell.
    if tensor._is_view() or not tensor.is_leaf or tensor.grad is None:
        return []
    return [tensor.grad]


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
    seen: dict[int, Any] = {}  # kept alive, so that no other object gets the id
    queue: deque[tuple[str, Any]] = deque([("", model)])
    while queue:
        path, thing = queue.popleft()
        if id(thing) in seen:
            continue
        seen[id(thing)] = thing
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
    elif issubclass(kind, (list, tuple, deque)):
        yield from ((str(at), value) for at, value in enumerate(thing))
    elif issubclass(kind, torch.Tensor):
        yield from (("grad", each) for each in (gradient(thing) if has_storage(thing) else ()))
    elif not issubclass(kind, (type, ModuleType)):
        yield from getattr(thing, "__dict__", {}).items()
        yield from _slots(thing)


def _slots(thing: Any) -> Iterator[tuple[str, Any]]:
    """Yields the attributes that a class names in `__slots__`."""
    for kind in type(thing).__mro__:
        slots = vars(kind).get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else slots:
            descriptor = vars(kind).get(name)
            if isinstance(descriptor, MemberDescriptorType) and hasattr(thing, name):
                yield name, getattr(thing, name)
