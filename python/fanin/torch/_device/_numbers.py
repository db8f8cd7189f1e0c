"""The numbers of a fill as one array, in the same order for all kernels."""

from __future__ import annotations

from typing import NamedTuple

import torch

from fanin._program import Program

_SIGNED = 2**31


class Numbers(NamedTuple):
    """The numbers of a fill: each one an int64 tensor without dimensions."""

    k0: torch.Tensor
    k1: torch.Tensor
    s0: torch.Tensor
    s1: torch.Tensor
    multiplier: torch.Tensor
    shift: torch.Tensor
    offset: torch.Tensor
    lowest: torch.Tensor
    highest: torch.Tensor
    exponent: torch.Tensor
    constant: torch.Tensor
    columns: torch.Tensor
    pattern0: torch.Tensor
    pattern1: torch.Tensor
    pattern2: torch.Tensor
    pattern3: torch.Tensor

    @property
    def key(self) -> tuple[torch.Tensor, torch.Tensor]:
        """The words of the seed."""
        return self.k0, self.k1

    @property
    def stream(self) -> tuple[torch.Tensor, torch.Tensor]:
        """The words of the stream id."""
        return self.s0, self.s1

    @property
    def pattern(self) -> tuple[torch.Tensor, ...]:
        """The numbers of the mask."""
        return self[12:]


def numbers_of(program: Program) -> list[int]:
    """Returns the numbers of a program, in the order of `Numbers`."""
    lowest, highest = program.clamp or (-_SIGNED, _SIGNED - 1)
    return [
        *program.key,
        *program.stream,
        program.multiplier,
        program.shift,
        program.offset,
        lowest,
        highest,
        program.exponent,
        program.constant,
        program.columns,
        *program.pattern,
    ]


REQUEST = (
    *Numbers._fields,
    "address",
    "table",
    "first_program",
    "start",
    "length",
    "stride",
    "blocks_of_a_run",
    "runs",
    "outer",
)
"""The numbers of a request of the Triton kernel.

`"outer"` is the first of three numbers for each dimension that counts the runs, innermost first:
its size, and the elements from one index to the next in the tensor and in memory.
"""
