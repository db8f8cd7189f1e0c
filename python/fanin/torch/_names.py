"""The names of a model's tensors, without the prefixes that wrappers add."""

from __future__ import annotations

from torch import nn

# Parts of names that torch.compile, activation checkpointing and FSDP1 add.
_WRAPPERS = ("_orig_mod", "_checkpoint_wrapped_module", "_fsdp_wrapped_module")
# Modules that hold the model as their child `module`.
_PARALLEL = (
    "torch.nn.parallel.distributed.DistributedDataParallel",
    "torch.nn.parallel.data_parallel.DataParallel",
)


def canonical(model: nn.Module, name: str) -> str:
    """Returns a tensor's name without the parts that wrappers add.

    Wrappers are torch.compile, activation checkpointing, FSDP, and the modules of data parallelism,
    whose child is called `module`. The name is the one that the tensor has in the model before it
    is wrapped.
    """
    if not any(part in name for part in (*_WRAPPERS, "module.")):
        return name
    kept: list[str] = []
    module: object = model
    for part in name.split("."):
        wraps = part in _WRAPPERS or (part == "module" and is_parallel(module))
        module = getattr(module, part, None)
        if not wraps:
            kept.append(part)
    return ".".join(kept)


def is_parallel(module: object) -> bool:
    """Returns true for a module of data parallelism, whose child `module` is the model."""
    kinds = type(module).__mro__
    return any(f"{kind.__module__}.{kind.__qualname__}" in _PARALLEL for kind in kinds)
