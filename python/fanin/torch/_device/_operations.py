"""Fills by torch's own operations, on any device."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from fanin._program import Program
from fanin.torch._device._boxes import (
    count,
    pieces,
    row_major,
    runs,
    starts,
    write_owned,
)
from fanin.torch._device._elements import LANES, Job, elements
from fanin.torch._device._orthogonal import orthogonal
from fanin.torch._device._value import converted, packs
from fanin.torch._geometry import Box

_PIECE = 1 << 22
"""The most elements that are made at once, which bounds the memory: about 130 bytes an element."""


@dataclass
class Operations:
    """Fills of one device."""

    device: torch.device
    is_exact: bool
    """True if exact products of floats are exact on the device."""
    piece: int = _PIECE
    """The most elements that are made at once."""
    _last: tuple[Program, torch.Tensor] | None = None
    """The last orthogonal matrix, because the boxes of a tensor share one."""

    def write(self, programs: Sequence[Program], out: torch.Tensor, box: Box) -> set[str]:
        """Writes a box of a tensor. See `Writer.write`."""
        return write_owned(programs, out, box, self.write_one)

    def finish(self) -> None:
        """Does nothing: no box waits."""

    def write_one(self, program: Program, out: torch.Tensor, box: Box) -> str:
        """Writes a box of one program, in indices of its `dims`. Returns what made the values."""
        dtype = out.dtype if packs(out.dtype) else torch.float32
        job = Job.of(program, dtype, self.device, self.is_exact)
        if program.core == "matrix":
            job = replace(job, table=self._matrix(program))
        for place, piece in pieces(out, box, self.piece):
            values = _values(job, piece).reshape(place.shape)
            if dtype is not out.dtype:
                values = converted(values, out.dtype, program.bounds)
            place.copy_(values)
        return "torch operations"

    def _matrix(self, program: Program) -> torch.Tensor:
        """Returns the elements of an orthogonal matrix, held tall."""
        if self._last is None or self._last[0] != program:
            self._last = None  # Frees the other matrix first.
            self._last = program, self._new_matrix(program)
        return self._last[1]

    def _new_matrix(self, program: Program) -> torch.Tensor:
        assert program.matrix is not None
        rows, columns = program.matrix[:2]
        tall = (max(rows, columns), min(rows, columns))
        gaussian = torch.empty(tall, dtype=torch.float32, device=self.device)
        whole = tuple((0, size) for size in tall)
        normal = replace(program, core="normal", dims=tall, ranges=whole, matrix=None)
        self.write_one(normal, gaussian, whole)
        (gain,) = struct.unpack("<f", struct.pack("<I", program.constant))
        return orthogonal(gaussian, gain).reshape(-1)


def _values(job: Job, box: Box) -> torch.Tensor:
    """Returns the elements of a box, in row-major order. Blocks of a run are made once."""
    base, outer, (length, _) = runs(job.program.dims, box, row_major(box))
    device = job.numbers.device
    first = starts(base, outer, device)
    # Runs that start at different lanes touch up to this many blocks.
    is_aligned = all(stride % LANES == 0 for _, stride, _ in outer)
    lane = base % LANES
    blocks = -(-(lane + length) // LANES) if is_aligned else (length + LANES - 2) // LANES + 1
    numbers = (first // LANES)[:, None] + torch.arange(blocks, device=device)
    made = elements(job, numbers.reshape(-1)).reshape(count(outer), LANES * blocks)
    if is_aligned:
        return made[:, lane : lane + length]
    return made.gather(1, (first % LANES)[:, None] + torch.arange(length, device=device))
