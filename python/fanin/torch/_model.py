"""The tensors of an existing model, by the names that they have without wrappers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

import fanin
from fanin.torch._names import canonical
from fanin.torch._rules import quoted


@dataclass(frozen=True)
class Slot:
    """A tensor of a module, under one of its names."""

    name: str
    module: nn.Module
    key: str
    tensor: torch.Tensor
    is_temporary: bool
    """Whether the state dict leaves it out."""

    @property
    def is_parameter(self) -> bool:
        """Whether it is a parameter, and not a buffer."""
        return self.key in self.module._parameters

    def put(self, tensor: torch.Tensor) -> None:
        """Gives the module another tensor under this name."""
        kind: dict[str, Any] = self.module.__dict__[
            "_parameters" if self.is_parameter else "_buffers"
        ]
        kind[self.key] = tensor


def slots(model: nn.Module) -> list[Slot]:
    """Returns the parameters and buffers of a model in the order of its state dict.

    A tensor that has several names is there once for each.

    Raises:
        TypeError: For what is not a module, and for a model in `FullyShardedDataParallel`, whose
            parameters are parts of flattened memory.
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"expected a torch.nn.Module, but got a {type(model).__name__}")
    found: dict[str, Slot] = {}
    for prefix, module in model.named_modules(remove_duplicate=False):
        _reshard(module, prefix)
        for key, tensor, is_temporary in _own(module):
            name = canonical(model, f"{prefix}.{key}" if prefix else key)
            found.setdefault(name, Slot(name, module, key, tensor, is_temporary))
    return list(found.values())


def _own(module: nn.Module) -> Iterator[tuple[str, torch.Tensor, bool]]:
    for key, parameter in module._parameters.items():
        if parameter is not None:
            yield key, parameter, False
    for key, buffer in module._buffers.items():
        if buffer is not None:
            yield key, buffer, key in module._non_persistent_buffers_set


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
            raise ValueError(
                f"only: {glob!r} matches no tensor; the first of the model are {shown}"
            )
        found |= matched
    return found


def _matched(names: Sequence[str], glob: str) -> set[str]:
    # A recipe does the matching, so that globs mean here what they mean there.
    rules = f'[[rule]]\nmatch = {quoted(glob)}\ninit = "zeros"\n[[rule]]\nmatch = "*"\nskip = true'
    return set(fanin.Recipe.from_toml(rules).plan([(name, [], None) for name in names], 0).names)
