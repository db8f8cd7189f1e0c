"""Fills by the Triton kernel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch

from fanin._program import Program
from fanin.torch._device._boxes import pieces, write_owned
from fanin.torch._device._operations import Operations
from fanin.torch._device._requests import Request, launch
from fanin.torch._device._value import converted, packs
from fanin.torch._geometry import Box

_STAGED = 1 << 26
"""The most elements that wait in float32 for a conversion."""


@dataclass
class Kernels:
    """Fills of one device. They wait for `finish`, which makes them together."""

    operations: Operations
    """The way of matrices, and of memory that the kernel does not write to."""
    _waiting: list[Request] = field(default_factory=list)

    def write(self, programs: Sequence[Program], out: torch.Tensor, box: Box) -> set[str]:
        """Writes a box of a tensor. See `Writer.write`."""
        return write_owned(programs, out, box, self._write_one)

    def _write_one(self, program: Program, out: torch.Tensor, box: Box) -> str:
        if program.core == "matrix" or out.is_neg():
            return self.operations.write_one(program, out, box)
        if packs(out.dtype):
            return self._request(program, out, box)
        for place, piece in pieces(out, box, _STAGED):
            staged = torch.empty(place.shape, dtype=torch.float32, device=place.device)
            self._request(program, staged, piece)
            self.finish()
            place.copy_(converted(staged, out.dtype, program.bounds))
        return "Triton"

    def _request(self, program: Program, out: torch.Tensor, box: Box) -> str:
        request = Request.of(program, out, box, self.operations.is_exact)
        if request is None:
            return self.operations.write_one(program, out, box)
        self._waiting.append(request)
        return "Triton"

    def finish(self) -> None:
        """Writes all boxes that wait."""
        launch(self._waiting, self.operations.device)
        self._waiting.clear()
