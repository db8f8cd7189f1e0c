"""Values and zeros that depend on rows and columns. Twin of `src/kernel/pattern.rs`."""

from __future__ import annotations

import torch

from fanin.torch._device._words import MASK, high, highest_bit, low, philox

Pair = tuple[torch.Tensor, torch.Tensor]


Pattern = tuple[torch.Tensor, ...]


def on_diagonal(row: torch.Tensor, column: torch.Tensor, pattern: Pattern) -> torch.Tensor:
    """Returns true on the diagonal of each group of rows."""
    rows, ones, stride, offset = pattern
    r = row % rows
    return (r < ones) & (column == r * stride + offset)


def in_lower_triangle(row: torch.Tensor, column: torch.Tensor, pattern: Pattern) -> torch.Tensor:
    """Returns true on and below the diagonal of each matrix."""
    return column <= row % pattern[0]


def in_range(element: torch.Tensor, pattern: Pattern) -> torch.Tensor:
    """Returns true from the start of a range of elements to its end."""
    start, end = pattern[0] | (pattern[1] << 32), pattern[2] | (pattern[3] << 32)
    return (element >= start) & (element < end)


def is_sparse_zero(
    row: torch.Tensor,
    column: torch.Tensor,
    pattern: tuple[int, int, int, int],
    stream: Pair,
    key: Pair,
) -> torch.Tensor:
    """Returns true in the zero rows of each column."""
    rows, zeros, left, right = pattern
    # Lanes past the end of the tensor: the loop ends only for rows of the tensor.
    row = torch.where(row < rows, row, 0)
    place = _permuted(row, column, left, right, stream, key)
    while True:
        outside = place >= rows
        if not bool(outside.any()):
            return place < zeros
        again = _permuted(place[outside], column[outside], left, right, stream, key)
        place = place.masked_scatter(outside, again)


def _permuted(
    number: torch.Tensor, column: torch.Tensor, left: int, right: int, stream: Pair, key: Pair
) -> torch.Tensor:
    """Returns the images of numbers in the permutations of their columns."""
    first, second = number & ((1 << left) - 1), number >> left
    for step in range(max(6, 4 + 48 // (left + right))):
        half = second if step % 2 == 0 else first
        word = philox((column << 16) | half, step + 1, stream, key)[0]
        if step % 2 == 0:
            first = first ^ (word & ((1 << left) - 1))
        else:
            second = second ^ (word & ((1 << right) - 1))
    return (second << left) | first


def sine_of(row: torch.Tensor, column: torch.Tensor, table: torch.Tensor) -> torch.Tensor:
    """Returns the binary32 bits of a position table.

    Args:
        row: The rows of elements.
        column: Their columns.
        table: Two entries for each column: the frequency, low word first, then the phase and 0.
    """
    frequency, phase = low(table[2 * column]), low(table[2 * column + 1, 0])
    angle = high(frequency[..., 0] * row) + frequency[..., 1] * row + phase
    return _rounded(*_sine(low(angle)))


def _sine(angle: torch.Tensor) -> Pair:
    """Returns the magnitude of the sine, with 31 fraction bits, and 1 where it is negative."""
    quadrant = low(angle + (1 << 29)) >> 30
    rest = low(angle << 2)
    offset = rest | ((rest != 0).to(torch.int64) << 1)
    negative = offset >> 31
    x = low(torch.where(negative == 1, -offset, offset) << 1)
    w = high(x * x)
    v = w >> 16
    swap = quadrant & 1
    cosine = high(w * (68093819 - high(w * (1399910 - ((60668 * v) >> 18)))))
    cosine = MASK - high(w * (1324675871 - cosine))
    sine = high(w * (346798712 - high(w * (10693919 - ((38523 * v) >> 14)))))
    sine = high(x * (3373259379 - sine))
    return torch.where(swap == 1, cosine, sine) >> 1, (quadrant >> 1) ^ ((swap ^ 1) & negative)


def _rounded(magnitude: torch.Tensor, negative: torch.Tensor) -> torch.Tensor:
    """Returns the binary32 bits of numbers with 31 fraction bits, rounded, ties to even."""
    zeros = 31 - highest_bit(magnitude)
    significand = magnitude << (zeros & 31)
    quotient = significand >> 8
    rounded = quotient + (((significand & 0xFF) + 0x7F + (quotient & 1)) >> 8)
    bits = ((126 - zeros) << 23) + rounded
    return torch.where(magnitude == 0, 0, bits | (negative << 31))


def matrix_place(
    element: torch.Tensor, columns: int, matrix: tuple[int, int, int, int, bool]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns the index of elements in a tall matrix, and true in the tap that holds it.

    Args:
        element: The indices of elements.
        columns: The number of taps if they are the last axes, else that of the matrix's elements.
        matrix: `Program.matrix`.
    """
    rows, matrix_columns, _, middle, taps_last = matrix
    tap, index = element // columns, element % columns
    if taps_last and matrix[2] > 1:
        tap, index = index, tap
    row, column = index // matrix_columns, index % matrix_columns
    place = column * rows + row if rows < matrix_columns else index
    return place, tap == middle
