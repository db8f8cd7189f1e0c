"""Slices of tensors, as Python and numpy write them."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Union

from fanin._errors import ArgumentError, shown

Range = Union[slice, range, tuple[int, int]]
"""The indices of one dimension: a slice, a range, or a start and an end."""

SliceLike = Union[str, Range, Sequence[Range]]
"""A part of a tensor: text such as `"0:10,:"`, or the indices of the first dimensions."""

_ACCEPTED = "use slices with step 1, pairs (start, end), or text such as '0:10,:'"


def ranges(part: SliceLike | None, shape: Sequence[int]) -> list[tuple[int, int]]:
    """Returns the start and the end of each dimension.

    Dimensions that are left out are whole. Slices have the meaning that they have in Python: a
    negative number counts from the end, and one beyond the end is the end. A pair is taken as it
    is.

    Args:
        part: The part, or None for the whole tensor.
        shape: The shape of the tensor.

    Raises:
        ArgumentError: The part has more dimensions than the shape, a step, or text that is not a
            slice.

    Examples:
        >>> ranges(slice(-2, None), (10, 4))
        [(8, 10), (0, 4)]
        >>> ranges("2:5,:", (10, 4))
        [(2, 5), (0, 4)]
    """
    if part is None:
        given: list[object] = []
    elif isinstance(part, str):
        given = [_parsed(text, part) for text in part.split(",")] if part.strip() else []
    elif isinstance(part, (slice, range)) or _is_pair(part):
        given = [part]
    elif isinstance(part, Sequence):
        given = list(part)
    else:
        raise ArgumentError(f"slice {shown(part)}: {_ACCEPTED}")
    if len(given) > len(shape):
        raise ArgumentError(
            f"slice {shown(part)} has {len(given)} ranges, shape {tuple(shape)} needs {len(shape)}"
        )
    whole = [(0, dim) for dim in shape[len(given) :]]
    return [_range(one, dim, part) for one, dim in zip(given, shape)] + whole


def _parsed(text: str, part: str) -> slice:
    """Returns the slice of a text such as `2:5`."""
    bounds = [bound.strip() for bound in text.split(":")]
    try:
        start, end = (int(bound) if bound else None for bound in bounds)
    except ValueError:
        raise ArgumentError(
            f"slice {shown(part)} has {shown(text.strip())}: write start:end, as in '0:10,:'"
        ) from None
    return slice(start, end)


def _is_pair(part: object) -> bool:
    return isinstance(part, tuple) and len(part) == 2 and all(_is_index(bound) for bound in part)


def _is_index(number: object) -> bool:
    return hasattr(number, "__index__") and not isinstance(number, bool)


def _range(one: object, dim: int, part: object) -> tuple[int, int]:
    """Returns the start and the end of one dimension."""
    if isinstance(one, range):
        if one.step != 1:
            raise ArgumentError(
                f"slice {shown(part)} has a range with step {one.step}: {_ACCEPTED}"
            )
        one = (one.start, one.stop)
    if isinstance(one, slice):
        if one.step not in (None, 1):
            raise ArgumentError(f"slice {shown(part)} has step {one.step}: {_ACCEPTED}")
        start, end, _ = one.indices(dim)
        return start, max(start, end)
    if isinstance(one, (tuple, list)) and len(one) == 2 and all(_is_index(bound) for bound in one):
        start, end = operator.index(one[0]), operator.index(one[1])
        if not 0 <= start <= end <= dim:
            raise ArgumentError(
                f"slice {shown(part)}: ({start}, {end}) is out of range: "
                f"use 0 <= start <= end <= {dim}"
            )
        return start, end
    # An index would drop the dimension in numpy, and a part keeps all dimensions.
    raise ArgumentError(f"slice {shown(part)} has {shown(one)}: {_ACCEPTED}{_pair_of(one, dim)}")


def _pair_of(one: object, dim: int) -> str:
    """Returns a hint at the pair that stands for an index, or nothing if it is no index."""
    if not _is_index(one):
        return ""
    index = operator.index(one)  # type: ignore[arg-type]
    start = index + dim if index < 0 else index
    return f" (for the index {index}, use ({start}, {start + 1}))" if 0 <= start < dim else ""
