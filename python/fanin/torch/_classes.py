"""Decides how each tensor of a recorded model starts: by a rule, by parts, kept, tied, the same, derived, replayed.

A rule draws from the stream of its tensor's name. That is right only if no other tensor depends on
the same random numbers. So tensors that share draws are found first: copies become `same`, and the
others are replayed from streams that they share.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch

from fanin.torch import _contents as contents
from fanin.torch._forms import STRUCTURED, Form, Orthogonal, Sparse, closed, describe, initializer
from fanin.torch._modes import Recorder
from fanin.torch._slices import Slice, slices
from fanin.torch._storage import (
    Computed,
    Drawn,
    Geometry,
    Indices,
    Known,
    Mixed,
    Piece,
    Ref,
    Uninit,
    Value,
    merged,
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
    """A tensor of the model, and what is known of it."""

    name: str
    kind: str
    tensor: torch.Tensor
    key: tuple[Any, ...]  # equal for two names of one tensor
    ref: Ref | None  # None: it has data that the model was given
    value: Value
    origin: str = ""
    init: str | None = None
    parts: tuple[Part, ...] = ()
    of: str | None = None
    detail: str = ""
    draws: list[int] = field(default_factory=list)  # the draws of its replay, in order
    evaluate: Callable[[], torch.Tensor] | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """The dimensions."""
        return tuple(self.tensor.shape)

    @property
    def is_filled(self) -> bool:
        """True if a plan fills it from its own name."""
        return self.origin in ("rule", "parts", "uninit") and (
            self.init is not None or bool(self.parts)
        )

    @cached_property
    def known(self) -> torch.Tensor:
        """The values, if they depend on no random numbers."""
        assert self.evaluate is not None
        return self.evaluate()

    def random(self) -> list[Drawn]:
        """Returns what the tensor has of draws, in closed form.

        Pieces whose elements are at the same place of a draw as in the tensor cannot overlap, so
        they count as one.
        """
        values = (
            [piece.value for piece in self.value.pieces]
            if isinstance(self.value, Mixed)
            else [self.value]
        )
        found: dict[Any, Drawn] = {}
        for number, value in enumerate(values):
            if isinstance(value, Drawn):
                key = (value.source, value.at if value.at is not None else number)
                one = found.get(key, value)
                found[key] = replace(
                    value, low=min(one.low, value.low), high=max(one.high, value.high)
                )
        return list(found.values())


def classify(tensors: Sequence[Named], recorder: Recorder) -> None:
    """Gives each tensor its class."""
    own = _tie(tensors)
    for tensor in own:
        _alone(tensor)
    Sharing(own, recorder).resolve()
    by_name = {tensor.name: tensor for tensor in own}
    for tensor in tensors:
        if tensor.origin == "tied" and tensor.of is not None:
            other = by_name[tensor.of]
            tensor.init, tensor.parts = other.init, other.parts


def _tie(tensors: Sequence[Named]) -> list[Named]:
    """Marks the second and further names of a tensor. Returns the tensors with their first names."""
    first: dict[tuple[Any, ...], Named] = {}
    for tensor in tensors:
        if not tensor.tensor.numel():
            first[("empty", tensor.name)] = tensor
        elif tensor.key in first:
            tensor.origin, tensor.of = "tied", first[tensor.key].name
            tensor.detail = f"The same tensor as {tensor.of}."
        else:
            first[tensor.key] = tensor
    return list(first.values())


def _alone(tensor: Named) -> None:
    """Gives a tensor the class that it has if it shares no draws."""
    value, dtype = tensor.value, tensor.tensor.dtype
    if isinstance(value, Uninit):
        tensor.origin, tensor.init = "uninit", "zeros"
        tensor.detail = "The model does not write its values."
        if dtype not in contents.CONSTANT:
            tensor.init = None
    elif isinstance(value, Known):
        _known(tensor, value)
    elif isinstance(value, Drawn) and dtype in contents.DRAWN:
        tensor.init = _initializer(value, tensor.shape)
        tensor.origin = "replay" if tensor.init is None else "rule"
        tensor.detail = _of_form(value.form) if tensor.init is None else "Each element is drawn."
    elif isinstance(value, Mixed) and dtype in contents.DRAWN:
        _mixed(tensor, value)
    else:
        tensor.origin, tensor.detail = "replay", _why(value)


def _why(value: Value) -> str:
    what = value.why if isinstance(value, Computed) else "a dtype that is not drawn"
    return f"Computed from random numbers without a closed form: {what}."


def _of_form(form: Form) -> str:
    return f"Computed from random numbers without a closed form: {describe(form)}."


def _known(tensor: Named, value: Known) -> None:
    dtype = tensor.tensor.dtype
    init = None
    if tensor.tensor.numel() == 0:
        init = "zeros" if dtype in contents.CONSTANT else None
    elif value.constant is not None:
        init = contents.constant(value.constant, dtype)
    if init is None:
        init = contents.initializer(tensor.known)
    if init is None:
        _keep(tensor, "Given values" if tensor.ref is None else "Computed values")
    else:
        tensor.origin, tensor.init, tensor.detail = "rule", init, "No element is random."


def _keep(tensor: Named, what: str) -> None:
    tensor.origin, tensor.init = "kept", None
    tensor.detail = f"{what} that depend on no random numbers."


def _initializer(value: Drawn, shape: tuple[int, ...]) -> str | None:
    """Returns the initializer of a value of this shape, or None without one."""
    form = closed(value.form)
    if form is None:
        return None
    if isinstance(form, Sparse) and shape != (form.rows, form.columns):
        return None
    if isinstance(form, Orthogonal):
        # fanin takes the first dimension as rows, and all others as columns.
        count = int(np.prod(shape, dtype=np.int64))
        if len(shape) < 2 or (shape[0], count // max(shape[0], 1)) != (form.rows, form.columns):
            return None
    return initializer(form)


@dataclass(frozen=True)
class _Content:
    """What some ranges of a tensor hold: an initializer, numbers, or nothing that a recipe can name."""

    init: str | None
    values: tuple[float, ...] | None = None
    matrix: tuple[int, int] | None = None  # an identity of its own: two matrices are never one part


def _mixed(tensor: Named, value: Mixed) -> None:
    groups = _grouped(tensor, value)
    if groups is None:
        tensor.origin, tensor.detail = "replay", "Some parts have no closed form."
        return
    if len(groups) == 1 and all(
        content.values is None and content.matrix is None for content in groups
    ):
        (content,) = groups
        tensor.origin, tensor.init, tensor.detail = "rule", content.init, "Each element is drawn."
        return
    parts = _parts(groups, tensor.shape)
    if parts is None:
        tensor.origin, tensor.detail = "replay", f"It has more than {MAX_PARTS} parts."
        return
    base, tensor.parts = parts
    tensor.origin, tensor.init = "parts", base
    tensor.detail = (
        f"It has {len(tensor.parts)} part{'s' if len(tensor.parts) > 1 else ''} of another kind."
    )


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
    value, dtype = piece.value, tensor.tensor.dtype
    if isinstance(value, Uninit):
        return [(_Content("zeros"), piece.spans)]
    if isinstance(value, Drawn):
        form = closed(value.form)
        if isinstance(form, STRUCTURED):
            return [(_matrix(form, piece, tensor.shape, number), piece.spans)]
        return [(_Content(initializer(value.form)), piece.spans)]
    if isinstance(value, Computed):
        return [(_Content(None), piece.spans)]
    if value.constant is not None:
        init = contents.constant(value.constant, dtype)
        if init is not None:
            return [(_Content(init), piece.spans)]
    flat = tensor.known.reshape(-1)
    held = []
    for start, end in piece.spans.tolist():
        init = contents.initializer(flat[start:end]) if end > start else "zeros"
        is_constant = init is not None and not init.startswith("arange")
        values = None if is_constant else contents.numbers(flat[start:end])
        held.append(
            (
                _Content(init if is_constant else None, values),
                np.array([[start, end]], dtype=np.int64),
            )
        )
    return held


def _matrix(
    form: Orthogonal | Sparse | Any, piece: Piece, shape: tuple[int, ...], number: int
) -> _Content:
    boxes = slices(piece.spans, shape, 1)
    if not boxes or not isinstance(form, (Orthogonal, Sparse)):
        return _Content(None)
    size = tuple(end - start for start, end in boxes[0])
    value = piece.value
    assert isinstance(value, Drawn)
    return _Content(_initializer(value, size), matrix=(number, 0))


def _parts(
    groups: dict[_Content, Indices], shape: tuple[int, ...]
) -> tuple[str | None, tuple[Part, ...]] | None:
    """Returns the initializer of most elements and the parts with others, or None if they are too many."""

    def count(content: _Content) -> int:
        spans = groups[content]
        return int((spans[:, 1] - spans[:, 0]).sum())

    bases = [content for content in groups if content.values is None and content.matrix is None]
    base = max(bases, key=count, default=None)
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


class Sharing:
    """Finds tensors that depend on the same draws."""

    def __init__(self, tensors: Sequence[Named], recorder: Recorder) -> None:
        """Prepares the search among the tensors with their first names."""
        self.tensors, self.recorder = tensors, recorder
        self.given = self._covered()

    def resolve(self) -> None:
        """Changes the classes of tensors until no two rules draw numbers that the model draws once."""
        while self._share_storages() | self._share_draws():
            self.given = self._covered()
        self._name_same()
        for tensor in self.tensors:
            if tensor.origin == "replay":
                self._needs(tensor)

    # Storages

    def _covered(self) -> dict[int, list[Named]]:
        """Returns the storages that the filled tensors cover, with those tensors."""
        held: dict[int, list[Named]] = {}
        for tensor in self.tensors:
            is_planned = tensor.is_filled or tensor.origin == "same"
            if is_planned and tensor.ref is not None and tensor.ref.geometry.is_injective:
                held.setdefault(tensor.ref.storage, []).append(tensor)
        storages = self.recorder.storages
        return {
            number: named
            for number, named in held.items()
            if sum(tensor.tensor.numel() * tensor.tensor.dtype.itemsize for tensor in named)
            == storages[number].nbytes
        }

    def _share_storages(self) -> bool:
        """Lets only one of several tensors that overlap in a storage have a rule. Returns true for a change."""
        views: dict[int, list[Named]] = {}
        for tensor in self.tensors:
            if tensor.ref is not None and tensor.is_filled and tensor.random():
                views.setdefault(tensor.ref.storage, []).append(tensor)
        changed = False
        for named in views.values():
            kept: list[Named] = []
            for tensor in sorted(named, key=lambda tensor: -tensor.tensor.numel()):
                other = next((other for other in kept if _overlap(tensor, other)), None)
                if other is None:
                    kept.append(tensor)
                else:
                    _demote(tensor, f"It shares memory with {other.name}.")
                    changed = True
        return changed

    # Draws

    def _needs(self, tensor: Named) -> None:
        """Finds the draws of a replay, and whether it needs any that no other tensor has."""
        assert tensor.ref is not None
        needed = self.recorder.log.needed([tensor.ref.storage], self.given)
        entries = (self.recorder.log.entries[position] for position in needed.entries)
        tensor.draws = [entry.draw for entry in entries if entry.draw is not None]
        if not tensor.draws:
            names = sorted(
                {named.name for storage in needed.given for named in self.given[storage]}
            )
            tensor.origin = "derived"
            tensor.of = names[0] if len(names) == 1 else None
            tensor.detail = f"Computed from {', '.join(names)}."

    def _share_draws(self) -> bool:
        """Makes replays of rules that share draws in a way that rules cannot express. Returns true for a change."""
        claims: dict[int, list[tuple[int, int, Named]]] = {}
        first: dict[Any, Named] = {}
        for tensor in self.tensors:
            if tensor.origin == "replay":
                self._needs(tensor)
                if tensor.origin == "derived":
                    tensor.origin = "replay"  # decided at the end
                for draw in tensor.draws:
                    claims.setdefault(draw, []).append(
                        (0, self.recorder.draws[draw].target.numel, tensor)
                    )
            elif tensor.is_filled:
                key = _identity(tensor)
                if key is not None and first.setdefault(key, tensor) is not tensor:
                    continue  # a copy
                for value in tensor.random():
                    claims.setdefault(value.source, []).append((value.low, value.high, tensor))
        return any([self._settle(draw, claimed) for draw, claimed in claims.items()])

    def _settle(self, draw: int, claims: list[tuple[int, int, Named]]) -> bool:
        claims = sorted(claims, key=lambda claim: claim[:2])
        rules = [tensor for _, _, tensor in claims if tensor.is_filled]
        apart = all(before[1] <= after[0] for before, after in zip(claims, claims[1:]))
        if apart or not rules:
            return False
        owner = self.owner(draw, rules)
        others = {id(tensor): tensor for tensor in rules if tensor is not owner}
        name = owner.name if owner else claims[0][2].name
        for tensor in others.values():
            _demote(
                tensor,
                f"It shares random numbers with {name if name != tensor.name else 'other tensors'}.",
            )
        return bool(others)

    def owner(self, draw: int, tensors: Sequence[Named]) -> Named | None:
        """Returns the tensor that is exactly a draw: all its elements in order, perhaps scaled and shifted."""
        numel = self.recorder.draws[draw].target.numel
        everything = Geometry.of((numel,), (1,), 0)
        for tensor in tensors:
            value = tensor.value
            if tensor.origin == "rule" and isinstance(value, Drawn):
                if value.source == draw and value.at == everything:
                    return tensor
        return None

    def _name_same(self) -> None:
        first: dict[Any, Named] = {}
        for tensor in self.tensors:
            key = _identity(tensor) if tensor.is_filled else None
            if key is None or first.setdefault(key, tensor) is tensor:
                continue
            other = first[key]
            tensor.origin, tensor.of, tensor.detail = (
                "same",
                other.name,
                f"Equal to {other.name} at the start.",
            )

    def stream_names(self) -> dict[int, str]:
        """Returns the name of the stream of each draw that a replay needs."""
        rules = [tensor for tensor in self.tensors if tensor.origin == "rule"]
        owners: dict[int, Named] = {}
        for tensor in rules:
            for value in tensor.random():
                if self.owner(value.source, [tensor]) is not None:
                    owners.setdefault(value.source, tensor)
        names: dict[int, str] = {}
        for tensor in self.tensors:
            for index, draw in enumerate(tensor.draws):
                names.setdefault(
                    draw, owners[draw].name if draw in owners else f"{tensor.name}//{index}"
                )
        return names


def _demote(tensor: Named, why: str) -> None:
    tensor.origin, tensor.init, tensor.parts, tensor.detail = "replay", None, (), why


def _overlap(a: Named, b: Named) -> bool:
    assert a.ref is not None and b.ref is not None
    (a_low, a_high), (b_low, b_high) = a.ref.geometry.bounds, b.ref.geometry.bounds
    a_size, b_size = a.ref.dtype.itemsize, b.ref.dtype.itemsize
    return a_low * a_size < b_high * b_size and b_low * b_size < a_high * a_size


def _identity(tensor: Named) -> Any | None:
    """Returns what two tensors have in common if they are equal element by element, or None if that is not known."""
    value = tensor.value
    if isinstance(value, Drawn):
        key = _identity_of(value)
        return None if key is None else (tensor.shape, key)
    if not isinstance(value, Mixed) or not tensor.random():
        return None
    keys = []
    for piece in value.pieces:
        if isinstance(piece.value, Drawn):
            key = _identity_of(piece.value)
        elif isinstance(piece.value, Known) and piece.value.constant is not None:
            key = piece.value.constant
        else:
            key = None
        if key is None:
            return None
        keys.append((piece.spans.tobytes(), key))
    return (tensor.shape, *sorted(keys, key=lambda item: item[0]))


def _identity_of(value: Drawn) -> Any | None:
    if value.at is None and not isinstance(value.form, STRUCTURED):
        return None
    return value.form, value.source, value.at
