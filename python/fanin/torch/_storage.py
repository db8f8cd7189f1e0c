"""The contents of each storage of a recorded model: the write of an element, and its known value.

Several tensors can view one storage, so values belong to storages. A `Ref` is a view at the time of
an operation. A `Value` is what is known of the elements of a view, in row-major order.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple, Union

import numpy as np
import numpy.typing as npt
import torch

from fanin.torch._forms import STRUCTURED, Form, Orthogonal, QrFactor

Indices = npt.NDArray[np.int64]

# The most writes of constants to one storage that are told apart.
_MAX_CONSTANTS = 64
#: The most contiguous runs of a view that are told apart. A view with more is handled as a whole.
MAX_RUNS = 1 << 22


class Ref(NamedTuple):
    """A view of a storage. `stride` and `offset` count elements of `dtype`."""

    storage: int
    dtype: torch.dtype
    size: tuple[int, ...]
    stride: tuple[int, ...]
    offset: int

    @property
    def numel(self) -> int:
        """The number of elements."""
        return math.prod(self.size)

    @property
    def geometry(self) -> Geometry:
        """The positions of the elements in the storage, in row-major order of the view."""
        return Geometry.of(self.size, self.stride, self.offset)


class Geometry(NamedTuple):
    """A sequence of positions: an offset, and nested loops, each a count and a step.

    Loops that continue each other are merged, so two views of the same positions in the same order
    are equal.
    """

    loops: tuple[tuple[int, int], ...]
    offset: int

    @staticmethod
    def of(size: Iterable[int], stride: Iterable[int], offset: int) -> Geometry:
        """Returns the positions of a view."""
        loops: list[tuple[int, int]] = []
        for count, step in zip(size, stride):
            if count == 1:
                continue
            if loops and loops[-1][1] == count * step:
                loops[-1] = (loops[-1][0] * count, step)
            else:
                loops.append((count, step))
        return Geometry(tuple(loops), offset)

    @property
    def is_run(self) -> bool:
        """True if the positions are consecutive."""
        return not self.loops or (len(self.loops) == 1 and self.loops[0][1] == 1)

    @property
    def bounds(self) -> tuple[int, int]:
        """The first position, and the last one plus 1."""
        return self.offset, self.offset + 1 + sum((count - 1) * step for count, step in self.loops)

    @property
    def is_injective(self) -> bool:
        """True if certainly no position occurs twice: each loop steps over those within it."""
        reach = 1
        for count, step in sorted(self.loops, key=lambda loop: loop[1]):
            if step < reach:
                return False
            reach = count * step
        return True

    @property
    def is_sorted(self) -> bool:
        """True if the positions increase."""
        steps = [step for _, step in self.loops]
        return self.is_injective and steps == sorted(steps, reverse=True)

    def shifted(self, by: int) -> Geometry:
        """Returns the same positions, moved."""
        return Geometry(self.loops, self.offset + by)


@dataclass(frozen=True)
class Uninit:
    """Nothing was written."""


@dataclass(frozen=True)
class Known:
    """Numbers that depend on no random numbers. A replay gives them, or they are all `constant`."""

    constant: float | None = None


@dataclass(frozen=True)
class Drawn:
    """Random numbers of a closed form, or of an expression that may become one.

    `source` is the draw that they come from, or a number below 0 of their own if they are sums of
    several. All are among its elements from `low` to `high`. `at` gives the position in the source
    for each row-major index of the view, also for the indices that are not of this value if it is
    a piece. It is None if the positions are not known. `draws` are all draws that they depend on.
    """

    form: Form
    source: int
    draws: frozenset[int]
    at: Geometry | None
    low: int
    high: int


@dataclass(frozen=True)
class Computed:
    """Numbers computed from random ones in a way that has no closed form here."""

    why: str
    sources: frozenset[int] = frozenset()


Simple = Union[Uninit, Known, Drawn, Computed]


@dataclass(frozen=True)
class Piece:
    """The elements of a view that one write made: ranges of their row-major indices."""

    spans: Indices  # of shape (n, 2): start, end
    value: Simple

    @property
    def numel(self) -> int:
        """The number of elements."""
        return int((self.spans[:, 1] - self.spans[:, 0]).sum())


@dataclass(frozen=True)
class Mixed:
    """Numbers of several writes."""

    pieces: tuple[Piece, ...]


Value = Union[Simple, Mixed]


def simple_values(value: Value) -> list[Simple]:
    """Returns the values of the pieces, or the value itself if it is not mixed."""
    return [piece.value for piece in value.pieces] if isinstance(value, Mixed) else [value]


def sources_of(value: Value) -> frozenset[int]:
    """Returns the draws that a value depends on."""
    if isinstance(value, Drawn):
        return value.draws
    if isinstance(value, Computed):
        return value.sources
    if isinstance(value, Mixed):
        return frozenset().union(*(sources_of(piece.value) for piece in value.pieces))
    return frozenset()


@dataclass
class Write:
    """A write to a view, and what it wrote."""

    ref: Ref
    value: Simple


class Segments:
    """The write that made each byte: sorted boundaries, and a number for each range between."""

    def __init__(self, nbytes: int, owner: int) -> None:
        """Begins with one write, or -1 for none, everywhere."""
        self.edges: Indices = np.array([0, nbytes], dtype=np.int64)
        self.owners: Indices = np.array([owner], dtype=np.int64)

    def paint(self, starts: Indices, ends: Indices, owner: int) -> None:
        """Gives ranges of bytes, apart from each other, to a write."""
        if len(starts) == 1:
            self._paint_one(int(starts[0]), int(ends[0]), owner)
            return
        order = np.argsort(starts, kind="stable")
        starts, ends = starts[order], ends[order]
        edges = np.unique(np.concatenate([self.edges, starts, ends]))
        owners = self.owners[np.searchsorted(self.edges, edges[:-1], "right") - 1]
        run = np.searchsorted(starts, edges[:-1], "right") - 1
        inside = (run >= 0) & (edges[:-1] < ends[np.maximum(run, 0)])
        owners[inside] = owner
        # Neighbours of one write become one range again.
        first = np.concatenate([[True], owners[1:] != owners[:-1]])
        self.edges = np.concatenate([edges[:-1][first], edges[-1:]])
        self.owners = owners[first]

    def _paint_one(self, start: int, end: int, owner: int) -> None:
        """Gives one range to a write. It takes less time, for code that writes row by row."""
        first = int(np.searchsorted(self.edges, start, "right")) - 1
        last = int(np.searchsorted(self.edges, end, "left"))
        head = first + int(self.edges[first] < start)
        rest = [(end, self.owners[last - 1])] if self.edges[last] > end else []
        edges, owners = zip((start, owner), *rest)
        self.edges = np.concatenate([self.edges[:head], edges, self.edges[last:]])
        self.owners = np.concatenate([self.owners[:head], owners, self.owners[last:]])

    def extend(self, nbytes: int) -> None:
        """Adds bytes at the end that no write made."""
        self.edges = np.append(self.edges, nbytes)
        self.owners = np.append(self.owners, -1)

    def look(self, starts: Indices, length: int) -> tuple[Indices, Indices]:
        """Returns ranges of bytes, counted along the runs in order, and the write of each."""
        first = np.searchsorted(self.edges, starts, "right") - 1
        last = np.searchsorted(self.edges, starts + length, "left") - 1
        counts = last - first + 1
        run = np.repeat(np.arange(len(starts)), counts)
        within = np.arange(len(run)) - np.repeat(np.cumsum(counts) - counts, counts)
        segment = first[run] + within
        begin = np.maximum(self.edges[segment], starts[run]) - starts[run] + run * length
        end = np.minimum(self.edges[segment + 1], starts[run] + length) - starts[run] + run * length
        return np.stack([begin, end], axis=1), self.owners[segment]


def runs(ref: Ref) -> tuple[Indices, int]:
    """Returns where the contiguous runs of a view start in its storage, and their length, in bytes.

    Raises:
        OverflowError: The view has more than `MAX_RUNS` runs.
    """
    loops, offset = ref.geometry
    length = 1
    if loops and loops[-1][1] == 1:
        length = loops[-1][0]
        loops = loops[:-1]
    if math.prod(count for count, _ in loops) > MAX_RUNS:
        raise OverflowError(f"a view of {math.prod(count for count, _ in loops)} runs")
    starts = np.array([offset], dtype=np.int64)
    for count, step in loops:
        starts = (starts[:, None] + np.arange(count, dtype=np.int64) * step).reshape(-1)
    return starts * ref.dtype.itemsize, length * ref.dtype.itemsize


def merged(spans: Indices) -> Indices:
    """Returns sorted ranges with those that touch made one."""
    starts = np.concatenate([[True], spans[1:, 0] != spans[:-1, 1]])
    ends = np.concatenate([starts[1:], [True]])
    return np.stack([spans[starts, 0], spans[ends, 1]], axis=1)


def viewed(write: Write, ref: Ref, spans: Indices | None = None) -> Simple:
    """Returns what is known of a view's elements that a write made.

    `spans` are the ranges of row-major indices of these elements. None stands for all.
    """
    value = write.value
    if write.ref.dtype != ref.dtype and not isinstance(value, Uninit):
        if isinstance(value, Known):
            return Known()
        return Computed(f"{write.ref.dtype} read as {ref.dtype}", sources_of(value))
    if not isinstance(value, Drawn):
        return value
    wrote, read = write.ref.geometry, ref.geometry
    if isinstance(value.form, STRUCTURED):
        return _matrix(value, write.ref, ref, spans)
    if wrote != read:
        if not read.is_injective:
            return Computed("repeated elements", sources_of(value))
        if value.at is None or value.at.loops != wrote.loops:
            return replace(value, at=None)
        value = replace(value, at=read.shifted(value.at.offset - wrote.offset))
    if value.at is None:
        return value
    if spans is None:
        low, high = value.at.bounds
    elif value.at.is_run:
        low, high = (value.at.offset + int(end) for end in (spans[0, 0], spans[-1, 1]))
    else:
        return value
    return replace(value, low=low, high=high)


def _matrix(value: Drawn, wrote: Ref, read: Ref, spans: Indices | None) -> Simple:
    """Returns a view of a matrix, if it is all of it in row-major order, or its transpose."""
    form = value.form
    assert isinstance(form, STRUCTURED)
    if spans is None:
        if wrote.geometry == read.geometry:
            return value
        if isinstance(form, QrFactor) and form.part == "r" and _is_diagonal(wrote, read):
            return replace(value, form=replace(form, part="diagonal"))
        transposed = Geometry.of(wrote.size[::-1], wrote.stride[::-1], wrote.offset)
        if isinstance(form, Orthogonal) and len(wrote.size) == 2 and read.geometry == transposed:
            at = Geometry.of((form.columns, form.rows), (1, form.columns), value.low)
            return replace(value, form=replace(form, rows=form.columns, columns=form.rows), at=at)
    elif read.geometry.is_run and wrote.geometry.is_sorted:
        if int((spans[:, 1] - spans[:, 0]).sum()) == form.rows * form.columns:
            return value
    return Computed("part of a matrix", sources_of(value))


def _is_diagonal(matrix: Ref, view: Ref) -> bool:
    shape = (min(matrix.size),)
    return view.geometry == Geometry.of(shape, (sum(matrix.stride),), matrix.offset)


@dataclass
class Storage:
    """A storage of the recording."""

    handle: torch.UntypedStorage  # kept alive, so that its address is not used again
    writes: list[Write] = field(default_factory=list)
    segments: Segments | None = None  # None if the last write covers the storage, or none exists
    nbytes: int = -1

    def __post_init__(self) -> None:
        """Notes the size."""
        self.nbytes = self.handle.nbytes()

    def resized(self) -> None:
        """Follows a change of the size. New bytes have no value."""
        before, self.nbytes = self.nbytes, self.handle.nbytes()
        if self.nbytes > before and self.writes:
            if self.segments is None:
                self.segments = Segments(before, len(self.writes) - 1)
            self.segments.extend(self.nbytes)

    def covers(self, ref: Ref) -> bool:
        """Returns true if a view has every byte of the storage, once."""
        return ref.numel * ref.dtype.itemsize == self.nbytes and ref.geometry.is_injective

    def read(self, ref: Ref) -> Value:
        """Returns what is known of a view."""
        if ref.numel == 0:
            return Known()
        if not self.writes:
            return Uninit()
        if self.segments is None:
            return viewed(self.writes[-1], ref)
        try:
            spans, owners = self.segments.look(*runs(ref))
        except OverflowError as error:
            return self._as_a_whole(str(error))
        spans //= ref.dtype.itemsize
        order = np.argsort(owners, kind="stable")
        found = np.split(order, np.flatnonzero(np.diff(owners[order])) + 1)
        if len(found) == 1:
            return self._piece(int(owners[0]), ref, None)
        pieces = []
        for positions in found:
            where = merged(spans[positions])
            pieces.append(Piece(where, self._piece(int(owners[positions[0]]), ref, where)))
        values = [piece.value for piece in pieces]
        if all(isinstance(value, Known) for value in values) and not _are_constants(values):
            return Known()
        return Mixed(tuple(pieces))

    def _piece(self, owner: int, ref: Ref, spans: Indices | None) -> Simple:
        return Uninit() if owner < 0 else viewed(self.writes[owner], ref, spans)

    def write(self, ref: Ref, value: Value) -> None:
        """Records that a view was written."""
        if ref.numel == 0:
            return
        if self.covers(ref) and not isinstance(value, Mixed):
            self.writes, self.segments = [Write(ref, value)], None
            return
        try:
            starts, length = runs(ref)
        except OverflowError as error:
            self._lose(f"{error} was written", value)
            return
        if isinstance(value, Known) and self._becomes_known(value):
            # A replay gives the numbers. So tables that are written by columns stay simple.
            whole = ref._replace(size=(self.nbytes // ref.dtype.itemsize,), stride=(1,), offset=0)
            self.writes, self.segments = [Write(whole, Known())], None
            return
        if self.segments is None:
            self.segments = Segments(self.nbytes, len(self.writes) - 1)
        pieces = value.pieces if isinstance(value, Mixed) else [Piece(_everything(ref), value)]
        for piece in pieces:
            self.writes.append(Write(ref, piece.value))
            begins, ends = _located(piece.spans * ref.dtype.itemsize, starts, length)
            self.segments.paint(begins, ends, len(self.writes) - 1)

    def _becomes_known(self, value: Known) -> bool:
        """Returns true if the storage holds known numbers, and not only a few constants."""
        held = self._values()
        if not all(isinstance(other, Known) for other in held):
            return False
        return len(held) >= _MAX_CONSTANTS or not _are_constants([*held, value])

    def _values(self) -> list[Simple]:
        """Returns what the storage holds, without repetitions of a write."""
        if self.segments is None:
            return [self.writes[-1].value] if self.writes else [Uninit()]
        if (self.segments.owners < 0).any():
            return [Uninit()]
        return [self.writes[owner].value for owner in np.unique(self.segments.owners).tolist()]

    def _as_a_whole(self, why: str) -> Value:
        sources = frozenset().union(*(sources_of(write.value) for write in self.writes))
        return Computed(why, sources) if sources else Known()

    def _lose(self, why: str, value: Value) -> None:
        """Forgets which write made an element, after a write to too many places."""
        sources = sources_of(value).union(*(sources_of(write.value) for write in self.writes))
        whole = Ref(-1, torch.uint8, (self.nbytes,), (1,), 0)
        self.writes = [Write(whole, Computed(why, sources) if sources else Known())]
        self.segments = None


def _are_constants(values: Sequence[Simple]) -> bool:
    return all(isinstance(value, Known) and value.constant is not None for value in values)


def _everything(ref: Ref) -> Indices:
    return np.array([[0, ref.numel]], dtype=np.int64)


def _located(spans: Indices, starts: Indices, length: int) -> tuple[Indices, Indices]:
    """Returns where ranges of bytes of a view lie in its storage, given the runs of the view."""
    first, last = spans[:, 0] // length, (spans[:, 1] - 1) // length
    counts = last - first + 1
    span = np.repeat(np.arange(len(spans)), counts)
    run = first[span] + np.arange(len(span)) - np.repeat(np.cumsum(counts) - counts, counts)
    moved = starts[run] - run * length
    begins = np.maximum(spans[span, 0], run * length) + moved
    return begins, np.minimum(spans[span, 1], (run + 1) * length) + moved
