"""The elements of blocks of four, by torch's own operations.

Every operation is on whole numbers of 64 bits, but for conversions and one product that are exact.
So any device gives the same bits, and a compiler can fuse all of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch

from fanin._program import Program
from fanin.torch._device import _draw, _pattern
from fanin.torch._device._numbers import Numbers, numbers_of
from fanin.torch._device._value import FLOAT_EXPONENTS, float_value, integer_value, packed
from fanin.torch._device._words import MASK, philox

LANES = 4
"""Elements of a block."""


@dataclass(frozen=True)
class Form:
    """The choices that the operations depend on. Fills of equal forms differ in numbers only."""

    core: str
    mask: str
    is_exact: bool
    """True if values are made in floats."""
    dtype: torch.dtype
    """float32, float16 or bfloat16."""

    @classmethod
    def of(cls, program: Program, dtype: torch.dtype, is_exact: bool) -> Form:
        """Returns the form of a program, where `is_exact` tells of the device's floats."""
        is_exact = is_exact and program.exponent in FLOAT_EXPONENTS
        return cls(program.core, program.mask, is_exact, dtype)


@dataclass(frozen=True)
class Job:
    """A program on a device."""

    program: Program
    form: Form
    numbers: torch.Tensor
    """The fields of `Numbers`."""
    table: torch.Tensor
    """The lookup table: signed numbers of 32 bits, two in a row. The matrix, if there is one."""

    @classmethod
    def of(cls, program: Program, dtype: torch.dtype, device: torch.device, is_exact: bool) -> Job:
        """Returns the job of a program.

        Args:
            program: The numbers of the fill.
            dtype: float32, float16 or bfloat16.
            device: The device to make elements on.
            is_exact: True if exact products of floats are exact on this device.
        """
        numbers = torch.tensor(numbers_of(program), device=device)
        form = Form.of(program, dtype, is_exact)
        return cls(program, form, numbers, _table(program.table, device))


@lru_cache(maxsize=64)
def _table(table: bytes, device: torch.device) -> torch.Tensor:
    """Returns a table on a device. A model has few different ones."""
    if not table:
        return torch.zeros((1, 2), dtype=torch.int64, device=device)
    words = torch.frombuffer(bytearray(table), dtype=torch.int32)
    return words.to(torch.int64).reshape(-1, 2).to(device)


def elements(job: Job, blocks: torch.Tensor) -> torch.Tensor:
    """Returns the elements of blocks.

    Args:
        job: The fill.
        blocks: The numbers of blocks, int64 of shape (n,).

    Returns:
        Elements of shape (n, 4) in the dtype of the job.
    """
    if job.form.core == "matrix":
        bits = _matrix(job, blocks)
    elif job.form.mask == "sparse":
        bits = _sparse(job, blocks)
    else:
        return made(job.form, blocks, job.numbers, job.table)
    return packed(bits, job.form.dtype)


def made(
    form: Form, blocks: torch.Tensor, numbers: torch.Tensor, table: torch.Tensor
) -> torch.Tensor:
    """Returns the elements of blocks for all forms without loops. torch.compile can compile it."""
    fields = Numbers(*numbers.unbind())
    bits = _drawn(form, blocks, fields, table)
    if form.mask != "none":
        bits = torch.where(_is_zero(form.mask, blocks, fields), 0, bits)
    return packed(bits, form.dtype)


def _indices(blocks: torch.Tensor) -> torch.Tensor:
    """Returns the indices of the elements of blocks."""
    return blocks[:, None] * LANES + torch.arange(LANES, device=blocks.device)


def _row_and_column(blocks: torch.Tensor, numbers: Numbers) -> tuple[torch.Tensor, torch.Tensor]:
    index = _indices(blocks)
    return index // numbers.columns, index % numbers.columns


def _drawn(form: Form, blocks: torch.Tensor, numbers: Numbers, table: torch.Tensor) -> torch.Tensor:
    """Returns binary32 bits before the mask."""
    if form.core == "constant":
        return numbers.constant.expand(len(blocks), LANES)
    if form.core == "sine":
        return _pattern.sine_of(*_row_and_column(blocks, numbers), table)
    if form.core == "columns":
        _, column = _row_and_column(blocks, numbers)
        return table.reshape(-1)[column] & MASK
    p = _whole_numbers(form, blocks, numbers, table)
    make = float_value if form.is_exact else integer_value
    return make(p, numbers.exponent)


def _whole_numbers(
    form: Form, blocks: torch.Tensor, numbers: Numbers, table: torch.Tensor
) -> torch.Tensor:
    """Returns the whole numbers p of elements."""
    x0, x1, x2, x3 = philox(blocks, 0, numbers.stream, numbers.key)
    scaling = (numbers.multiplier, numbers.shift, numbers.offset)
    if form.core == "normal":
        a, b = torch.stack((x0, x2), 1), torch.stack((x1, x3), 1)
        pair = _draw.normal_pair(a, b, table, *scaling)
        return _draw.cut(torch.stack(pair, 2).reshape(-1, LANES))
    word = torch.stack((x0, x1, x2, x3), 1)
    if form.core == "uniform":
        # Uniform numbers have at most 24 significant bits.
        return _draw.uniform(word, numbers.multiplier, numbers.offset)
    return _draw.cut(_draw.quantile(word, table, *scaling, numbers.lowest, numbers.highest))


def _is_zero(mask: str, blocks: torch.Tensor, numbers: Numbers) -> torch.Tensor:
    if mask == "range":
        return _pattern.in_range(_indices(blocks), numbers.pattern)
    row, column = _row_and_column(blocks, numbers)
    if mask == "diagonal":
        return ~_pattern.on_diagonal(row, column, numbers.pattern)
    return ~_pattern.in_lower_triangle(row, column, numbers.pattern)


def _sparse(job: Job, blocks: torch.Tensor) -> torch.Tensor:
    numbers = Numbers(*job.numbers.unbind())
    bits = _drawn(job.form, blocks, numbers, job.table)
    row, column = _row_and_column(blocks, numbers)
    zeros = _pattern.is_sparse_zero(row, column, job.program.pattern, numbers.stream, numbers.key)
    return torch.where(zeros, 0, bits)


def _matrix(job: Job, blocks: torch.Tensor) -> torch.Tensor:
    assert job.program.matrix is not None
    place, is_held = _pattern.matrix_place(
        _indices(blocks), job.program.columns, job.program.matrix
    )
    # Elements outside of the tap, or past the end of the tensor, have no place in the matrix.
    values = job.table[place.clamp(max=len(job.table) - 1)].view(torch.int32)
    return torch.where(is_held, values.to(torch.int64) & MASK, 0)
