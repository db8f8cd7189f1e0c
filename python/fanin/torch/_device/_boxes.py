"""The division of a box of a tensor: among its parts, into pieces, and into runs of elements."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

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


def runs(dims: Sequence[int], box: Box) -> tuple[int, list[tuple[int, int]], int]:
    """Returns the runs of elements of a box that follow each other in its tensor.

    Returns:
        The index of the first element; the dimensions that count the runs, outermost first, each
        with its size, and the elements from one index to the next; the elements of a run.
    """
    base, length, stride = 0, 1, 1
    outer: list[tuple[int, int]] = []
    for dim, (start, end) in zip(reversed(dims), reversed(box)):
        size = end - start
        base += start * stride
        if not outer and length == stride:
            length *= size
        elif size != 1:
            if outer and outer[-1][0] * outer[-1][1] == stride:
                outer[-1] = (outer[-1][0] * size, outer[-1][1])
            else:
                outer.append((size, stride))
        stride *= dim
    return base, outer[::-1], length


def starts(base: int, outer: Sequence[tuple[int, int]], device: torch.device) -> torch.Tensor:
    """Returns the index of the first element of each run, int64 of one dimension."""
    total = torch.full((1,), base, dtype=torch.int64, device=device)
    for size, stride in outer:
        total = (total[:, None] + torch.arange(size, device=device) * stride).reshape(-1)
    return total


def count(outer: Sequence[tuple[int, int]]) -> int:
    """Returns the number of runs."""
    return math.prod(size for size, _ in outer)
