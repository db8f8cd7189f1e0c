"""`build`: makes a model whose tensors have fanin's values, without torch's own initialization."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import nn

from fanin._errors import ArgumentError
from fanin.torch._fill import check_seed
from fanin.torch._materialize import materialize
from fanin.torch._recorded import recorded_from
from fanin.torch._report import Report

_log = logging.getLogger("fanin")
M = TypeVar("M", bound=nn.Module)


def build(
    make: Callable[..., M],
    *args: Any,
    seed: int,
    device: torch.device | str | int = "cpu",
    dtype: torch.dtype | None = None,
    **kwargs: Any,
) -> M:
    """Returns the model that a function makes, with fanin's values in place of torch's random ones.

    The function runs once, as `record` runs it: without memory for its tensors. Then each tensor
    gets memory on `device`, and its values. All references to a tensor follow: ties, lists,
    closures and plain attributes. The bits depend on the seed alone. They are those that `init_`
    gives the shards of the model, and those that `fanin init` writes for its saved recipe.

    Args:
        make: A class or a function that returns a `torch.nn.Module`.
        *args: Its arguments.
        seed: From 0 to 2^64 - 1. Another seed gives other weights.
        device: Where the tensors are, plain attributes included. The device makes the values of
            initializers, see `fill_`. The CPU makes all others, and a copy moves them.
        dtype: The dtype of the floating-point parameters and buffers, as in `model.to(dtype)`: they
            hold the float32 values, rounded. None keeps the dtypes that the function chooses.
        **kwargs: The function's keyword arguments.

    Returns:
        The model, ready to train. torch's random number generators are as they were.

    Raises:
        TypeError: If `make` does not make a module, and for quantized and sparse tensors.
        ValueError: For a seed out of range, or a device without memory.
        RecordError: For lazy parameters, and for random numbers in tensors that no attribute of the
            model reaches.

    Warns:
        RecordWarning: As `record`, for example for tensors that the model does not initialize.

    Example:
        >>> from fanin.torch import build
        >>> model = build(torch.nn.Linear, 784, 512, seed=42)
    """
    started = time.perf_counter()
    seed, device = check_seed(seed), checked_device(device)
    check_dtype(dtype)
    recorded = recorded_from(make, args, kwargs)
    report = Report()
    for message in recorded.warnings:
        report.warn(message)
    materialize(recorded, seed, device, dtype, report)
    log_built(recorded.model, report, started)
    return recorded.model  # type: ignore[return-value]


def log_built(model: nn.Module, report: Report, started: float) -> None:
    """Logs what was made since a time of `time.perf_counter`."""
    report.seconds = time.perf_counter() - started
    _log.info("built %s: %s", type(model).__name__, report)


def checked_device(device: torch.device | str | int) -> torch.device:
    """Returns a device that has memory.

    Raises:
        ValueError: For the meta device.
        RuntimeError: For a device that torch does not have here.
    """
    found = torch.empty(0, device=device).device
    if found.type == "meta":
        raise ArgumentError(
            "device 'meta' has no memory for values; use record for a model without values"
        )
    return found


def check_dtype(dtype: object) -> None:
    """Checks that floating-point tensors can have a dtype.

    Raises:
        TypeError: If not.
    """
    if dtype is None or (isinstance(dtype, torch.dtype) and dtype.is_floating_point):
        return
    raise TypeError(
        f"dtype {dtype!r} is not a floating-point dtype; use one such as torch.bfloat16"
    )
