"""Ranges of row-major indices as slices of a shape."""

from __future__ import annotations

import math

from fanin.torch._storage import Indices

Slice = tuple[tuple[int, int], ...]
# More ranges are not looked at. Their slices would be too many.
_MAX_SPANS = 1 << 18


def slices(spans: Indices, shape: tuple[int, ...], most: int) -> list[Slice] | None:
    """Returns slices that have exactly the elements of sorted ranges of row-major indices.

    Args:
        spans: Ranges of shape (n, 2), sorted and apart from each other.
        shape: The shape of the tensor.
        most: The most slices that are returned.

    Returns:
        The slices, in order, or None if they are more than `most`.
    """
    if len(spans) > _MAX_SPANS:
        return None
    found = [box for start, end in spans.tolist() for box in _boxes(start, end, shape)]
    for axis in reversed(range(len(shape))):
        found = _joined(found, axis)
    return sorted(found) if len(found) <= most else None


def _joined(boxes: list[Slice], axis: int) -> list[Slice]:
    """Returns slices with those made one that touch along an axis and agree along the others."""
    ends: dict[tuple[Slice, int], int] = {}  # the other ranges and the end -> the position
    found: list[Slice] = []
    for box in sorted(boxes, key=lambda box: box[axis]):
        others = (*box[:axis], *box[axis + 1 :])
        start, end = box[axis]
        position = ends.pop((others, start), None)
        if position is None:
            position = len(found)
            found.append(box)
        else:
            start = found[position][axis][0]
            found[position] = (*box[:axis], (start, end), *box[axis + 1 :])
        ends[(others, end)] = position
    return found


def _boxes(start: int, end: int, shape: tuple[int, ...]) -> list[Slice]:
    """Returns the slices that a range of row-major indices is, at most two for each axis."""
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
