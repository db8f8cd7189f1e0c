"""The division of a box of a tensor: among its parts, into pieces, and into runs of elements."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

import torch

from fanin._program import Program
from fanin.torch._geometry import Box


def owned(programs: Sequence[Program], box: Box) -> Iterator[tuple[Program, Box]]:
    """Yields boxes that do not overlap and make up a box, each with the program of its elements.

    Args:
        programs: That of the tensor itself, then those of its parts. The first part that holds an
            element applies.
        box: Ranges of indices of the whole tensor.
    """
    rest = [box]
    for part in programs[1:]:
        left = []
        for each in rest:
            inside = _common(each, part.ranges)
            if inside is None:
                left.append(each)
            else:
                yield part, inside
                left += _without(each, inside)
        rest = left
    for each in rest:
        yield programs[0], each


def write_owned(
    programs: Sequence[Program],
    out: torch.Tensor,
    box: Box,
    write: Callable[[Program, torch.Tensor, Box], str],
) -> set[str]:
    """Writes a box of a tensor, each part by its own program.

    Args:
        programs: As for `owned`.
        out: A tensor of the shape of the box.
        box: Ranges of indices of the whole tensor.
        write: Writes a box of one program, in indices of its `dims`, and returns what made it.

    Returns:
        What made the values.
    """
    used = set()
    origin = tuple(start for start, _ in box)
    for program, inside in owned(programs, box):
        place = tuple(slice(start, end) for start, end in relative(inside, origin))
        used.add(write(program, out[place], relative(inside, program.origin)))
    return used


def _common(a: Box, b: Box) -> Box | None:
    """Returns the box that two boxes share, or None."""
    common = tuple((max(p[0], q[0]), min(p[1], q[1])) for p, q in zip(a, b))
    return common if all(start < end for start, end in common) else None


def _without(box: Box, inside: Box) -> Iterator[Box]:
    """Yields the boxes that make up what is left of a box without one that lies inside."""
    for axis, ((start, end), (first, last)) in enumerate(zip(box, inside)):
        for left in ((start, first), (last, end)):
            if left[0] < left[1]:
                yield inside[:axis] + (left,) + box[axis + 1 :]


def relative(box: Box, origin: Sequence[int]) -> Box:
    """Returns a box in indices that count from an origin."""
    return tuple((start - first, end - first) for (start, end), first in zip(box, origin))


def pieces(out: torch.Tensor, box: Box, most: int) -> Iterator[tuple[torch.Tensor, Box]]:
    """Yields pieces of a box of at most `most` elements, each with its place in `out`."""
    if out.numel() <= most:
        if out.numel() > 0:
            yield out, box
        return
    axis = next(axis for axis, size in enumerate(out.shape) if size > 1)
    step = max(1, most // (out.numel() // out.shape[axis]))
    start, end = box[axis]
    for first in range(start, end, step):
        last = min(first + step, end)
        narrow = box[:axis] + ((first, last),) + box[axis + 1 :]
        yield from pieces(out.narrow(axis, first - start, last - first), narrow, most)


def runs(
    dims: Sequence[int], box: Box, strides: Sequence[int]
) -> tuple[int, list[tuple[int, int, int]], tuple[int, int]]:
    """Returns the runs of a box that follow each other both in its tensor and in memory.

    Returns:
        The index of the first element; the dimensions that count the runs, outermost first, each
        with its size, and the elements from one index to the next in the tensor and in memory; the
        length of a run, and the elements from one to the next in memory.
    """
    start, index_stride = 0, 1
    found: list[tuple[int, int, int]] = []
    for dim, (first, end), stride in zip(reversed(dims), reversed(box), reversed(strides)):
        start += first * index_stride
        size = end - first
        if size != 1:
            last = found[-1] if found else None
            if last and (last[0] * last[1], last[0] * last[2]) == (index_stride, stride):
                found[-1] = (last[0] * size, last[1], last[2])
            else:
                found.append((size, index_stride, stride))
        index_stride *= dim
    if found and found[0][1] == 1:
        (length, _, stride), *outer = found
        return start, outer[::-1], (length, stride)
    return start, found[::-1], (1, 1)


def row_major(box: Box) -> list[int]:
    """Returns the strides of a contiguous tensor of the shape of a box."""
    strides = [1]
    for start, end in reversed(box[1:]):
        strides.append(strides[-1] * (end - start))
    return strides[::-1]


def starts(base: int, outer: Sequence[tuple[int, int, int]], device: torch.device) -> torch.Tensor:
    """Returns the index of the first element of each run, int64 of one dimension."""
    total = torch.full((1,), base, dtype=torch.int64, device=device)
    for size, stride, _ in outer:
        total = (total[:, None] + torch.arange(size, device=device) * stride).reshape(-1)
    return total


def count(outer: Sequence[tuple[int, int, int]]) -> int:
    """Returns the number of runs."""
    return math.prod(size for size, _, _ in outer)
