"""Ranges of row-major indices as slices of a shape."""

from __future__ import annotations

import math
from typing import Optional

import numpy as np

from fanin.torch._storage import Indices

Slice = tuple[tuple[int, int], ...]


def slices(spans: Indices, shape: tuple[int, ...], most: int) -> Optional[list[Slice]]:
    """Returns slices that have exactly the elements of sorted ranges of row-major indices.

    Args:
        spans: Ranges of shape (n, 2), sorted and apart from each other.
        shape: The shape of the tensor.
        most: The most slices that are returned.

    Returns:
        The slices, in order, or None if they are more than `most`.
    """
    found: list[Slice] = []
    rest = spans
    while len(rest):
        repeated = _repeated(rest, shape)
        if repeated is not None:
            box, count = repeated
            found.append(box)
            rest = rest[count:]
        else:
            found += _boxes(int(rest[0, 0]), int(rest[0, 1]), shape)
            rest = rest[1:]
        if len(found) > most:
            return None
    return found


def _repeated(spans: Indices, shape: tuple[int, ...]) -> Optional[tuple[Slice, int]]:
    """Returns the slice that the first ranges are together, if the same range repeats along an axis: some columns."""
    if len(spans) < 2:
        return None
    length, period = int(spans[0, 1] - spans[0, 0]), int(spans[1, 0] - spans[0, 0])
    inner = _boxes(int(spans[0, 0]), int(spans[0, 1]), shape)
    axis = next((axis for axis in range(len(shape)) if math.prod(shape[axis + 1 :]) == period and shape[axis] > 1), None)
    if len(inner) != 1 or axis is None:
        return None
    box = inner[0]
    steps = (spans[:, 0] - spans[0, 0] == period * np.arange(len(spans))) & (spans[:, 1] - spans[:, 0] == length)
    count = int(np.argmin(steps)) if not steps.all() else len(spans)
    first = box[axis][0]
    count = min(count, shape[axis] - first)
    if box[axis][1] != first + 1 or count < 2:
        return None
    grown = (*box[:axis], (first, first + count), *box[axis + 1 :])
    if math.prod(end - start for start, end in grown) != count * length:
        return None
    # A block within more axes repeats as a whole: look whether the grown slice continues along an outer axis.
    return grown, count


def _boxes(start: int, end: int, shape: tuple[int, ...]) -> list[Slice]:
    """Returns the slices that a range of row-major indices is, at most two for each axis and one more."""
    if not shape:
        return [()]
    inner = math.prod(shape[1:])
    first, last = start // inner, (end - 1) // inner
    if first == last and end - start < inner:
        rest = _boxes(start - first * inner, end - first * inner, shape[1:])
        return [((first, first + 1), *box) for box in rest]
    found: list[Slice] = []
    if start % inner:
        stop = (first + 1) * inner
        found += _boxes(start, stop, shape)
        start = stop
    whole = end // inner
    if start // inner < whole:
        found.append(((start // inner, whole), *((0, size) for size in shape[1:])))
    if end % inner and whole * inner >= start:
        found += _boxes(whole * inner, end, shape)
    return found
