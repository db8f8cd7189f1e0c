"""Fills of memory on devices other than the CPU, which make the same bits as the CPU.

There are three ways:

- `"triton"`: a Triton kernel, on CUDA, ROCm and XPU devices.
- `"operations"`: torch's own operations, on any device with whole numbers of 64 bits.
- `"copy"`: the CPU makes the values, and one copy moves them.

A device takes the first way that makes the bits of the CPU in a trial, which runs once.

No way can be recorded into a CUDA graph: numbers of fills go to the device by copies that wait.
Code that `torch.compile` compiles must call fills outside of its graphs.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from typing import Protocol

import torch

from fanin import _native
from fanin._errors import ArgumentError
from fanin._program import Program
from fanin.torch._device._operations import Operations
from fanin.torch._device._probe import has_exact_floats
from fanin.torch._geometry import Box

WAY_VARIABLE = "FANIN_TORCH_WAY"
"""The environment variable that selects the way of all devices, the CPU too. It is for tests."""


class Writer(Protocol):
    """Fills the memory of one device."""

    def write(self, programs: Sequence[Program], out: torch.Tensor, box: Box) -> set[str]:
        """Writes a box of a tensor, at the latest in `finish`.

        Args:
            programs: The numbers of the tensor, then those of its parts.
            out: A tensor of the shape of the box, on the device, of any strides.
            box: Ranges of indices of the whole tensor.

        Returns:
            What makes the values, such as `"Triton"`.
        """

    def finish(self) -> None:
        """Writes all boxes that wait."""


def writer_of(device: torch.device) -> Writer | None:
    """Returns what fills the memory of a device, or None if the CPU makes its values.

    Raises:
        ValueError: If the environment variable has another value than those of its ways.
    """
    way = os.environ.get(WAY_VARIABLE)
    if way is None:
        way = "copy" if device.type == "cpu" else _way_of(device)
    if way == "copy":
        return None
    if way not in _WRITERS:
        raise ArgumentError(f"{WAY_VARIABLE} is {way!r}; use {', '.join(_WRITERS)} or copy")
    together = _together.get()
    if together is None:
        return _WRITERS[way](device)
    if (device, way) not in together:
        together[device, way] = _WRITERS[way](device)
    return together[device, way]


def _new_operations(device: torch.device) -> Operations:
    return Operations(device, has_exact_floats(device))


def _new_kernels(device: torch.device) -> Writer:
    # Triton is not installed everywhere, and takes long to load.
    module = importlib.import_module("fanin.torch._device._kernels")
    writer: Writer = module.Kernels(_new_operations(device))
    return writer


_WRITERS: dict[str, Callable[[torch.device], Writer]] = {
    "triton": _new_kernels,
    "operations": _new_operations,
}


@cache
def _way_of(device: torch.device) -> str:
    """Returns the first way that makes the bits of the CPU on a device."""
    return next((way for way, make in _WRITERS.items() if _is_right(make, device)), "copy")


def _is_right(make: Callable[[torch.device], Writer], device: torch.device) -> bool:
    """Returns true if a device can run a way, and it makes the bits of the CPU."""
    shape, box = [33, 31], ((1, 33), (0, 31))
    for init in ("normal(std=0.02)", "uniform(low=-1, high=2)", "truncated_normal(std=1)"):
        # The caller can have other defaults of dtype and device.
        want = torch.empty(32, 31, dtype=torch.float32, device="cpu")
        got = torch.empty_like(want, device=device)
        numbers = _native.program(init, shape, name="trial", seed=1, dtype="f32")
        programs = [Program.of(each) for each in numbers]
        _native.fill_at(
            init,
            shape,
            want.data_ptr(),
            want.nbytes,
            name="trial",
            seed=1,
            dtype="f32",
            slice=list(box),
        )
        try:
            writer = make(device)
            writer.write(programs, got, box)
            writer.finish()
            made = got.cpu()
        except torch.OutOfMemoryError:
            raise
        # A missing package, an operation that the device lacks, a kernel that does not compile:
        # their exceptions have no common class. The report tells which way a tensor took.
        except Exception:
            return False
        if not torch.equal(want.view(torch.int32), made.view(torch.int32)):
            return False
    return True


_together: ContextVar[dict[tuple[torch.device, str], Writer] | None] = ContextVar(
    "together", default=None
)
"""The writers whose boxes wait, in this thread."""


def finish(writer: Writer) -> None:
    """Writes all boxes that wait, unless those of other tensors are made with them."""
    if _together.get() is None:
        writer.finish()


@contextmanager
def together() -> Iterator[None]:
    """Makes the fills within it with few launches. Values are in memory at its end, not before."""
    if _together.get() is not None:
        yield
        return
    writers: dict[tuple[torch.device, str], Writer] = {}
    token = _together.set(writers)
    try:
        yield
        for writer in writers.values():
            writer.finish()
    finally:
        _together.reset(token)
