"""The requests of the Triton kernel: the fill of one box each, as rows of numbers."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import nullcontext
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby
from typing import Any

import torch

from fanin._program import Program
from fanin.torch._device._boxes import count, runs
from fanin.torch._device._elements import LANES, Form
from fanin.torch._device._kernel import DIMENSIONS, FIELDS, fill
from fanin.torch._device._numbers import REQUEST, numbers_of
from fanin.torch._geometry import Box

BLOCKS = 1024
"""The blocks that a program of the kernel makes."""
OPTIONS = {"enable_fp_fusion": False}
"""The options of the compiler. A product and a sum in one rounding would be another number."""
_MOST = 64
"""The most requests of a launch. The search among them takes a step for each power of two."""
_FIRST = REQUEST.index("first_program")
_NO_PROGRAM = 2**62
"""The first program of the rows after the last request."""


@dataclass(frozen=True)
class Variant:
    """The constants of a compiled kernel."""

    form: Form
    dims: int
    is_flat: bool


@dataclass(frozen=True)
class Request:
    """A box of one program, and the memory it goes to."""

    variant: Variant
    numbers: list[int]
    """The fields of `REQUEST`. The first program depends on the requests of the same launch."""
    programs: int
    """The programs of the kernel that make it."""
    memory: tuple[torch.Tensor, torch.Tensor]
    """The destination and the table, which must live until the launch."""

    @classmethod
    def of(cls, program: Program, out: torch.Tensor, box: Box, is_exact: bool) -> Request | None:
        """Returns the request of a box in indices of the program's `dims`.

        Args:
            program: Any but one of a matrix.
            out: A tensor of float32, float16 or bfloat16, of the shape of the box.
            box: The elements.
            is_exact: True if exact products of floats are exact on the device.

        Returns:
            None if the box has more runs within runs than the kernel counts.
        """
        form = Form.of(program, out.dtype, is_exact)
        start, outer, (length, stride) = runs(program.dims, box, out.stride())
        if len(outer) > DIMENSIONS.value:
            return None
        is_aligned = start % LANES == 0 and length % 16 == 0 and out.data_ptr() % 16 == 0
        is_flat = not outer and stride == 1 and is_aligned
        run_count = count(outer)
        blocks = length // LANES if is_flat else (length + LANES - 2) // LANES + 1
        table = _table(program.table, out.device)
        numbers = [
            *numbers_of(program),
            out.data_ptr(),
            table.data_ptr(),
            0,
            start,
            length,
            stride,
            blocks,
            run_count,
            *(number for dimension in reversed(outer) for number in dimension),
        ]
        programs = -(-run_count * blocks // BLOCKS)
        return cls(Variant(form, len(outer), is_flat), numbers, programs, (out, table))


@lru_cache(maxsize=64)
def _table(table: bytes, device: torch.device) -> torch.Tensor:
    """Returns a table on a device, and keeps it."""
    words = torch.frombuffer(bytearray(table or bytes(8)), dtype=torch.int32)
    return words.to(device)


def launch(requests: Iterable[Request], device: torch.device) -> None:
    """Fills the memory of requests on a device, with few launches."""

    def order(request: Request) -> tuple[str, int, bool]:
        variant = request.variant
        return str(variant.form), variant.dims, variant.is_flat

    for _, group in groupby(sorted(requests, key=order), key=order):
        alike = list(group)
        for at in range(0, len(alike), _MOST):
            _launch(alike[at : at + _MOST], device)


def _launch(requests: list[Request], device: torch.device) -> None:
    """Fills the memory of requests of one variant by one launch."""
    steps = (len(requests) - 1).bit_length()
    rows = torch.zeros((1 << steps, FIELDS.value), dtype=torch.int64, device="cpu")
    rows[:, _FIRST] = _NO_PROGRAM
    first = 0
    for row, request in zip(rows, requests):
        row[: len(request.numbers)] = torch.tensor(request.numbers, device="cpu")
        row[_FIRST] = first
        first += request.programs
    # Triton launches on the current device of its kind.
    module = torch.get_device_module(device)
    with nullcontext() if device.type == "cpu" else module.device(device):
        fill[(first,)](rows.to(device), **constants(requests[0].variant, steps), **OPTIONS)


def constants(variant: Variant, steps: int) -> dict[str, Any]:
    """Returns the constants of the kernel for 2^steps requests."""
    return {
        "CORE": variant.form.core,
        "MASK": variant.form.mask,
        "EXACT": variant.form.is_exact,
        "DTYPE": str(variant.form.dtype).removeprefix("torch."),
        "SEARCH": steps,
        "DIMS": variant.dims,
        "FLAT": variant.is_flat,
        "BLOCKS": BLOCKS,
    }
