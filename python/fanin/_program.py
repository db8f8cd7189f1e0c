"""The numbers of a fill, for arithmetic outside of the native module."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

Range = tuple[int, int]


@dataclass(frozen=True)
class Program:
    """The numbers of one initializer, that of a tensor itself or of one of its parts.

    docs/STREAM.md says how they make an element. `_native.program` and `_native.Plan.program`
    return them.
    """

    ranges: tuple[Range, ...]
    """The elements, as a range of each dimension of the whole tensor."""
    dims: tuple[int, ...]
    """The shape that indices, rows and columns refer to: that of the whole tensor, or that of the
    ranges if elements depend on their row and column."""
    key: tuple[int, int]
    """The words of the seed, low word first."""
    stream: tuple[int, int]
    """The words of the stream id, low word first."""
    core: str
    """The way in which elements get their values: `"constant"`, `"uniform"`, `"normal"`,
    `"quantile"`, `"sine"`, `"columns"` or `"matrix"`."""
    exponent: int
    """The e of `p * 2^e`."""
    multiplier: int
    """The factor m, or the number of different values of uniform numbers."""
    shift: int
    """The shift s."""
    offset: int
    """The offset A."""
    clamp: tuple[int, int] | None
    """The lowest and the highest p of quantiles."""
    constant: int
    """The binary32 bits of a constant, or of the gain of a matrix."""
    table: bytes
    """The lookup table: 32-bit numbers, two in an entry."""
    mask: str
    """The elements that are 0: `"none"`, `"diagonal"` (those off it), `"lower"` (those above the
    diagonal), `"range"` or `"sparse"`."""
    pattern: tuple[int, int, int, int]
    """The numbers of the mask, as `Program::pattern` of the crate describes them."""
    columns: int
    """The elements of a row, if rows and columns matter, else 0."""
    matrix: tuple[int, int, int, int, bool] | None
    """Rows, columns, taps, the tap that holds the matrix, and true if taps are the last axes."""
    bounds: tuple[float, float] | None
    """The numbers that hold elements of a truncated distribution in a float of 8 bits."""

    @classmethod
    def of(cls, numbers: dict[str, Any]) -> Program:
        """Returns the program of a dict of the native module."""
        lists = {"ranges", "dims", "key", "stream", "clamp", "pattern", "bounds"}
        fields: dict[str, Any] = {
            name: tuple(value) if name in lists and value is not None else value
            for name, value in numbers.items()
        }
        return cls(**fields)

    @property
    def origin(self) -> tuple[int, ...]:
        """The element of the whole tensor that has index 0 in `dims`."""
        sizes = tuple(end - start for start, end in self.ranges)
        # A box that is as large as `dims` starts at 0, or its elements are numbered from its start.
        return tuple(start for start, _ in self.ranges) if sizes == self.dims else (0,) * len(sizes)
