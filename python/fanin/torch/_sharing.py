"""Finds tensors that share memory or random numbers, and gives them the classes that this allows.

A rule draws from the stream of its tensor's name. That is right only if no other tensor depends on
the same random numbers. So copies become `same`, and other tensors that share draws are replayed
from streams that they share.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from fanin.torch._classes import Named, classify_alone, tie
from fanin.torch._forms import STRUCTURED
from fanin.torch._recorder import Recorder
from fanin.torch._storage import Drawn, Geometry, Known, Mixed

#: Elements of a draw that a tensor depends on: the first, the end, and the tensor.
_Claim = tuple[int, int, Named]


def classify(tensors: Sequence[Named], recorder: Recorder) -> None:
    """Gives each tensor its class."""
    own = tie(tensors)
    for tensor in own:
        classify_alone(tensor)
    Sharing(own, recorder).resolve()
    by_name = {tensor.name: tensor for tensor in own}
    for tensor in tensors:
        if tensor.origin == "tied" and tensor.of is not None:
            other = by_name[tensor.of]
            tensor.init, tensor.parts = other.init, other.parts


class Sharing:
    """The tensors of a model by their first names, and the draws that they depend on.

    Attributes:
        given: The storages that tensors with rules cover, with those tensors. A replay that reads
            such a storage at its end needs no draws for it.
    """

    def __init__(self, tensors: Sequence[Named], recorder: Recorder) -> None:
        """Looks at tensors that have classes."""
        self.tensors, self.recorder = tensors, recorder
        self.given = self._covered()

    def resolve(self) -> None:
        """Changes classes until no two tensors with rules need the same random numbers."""
        while self._share_storages() | self._share_draws():
            self.given = self._covered()
        self._name_copies()
        for tensor in self.tensors:
            if tensor.origin == "replay":
                self._find_draws(tensor)
                if not tensor.draws:
                    self._derive(tensor)

    def stream_names(self) -> dict[int, str]:
        """Returns the name of the stream of each draw that a replay needs."""
        owners: dict[int, str] = {}
        for tensor in self.tensors:
            for value in tensor.random() if tensor.origin == "rule" else ():
                if value.source >= 0 and self._is_whole(value.source, tensor):
                    owners.setdefault(value.source, tensor.name)
        names: dict[int, str] = {}
        taken = {tensor.name for tensor in self.tensors}
        for tensor in self.tensors:
            for index, draw in enumerate(tensor.draws):
                own = unused(f"{tensor.name}//{index}", taken)
                names.setdefault(draw, owners.get(draw, own))
        return names

    def owner(self, draw: int, tensors: Sequence[Named]) -> Named | None:
        """Returns the first tensor with a rule that is exactly a draw, or None."""
        return next((tensor for tensor in tensors if self._is_whole(draw, tensor)), None)

    def _is_whole(self, draw: int, tensor: Named) -> bool:
        """Returns true if a tensor has all elements of a draw in order, scaled and shifted."""
        if tensor.origin != "rule" or not isinstance(tensor.value, Drawn):
            return False
        if getattr(tensor.value.form, "flipped", False):
            return False
        everything = Geometry.of((self.recorder.draws[draw].target.numel,), (1,), 0)
        return tensor.value.source == draw and tensor.value.at == everything

    # Storages

    def _covered(self) -> dict[int, list[Named]]:
        storages = self.recorder.storages
        held: dict[int, list[Named]] = {}
        for tensor in self.tensors:
            is_planned = tensor.is_filled or tensor.origin == "same"
            if is_planned and tensor.ref is not None and tensor.ref.geometry.is_injective:
                held.setdefault(tensor.ref.storage, []).append(tensor)
        return {
            number: named
            for number, named in held.items()
            if sum(tensor.tensor.nbytes for tensor in named) == storages[number].nbytes
        }

    def _share_storages(self) -> bool:
        """Lets one of several tensors that overlap in a storage keep its rule.

        Returns true for a change.
        """
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
                    tensor.becomes("replay", f"It shares memory with {other.name}.")
                    changed = True
        return changed

    # Draws

    def _find_draws(self, tensor: Named) -> None:
        assert tensor.ref is not None
        log = self.recorder.log
        needed = log.needed([tensor.ref.storage], self.given)
        draws = (log.entries[position].draw for position in needed.entries)
        tensor.draws = [draw for draw in draws if draw is not None]

    def _derive(self, tensor: Named) -> None:
        assert tensor.ref is not None
        needed = self.recorder.log.needed([tensor.ref.storage], self.given)
        names = sorted({named.name for number in needed.given for named in self.given[number]})
        tensor.becomes("derived", f"Computed from {', '.join(names)}.")
        tensor.of = names[0] if len(names) == 1 else None

    def _share_draws(self) -> bool:
        """Makes replays of rules that share draws in a way that rules cannot express.

        Returns true for a change.
        """
        claims: dict[int, list[_Claim]] = {}
        first: dict[Any, Named] = {}
        for tensor in self.tensors:
            if tensor.origin == "replay":
                self._find_draws(tensor)
                for draw in tensor.draws:
                    end = self.recorder.draws[draw].target.numel
                    claims.setdefault(draw, []).append((0, end, tensor))
            elif tensor.is_filled:
                key = _identity(tensor)
                if key is not None and first.setdefault(key, tensor) is not tensor:
                    continue  # a copy
                for value in tensor.random():
                    self._claim(claims, tensor, value)
        return any([self._settle(draw, claimed) for draw, claimed in claims.items()])

    def _claim(self, claims: dict[int, list[_Claim]], tensor: Named, value: Drawn) -> None:
        for draw in value.draws:
            end = self.recorder.draws[draw].target.numel
            low, high = (value.low, value.high) if draw == value.source else (0, end)
            claims.setdefault(draw, []).append((low, high, tensor))

    def _settle(self, draw: int, claims: list[_Claim]) -> bool:
        claims = sorted(claims, key=lambda claim: claim[:2])
        rules = [tensor for _, _, tensor in claims if tensor.is_filled]
        are_apart = all(before[1] <= after[0] for before, after in zip(claims, claims[1:]))
        if are_apart or not rules:
            return False
        owner = self.owner(draw, rules)
        others = [tensor for tensor in rules if tensor is not owner]
        for tensor in others:
            names = (t.name for t in (owner, *(claim[2] for claim in claims)) if t is not None)
            name = next((name for name in names if name != tensor.name), "itself")
            tensor.becomes("replay", f"It shares random numbers with {name}.")
        return bool(others)

    def _name_copies(self) -> None:
        first: dict[Any, Named] = {}
        for tensor in self.tensors:
            key = _identity(tensor) if tensor.is_filled else None
            other = tensor if key is None else first.setdefault(key, tensor)
            if other is not tensor:
                tensor.origin, tensor.of = "same", other.name
                tensor.detail = f"Equal to {other.name} at the start."


def unused(name: str, taken: Collection[str]) -> str:
    """Returns a name for a stream, with slashes added until nothing else has it."""
    while name in taken:
        name += "/"
    return name


def _overlap(a: Named, b: Named) -> bool:
    assert a.ref is not None and b.ref is not None
    (a_low, a_high), (b_low, b_high) = a.ref.geometry.bounds, b.ref.geometry.bounds
    a_size, b_size = a.ref.dtype.itemsize, b.ref.dtype.itemsize
    return a_low * a_size < b_high * b_size and b_low * b_size < a_high * a_size


def _identity(tensor: Named) -> Any:
    """Returns what two tensors have in common if they are equal element by element.

    Returns None for a tensor without random numbers, and for one that cannot be compared.
    """
    value = tensor.value
    if isinstance(value, Drawn):
        key = _identity_of(value)
        return None if key is None else (tensor.shape, key)
    if not isinstance(value, Mixed) or not tensor.random():
        return None
    keys: list[tuple[bytes, Any]] = []
    for piece in value.pieces:
        key = None
        if isinstance(piece.value, Drawn):
            key = _identity_of(piece.value)
        elif isinstance(piece.value, Known):
            key = piece.value.constant
        if key is None:
            return None
        keys.append((piece.spans.tobytes(), key))
    return (tensor.shape, *sorted(keys, key=lambda item: item[0]))


def _identity_of(value: Drawn) -> Any:
    if value.at is None and not isinstance(value.form, STRUCTURED):
        return None
    return value.form, value.source, value.at
