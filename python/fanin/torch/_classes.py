"""Decides how each tensor of a recorded model starts, if no other tensor had to be looked at.

`classify` then looks for tensors that share memory or random numbers, see `_sharing`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch

from fanin.torch import _contents as contents
from fanin.torch._forms import (
    STRUCTURED,
    Orthogonal,
    Sparse,
    closed,
    describe,
    initializer,
    is_coarse,
)
from fanin.torch._slices import Slice, slices
from fanin.torch._storage import (
    Computed,
    Drawn,
    Indices,
    Known,
    Mixed,
    Piece,
    Ref,
    Uninit,
    Value,
    merged,
    simple_values,
    sources_of,
)

#: The most parts of a rule that recipes have.
MAX_PARTS = 1024


@dataclass(frozen=True)
class Part:
    """A part of a tensor with an initializer, or with numbers, of its own."""

    slice: Slice
    init: str | None = None
    values: tuple[float, ...] | None = None


@dataclass
class Named:
    """A tensor of the model, what is known of its values, and how it starts.

    `origin` to `detail` are those of `fanin.torch.RecordedTensor`.
    """

    name: str
    kind: str
    tensor: torch.Tensor
    key: tuple[Any, ...]  # equal for two names of one tensor
    ref: Ref | None  # None: it has data, and was made before the recording
    value: Value
    evaluate: Callable[[], torch.Tensor]
    origin: str = ""
    init: str | None = None
    parts: tuple[Part, ...] = ()
    of: str | None = None
    detail: str = ""
    draws: list[int] = field(default_factory=list)  # the draws of its replay, in order

    @property
    def shape(self) -> tuple[int, ...]:
        """The dimensions."""
        return tuple(self.tensor.shape)

    @property
    def is_filled(self) -> bool:
        """True if a plan fills it from the stream of its own name."""
        has_rule = self.init is not None or bool(self.parts)
        return has_rule and self.origin in ("rule", "parts", "uninit")

    @cached_property
    def known(self) -> torch.Tensor:
        """The values, if they depend on no random numbers."""
        return self.evaluate()

    def random(self) -> list[Drawn]:
        """Returns what the tensor has of draws, in closed form.

        Pieces whose elements have the same place in a draw and in the tensor cannot overlap, so
        they count as one.
        """
        found: dict[Any, Drawn] = {}
        for number, value in enumerate(simple_values(self.value)):
            if isinstance(value, Drawn):
                key = (value.source, number if value.at is None else value.at)
                one = found.get(key, value)
                low, high = min(one.low, value.low), max(one.high, value.high)
                found[key] = replace(value, low=low, high=high)
        return list(found.values())

    def becomes(self, origin: str, detail: str, init: str | None = None) -> None:
        """Gives the tensor a class, without parts."""
        self.origin, self.detail, self.init, self.parts = origin, detail, init, ()


def tie(tensors: Sequence[Named]) -> list[Named]:
    """Marks the second and further names of a tensor, and returns the tensors by their first."""
    first: dict[tuple[Any, ...], Named] = {}
    for tensor in tensors:
        key = tensor.key if tensor.tensor.numel() else (tensor.name,)
        other = first.setdefault(key, tensor)
        if other is not tensor:
            tensor.becomes("tied", f"The same tensor as {other.name}.")
            tensor.of = other.name
    return list(first.values())


def classify_alone(tensor: Named) -> None:
    """Gives a tensor the class that it has if it shares nothing with other tensors."""
    value, dtype = tensor.value, tensor.tensor.dtype
    if isinstance(value, Uninit):
        init = "zeros" if dtype in contents.CONSTANT else None
        tensor.becomes("uninit", "The model does not write its values.", init)
    elif isinstance(value, Drawn) and dtype in contents.DRAWN:
        found = _initializer(value, tensor.shape, dtype)
        if found is None:
            tensor.becomes("replay", _no_form(describe(value.form)))
        else:
            tensor.becomes("rule", "Each element is drawn.", found)
    elif isinstance(value, Mixed) and dtype in contents.DRAWN:
        _classify_mixed(tensor, value)
    elif sources_of(value):
        why = value.why if isinstance(value, Computed) else f"random numbers as {dtype}"
        tensor.becomes("replay", _no_form(why))
    else:
        _classify_known(tensor)


def _no_form(what: str) -> str:
    return f"Computed from random numbers without a closed form: {what}."


def _classify_known(tensor: Named) -> None:
    dtype, value = tensor.tensor.dtype, tensor.value
    init = None
    if tensor.tensor.numel() == 0:
        init = "zeros" if dtype in contents.CONSTANT else None
    elif isinstance(value, Known) and value.constant is not None:
        init = contents.constant(value.constant, dtype)
    if init is None:
        init = contents.initializer(tensor.known)
    if init is None:
        tensor.becomes("kept", "Its values depend on no random numbers.")
    else:
        tensor.becomes("rule", "No element is random.", init)


def _elementwise_initializer(value: Drawn, dtype: torch.dtype) -> str | None:
    """Returns the initializer of a value whose elements are independent, or None without one."""
    if dtype == torch.float64 and is_coarse(value.form, torch.float32):
        return None  # fanin's float64 elements are float32 numbers
    return initializer(value.form)


def _initializer(value: Drawn, shape: tuple[int, ...], dtype: torch.dtype) -> str | None:
    """Returns the initializer of a value of this shape, or None without one."""
    form = closed(value.form)
    if form is None:
        return None
    if isinstance(form, Sparse) and shape != (form.rows, form.columns):
        return None
    if isinstance(form, Orthogonal):
        # fanin takes the first dimension as rows, and all others as columns.
        if len(shape) < 2 or (shape[0], math.prod(shape[1:])) != (form.rows, form.columns):
            return None
    return _elementwise_initializer(value, dtype)


@dataclass(frozen=True)
class _Content:
    """The content of ranges of a tensor: an initializer, numbers, or nothing that has a name."""

    init: str | None
    values: tuple[float, ...] | None = None
    matrix: int | None = None  # a number of its own: two matrices are never one part

    @property
    def is_elementwise(self) -> bool:
        """True if the ranges of two pieces can be one part."""
        return self.values is None and self.matrix is None


def _classify_mixed(tensor: Named, value: Mixed) -> None:
    if not sources_of(value):
        _classify_known(tensor)
        if tensor.origin == "rule":
            return
    groups = _grouped(tensor, value)
    if groups is None:
        _without_parts(tensor, "one of its parts")
        return
    if len(groups) == 1:
        (content,) = groups
        if content.is_elementwise:
            tensor.becomes("rule", "Each element is drawn.", content.init)
            return
    found = _parts(groups, tensor.shape)
    if found is None:
        _without_parts(tensor, f"more than {MAX_PARTS} parts")
        return
    base, parts = found
    detail = f"Parts with values or initializers of their own: {len(parts)}."
    tensor.becomes("parts", detail, base)
    tensor.parts = parts


def _without_parts(tensor: Named, why: str) -> None:
    if sources_of(tensor.value):
        tensor.becomes("replay", _no_form(why))


def _grouped(tensor: Named, value: Mixed) -> dict[_Content, Indices] | None:
    """Returns the ranges of each content, or None if one has no closed form."""
    found: dict[_Content, list[Indices]] = {}
    for number, piece in enumerate(value.pieces):
        for content, spans in _contents(tensor, piece, number):
            if content.init is None and content.values is None:
                return None
            found.setdefault(content, []).append(spans)
    return {content: _united(spans) for content, spans in found.items()}


def _united(spans: Sequence[Indices]) -> Indices:
    every = np.concatenate(spans)
    return merged(every[np.argsort(every[:, 0], kind="stable")])


def _contents(tensor: Named, piece: Piece, number: int) -> list[tuple[_Content, Indices]]:
    """Returns what a piece holds, range by range if it holds different numbers."""
    value = piece.value
    if isinstance(value, Uninit):
        return [(_Content("zeros"), piece.spans)]
    if isinstance(value, Computed):
        return [(_Content(None), piece.spans)]
    if isinstance(value, Drawn):
        if isinstance(closed(value.form), STRUCTURED):
            return [(_matrix(value, piece.spans, tensor, number), piece.spans)]
        return [(_Content(_elementwise_initializer(value, tensor.tensor.dtype)), piece.spans)]
    if value.constant is not None:
        init = contents.constant(value.constant, tensor.tensor.dtype)
        if init is not None:
            return [(_Content(init), piece.spans)]
    return [_numbers(tensor.known, start, end) for start, end in piece.spans.tolist()]


def _numbers(known: torch.Tensor, start: int, end: int) -> tuple[_Content, Indices]:
    held = known.reshape(-1)[start:end]
    init = contents.common_constant(held)
    content = _Content(init, None if init is not None else contents.numbers(held))
    return content, np.array([[start, end]], dtype=np.int64)


def _matrix(value: Drawn, spans: Indices, tensor: Named, number: int) -> _Content:
    boxes = slices(spans, tensor.shape, 1)
    if not boxes:
        return _Content(None)
    size = tuple(end - start for start, end in boxes[0])
    return _Content(_initializer(value, size, tensor.tensor.dtype), matrix=number)


def _parts(
    groups: dict[_Content, Indices], shape: tuple[int, ...]
) -> tuple[str | None, tuple[Part, ...]] | None:
    """Returns the initializer of most elements, and the parts with others.

    Returns None for more parts than a recipe can have.
    """

    def count(content: _Content) -> int:
        return int((groups[content][:, 1] - groups[content][:, 0]).sum())

    base = max((c for c in groups if c.is_elementwise), key=count, default=None)
    parts: list[Part] = []
    for content, spans in groups.items():
        if content is base:
            continue
        boxes = slices(spans, shape, MAX_PARTS - len(parts))
        if boxes is None or (content.values is not None and len(boxes) > 1):
            return None
        parts += [Part(box, content.init, content.values) for box in boxes]
    parts.sort(key=lambda part: part.slice)
    return (base.init if base else None), tuple(parts)
