"""The tensors of an existing model, by the names that they have without wrappers."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn
from torch.nn.parameter import is_lazy

import fanin
from fanin._errors import ArgumentError
from fanin.torch._fill import check_writable, has_own_dispatch
from fanin.torch._geometry import as_dtensor
from fanin.torch._names import canonical


@dataclass(frozen=True)
class Slot:
    """A tensor of a module, under one of its names."""

    name: str
    module: nn.Module
    key: str
    tensor: torch.Tensor
    is_parameter: bool
    """True for a parameter, false for a buffer."""
    is_temporary: bool
    """True if the state dict leaves it out."""

    def put(self, tensor: torch.Tensor) -> None:
        """Gives the module another tensor under this name."""
        members: list[dict[str, Any]] = [self.module._parameters, self.module._buffers]
        own, other = members if self.is_parameter else members[::-1]
        other.pop(self.key, None)
        own[self.key] = tensor


def slots(model: nn.Module) -> list[Slot]:
    """Returns the parameters and buffers of a model in the order of its state dict.

    A tensor that has several names is there once for each.

    Raises:
        TypeError: For what is not a module, and for a model in `FullyShardedDataParallel`, whose
            parameters are parts of flattened memory.
        ValueError: For a lazy parameter, which has no shape yet.
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"expected a torch.nn.Module, but got a {type(model).__name__}")
    found: dict[str, Slot] = {}
    for prefix, module in model.named_modules(remove_duplicate=False):
        _reshard(module, prefix)
        for slot in _own(module):
            name = canonical(model, f"{prefix}.{slot.key}" if prefix else slot.key)
            if is_lazy(slot.tensor):
                # Before a shape is asked for.
                check_writable(slot.tensor, name)
            found.setdefault(name, replace(slot, name=name))
    return list(found.values())


def _own(module: nn.Module) -> Iterator[Slot]:
    """Yields the tensors of a module without those of its children."""
    for key, parameter in module._parameters.items():
        if parameter is not None:
            yield Slot(key, module, key, parameter, True, False)
    for key, buffer in module._buffers.items():
        if buffer is not None:
            yield Slot(key, module, key, buffer, False, key in module._non_persistent_buffers_set)


def _reshard(module: nn.Module, prefix: str) -> None:
    """Frees the gathered parameters of FSDP2, so that the module has its shards. Refuses FSDP1."""
    names = {f"{kind.__module__}.{kind.__qualname__}" for kind in type(module).__mro__}
    if "torch.distributed.fsdp.fully_sharded_data_parallel.FullyShardedDataParallel" in names:
        raise TypeError(
            f"module {prefix!r} is a FullyShardedDataParallel, whose flattened parameters are not "
            "supported; shard with torch.distributed.fsdp.fully_shard"
        )
    if any(name.endswith(".FSDPModule") for name in names):
        module.reshard()  # type: ignore[operator]


def by_memory(every: Iterable[Slot]) -> list[list[Slot]]:
    """Returns the slots of a model, those of the same elements together."""
    found: dict[Hashable, list[Slot]] = {}
    for slot in every:
        found.setdefault(memory_of(slot.tensor), []).append(slot)
    return list(found.values())


def memory_of(tensor: torch.Tensor) -> Hashable:
    """Returns what two tensors have in common if they are the same elements."""
    memory, dtensor = tensor, as_dtensor(tensor)
    if dtensor is not None:
        with torch.no_grad():
            memory = dtensor.to_local()
    if memory.is_meta or memory.numel() == 0 or has_own_dispatch(memory):
        return id(tensor)
    if memory.layout is not torch.strided:
        return id(tensor)
    return memory.data_ptr(), memory.dtype, tuple(memory.shape), tuple(memory.stride())


def selected(names: Sequence[str], only: str | Iterable[str] | None) -> set[str]:
    """Returns the names that match a glob, with the globs of recipes.

    Args:
        names: The names of all tensors.
        only: A glob or several, or None for all names.

    Raises:
        ValueError: For a malformed glob, and for one that matches no name.
    """
    if only is None:
        return set(names)
    globs = [only] if isinstance(only, str) else list(only)
    found: set[str] = set()
    for glob in globs:
        matched = _matched(names, glob)
        if not matched:
            shown = ", ".join(names[:3]) or "none"
            raise ArgumentError(
                f"only: {glob!r} matches no tensor; the first of the model are {shown}"
            )
        found |= matched
    return found


def _matched(names: Sequence[str], glob: str) -> set[str]:
    # A recipe does the matching, so that globs mean here what they mean there.
    rules: list[dict[str, Any]] = [
        {"match": glob, "init": "zeros"},
        {"match": "*", "skip": True},
    ]
    recipe = fanin.Recipe.from_rules(rules)
    return set(recipe.plan([(name, ()) for name in names], 0).names)
