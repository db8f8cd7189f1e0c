"""`seeded`: gives fanin's values to the model that is made in a `with` block."""

from __future__ import annotations

import gc
import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from fanin.torch._build import check_dtype, checked_device, log_built
from fanin.torch._fill import check_seed
from fanin.torch._listing import named_tensors, warn_uninitialized
from fanin.torch._live import attribute_modules
from fanin.torch._materialize import materialize
from fanin.torch._modes import recording
from fanin.torch._problems import RecordError
from fanin.torch._recorded import conclude
from fanin.torch._recorder import Recorder
from fanin.torch._report import Report


@contextmanager
def seeded(
    seed: int,
    *,
    device: torch.device | str | int = "cpu",
    dtype: torch.dtype | None = None,
) -> Iterator[None]:
    """Gives the model that is made in a `with` block fanin's values, as `build` does.

    Within the block the model's tensors have no memory. They get it when the block ends. If the
    block raises an exception, they stay without.

    The block must make exactly one model: one module that holds all others. Names are relative to
    it, and the tensors of two models with equal names would have equal weights.

    Args:
        seed: From 0 to 2^64 - 1.
        device: Where the tensors are, see `build`.
        dtype: The dtype of the floating-point parameters and buffers, see `build`.

    Raises:
        RecordError: If the block makes no model, or several, or random tensors beside it.
        RuntimeError: Within another such block, or within `record` or `build`.

    Warns:
        RecordWarning: As `record`.

    Example:
        >>> from fanin.torch import seeded
        >>> with seeded(42):
        ...     model = torch.nn.Linear(784, 512)
    """
    started = time.perf_counter()
    seed, device = check_seed(seed), checked_device(device)
    check_dtype(dtype)
    with recording() as recorder:
        yield
        model = _only_root(recorder)
        named = named_tensors(model, recorder)
    recorded = conclude(model, recorder, named)
    warn_uninitialized(named, recorder)
    report = Report()
    for message in recorded.warnings:
        report.warn(message)
    materialize(recorded, seed, device, dtype, report)
    log_built(model, report, started)


def _only_root(recorder: Recorder) -> nn.Module:
    """Returns the module that holds all modules with recorded tensors."""
    roots = _roots(recorder)
    if len(roots) > 1:
        # Modules that nothing uses any more can be in cycles.
        del roots
        gc.collect()
        roots = _roots(recorder)
    if not roots:
        raise RecordError("the block of seeded makes no module with tensors; make the model there")
    if len(roots) > 1:
        kinds = ", ".join(type(root).__name__ for root in roots)
        raise RecordError(
            f"the block of seeded makes {len(roots)} separate models, {kinds}, whose tensors of "
            "equal names would have equal weights; use a block with another seed for each"
        )
    return roots[0]


def _roots(recorder: Recorder) -> list[nn.Module]:
    """Returns the modules that no other module holds, if tensors of the recording are in them."""
    modules = [thing for thing in gc.get_objects() if issubclass(type(thing), nn.Module)]
    recorded = {id(module) for module in modules if _has_recorded(module, recorder)}
    held: set[int] = set()
    for module in modules:
        if id(module) not in held:
            held |= {id(inner) for inner in attribute_modules(module) if inner is not module}
    return [
        module
        for module in modules
        if id(module) not in held
        and any(id(inner) in recorded for inner in attribute_modules(module))
    ]


def _has_recorded(module: nn.Module, recorder: Recorder) -> bool:
    own = [vars(module).get(members, {}).values() for members in ("_parameters", "_buffers")]
    tensors = (tensor for values in own for tensor in values if tensor is not None)
    return any(recorder.number_of(tensor) is not None for tensor in tensors)
