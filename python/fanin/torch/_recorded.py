"""`record`, and what it returns: how each tensor of a model starts."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from os import PathLike
from pathlib import Path
from typing import Any

import torch
from torch import nn

import fanin
from fanin.torch import _draws
from fanin.torch._classes import Named
from fanin.torch._contents import numbers
from fanin.torch._listing import name_list, named_tensors, warn_uninitialized
from fanin.torch._modes import recording
from fanin.torch._problems import RecordError, RecordWarning
from fanin.torch._recorder import Recorder
from fanin.torch._replay import Replay, plain_torch
from fanin.torch._rules import Assignment, Item, Part, quoted, recipe_text, slice_text
from fanin.torch._sharing import Sharing, classify, unused
from fanin.torch._slices import Slice
from fanin.torch._storage import Ref


@dataclass(frozen=True)
class RecordedPart:
    """A part of a tensor with an initializer of its own.

    Attributes:
        slice: The start and the end along each dimension.
        init: The initializer as in a recipe, or `values(...)` with the numbers.
    """

    slice: Slice
    init: str


@dataclass(frozen=True)
class RecordedTensor:
    """The start of a tensor of a model.

    | origin | initial values |
    |---|---|
    | "rule" | those of `init`: each element is drawn, or none is random |
    | "parts" | `parts` have initializers of their own, the other elements have `init` |
    | "kept" | the same numbers for every seed, which no initializer gives |
    | "tied" | it is the same tensor as `of` |
    | "same" | those of `of`, in a tensor of its own |
    | "derived" | computed from the values of other tensors |
    | "replay" | computed from random numbers in a way that has no initializer |
    | "uninit" | the model writes none; fanin makes zeros |

    Attributes:
        name: The name, as in the state dict of the model without wrappers.
        kind: "parameter" or "buffer" for a tensor of the state dict, "temporary buffer" (or
            "temporary parameter") for one that is not in it.
        shape: The dimensions of the whole tensor.
        dtype: The dtype.
        origin: Where the initial values come from, see the table.
        init: The initializer as in a recipe, such as "normal(mean=0,std=0.02)", or None.
        parts: The parts with initializers of their own.
        of: The other tensor of "tied", "same" and "derived", or None if there are several.
        detail: A sentence for people.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    dtype: torch.dtype
    origin: str
    init: str | None
    parts: tuple[RecordedPart, ...]
    of: str | None
    detail: str


class Recorded:
    """The start of each tensor of a model. `fanin.torch.record` returns it.

    Attributes:
        model: The model, on the meta device. Only tensors that were made before the recording are
            on their own devices.
        tensors: The tensors by name: those of the state dict in its order, then the others.
        warnings: What makes the values depend on more than the model's code and the seed.
    """

    def __init__(self, model: nn.Module, recorder: Recorder, named: Sequence[Named]) -> None:
        """Takes a recording. Use `fanin.torch.record`."""
        self.model = model
        self.tensors = {tensor.name: _public(tensor) for tensor in named}
        self.warnings = recorder.warnings
        self._recorder = recorder
        self._named = {tensor.name: tensor for tensor in named}
        self._sharing = Sharing([tensor for tensor in named if tensor.origin != "tied"], recorder)
        self._streams = self._sharing.stream_names()
        self._last_plan: tuple[int, fanin.Plan] | None = None

    def __repr__(self) -> str:
        """Returns the class of the model and the number of tensors of each origin."""
        return f"<Recorded {type(self.model).__name__}: {self._counts()}>"

    def __copy__(self) -> Recorded:
        """Returns the recording itself, which does not change."""
        return self

    def __reduce__(self) -> str | tuple[Any, ...]:
        """Refuses pickles and deep copies: the objects of torch that a replay needs have none.

        Raises:
            TypeError: Always.
        """
        raise TypeError("a Recorded cannot be pickled or copied deeply; use save, or record again")

    def _counts(self) -> str:
        counts: dict[str, int] = {}
        for tensor in self.tensors.values():
            counts[tensor.origin] = counts.get(tensor.origin, 0) + 1
        return ", ".join(f"{n} {origin}" for origin, n in counts.items()) or "no tensors"

    @property
    def recipe(self) -> fanin.Recipe:
        """The rules for the state dict. Tensors that need numbers from a file are skipped in it."""
        with plain_torch():
            return fanin.Recipe.from_toml(recipe_text(self._items(self._state_dict())))

    def tensor_list(self) -> list[tuple[str, tuple[int, ...], str]]:
        """Returns name, shape and dtype of each tensor of the state dict, in its order.

        The dtype is a name such as "float32".
        """
        return [_listed(tensor) for tensor in self._state_dict()]

    def _state_dict(self) -> list[Named]:
        return [tensor for tensor in self._named.values() if tensor.kind in ("parameter", "buffer")]

    # Recipes

    def _items(self, tensors: Sequence[Named], stored: str | None = None) -> list[Item]:
        """Returns what a recipe gives tensors.

        Args:
            tensors: The tensors of the list.
            stored: The file with the values that rules cannot give. Without one, such tensors are
                skipped.
        """
        listed = {tensor.name for tensor in tensors}
        return [Item(t.name, self._assignment(t, listed, stored)) for t in tensors]

    def _assignment(self, tensor: Named, listed: set[str], stored: str | None) -> Assignment:
        without_rule = Assignment("skip", True) if stored is None else Assignment("keep", stored)
        if tensor.origin in ("tied", "same") and tensor.of in listed:
            other = self._assignment(self._named[tensor.of], listed, stored)
            if other.key in ("keep", "skip"):
                return other
            if other.key == "same_as":
                return other  # the tensor that it is tied to has the values of a third one
            # In the name of another tensor, a recipe takes a star for that of the glob.
            key = "tied_to" if tensor.origin == "tied" else "same_as"
            return without_rule if "*" in tensor.of else Assignment(key, tensor.of)
        if tensor.is_filled or tensor.init is not None:
            return _rule(tensor)
        values = numbers(tensor.known) if tensor.origin == "kept" else None
        return without_rule if values is None else Assignment("values", values)

    # For the code that fills tensors

    @plain_torch()
    def _plan(self, seed: int) -> fanin.Plan:
        """Returns the plan of all tensors with rules, those outside of the state dict included."""
        if self._last_plan is None or self._last_plan[0] != seed:
            items = self._items(list(self._named.values()))
            items = [item for item in items if item.assignment.key != "skip"]
            listed = [_listed(self._named[item.name]) for item in items]
            plan = fanin.Recipe.from_toml(recipe_text(items)).plan(listed, seed)
            self._last_plan = (seed, plan)
        return self._last_plan[1]

    @plain_torch()
    def _value(self, name: str, seed: int | None) -> torch.Tensor:
        """Returns the values of a whole tensor, on the CPU.

        Args:
            name: A tensor that the plan does not have.
            seed: The seed. It can be None for a tensor whose values depend on no random numbers.
        """
        tensor = self._named[name]
        if tensor.origin in ("kept", "uninit"):
            return tensor.known.clone()
        if seed is None:
            raise ValueError(f"tensor {name!r} depends on random numbers: give a seed")
        if name in self._plan(seed):
            return self._filled(tensor, seed)
        if tensor.origin in ("tied", "same") and tensor.of is not None:
            return self._value(tensor.of, seed)
        assert tensor.ref is not None
        return self._replayed(tensor.ref, seed, self._streams)

    def _filled(self, tensor: Named, seed: int) -> torch.Tensor:
        out = torch.empty(tensor.shape, dtype=tensor.tensor.dtype)
        self._plan(seed).fill_at(tensor.name, out.data_ptr(), out.nbytes)
        return out

    def _replayed(self, ref: Ref, seed: int, streams: Mapping[int, str]) -> torch.Tensor:
        given = {
            number: partial(self._covered, number, named, seed)
            for number, named in self._sharing.given.items()
        }
        draw = _draws.from_streams(streams, seed)
        replay = Replay(self._recorder.log, self._recorder.storages, draw, given)
        try:
            return replay.value(ref)
        except (IndexError, RuntimeError, ValueError) as error:
            named = [t.name for t in self._named.values() if t.ref and t.ref.storage == ref.storage]
            what = name_list(named) if named else f"a tensor of shape {ref.size}"
            raise RecordError(
                f"{what} cannot be computed from the random numbers of seed {seed}, because a "
                f"shape or a choice depends on them: {error}"
            ) from error

    def _covered(self, number: int, named: Sequence[Named], seed: int) -> torch.Tensor:
        """Returns the bytes of a storage that tensors with rules cover."""
        data = torch.zeros(self._recorder.storages[number].nbytes, dtype=torch.uint8)
        for tensor in named:
            assert tensor.ref is not None
            _, dtype, size, stride, offset = tensor.ref
            view = torch.empty(0, dtype=dtype).set_(data.untyped_storage(), offset, size, stride)
            view.copy_(self._filled(tensor, seed))
        return data

    @cached_property
    def _storages(self) -> Storages:
        """The storages of the recording, for code that gives the model memory."""
        return Storages(self)

    # Files

    @plain_torch()
    def save(self, path: str | PathLike[str], *, seed: int | None = None) -> None:
        """Writes the recipe, and beside it what `fanin init` needs to make the same weights.

        For the path `m.toml`, `m.tensors.json` has the names, shapes and dtypes. `m.safetensors`
        has the tensors whose values no rule gives. It is written only if there are any.

        Args:
            path: The path of the recipe, which ends in `.toml`.
            seed: The seed. It is needed if tensors are computed from random numbers: their values
                are stored, and the recipe then has this seed.

        Raises:
            ValueError: The path does not end in `.toml`, or the model needs a seed.
        """
        path = Path(path)
        if path.suffix != ".toml":
            raise ValueError(f"{str(path)!r} is not a recipe's path: use a name that ends in .toml")
        tensors = self._state_dict()
        items = self._items(tensors, stored=path.with_suffix(".safetensors").name)
        kept = [item.name for item in items if item.assignment.key == "keep"]
        computed = [name for name in kept if self._depends_on_seed(self._named[name])]
        if computed and seed is None:
            raise ValueError(
                f"the values of {name_list(computed)} are computed from random numbers, so a "
                "recipe can only store them: give the seed, as in save(path, seed=1)"
            )
        if kept:
            from safetensors.torch import save_file

            values = {name: self._value(name, seed).contiguous() for name in kept}
            unstored = (torch.complex32, torch.complex128)
            if bad := [name for name, value in values.items() if value.dtype in unstored]:
                raise RecordError(
                    f"{name_list(bad)} cannot be stored: safetensors has no complex32 or complex128"
                )
            save_file(values, path.with_suffix(".safetensors"))
        listing = path.with_suffix(".tensors.json")
        keys = ("name", "shape", "dtype")
        lines = ",\n".join(json.dumps(dict(zip(keys, _listed(tensor)))) for tensor in tensors)
        listing.write_text(f"[\n{lines}\n]\n", encoding="utf-8")
        top = [f"tensors = {quoted(listing.name)}"] + ([f"seed = {seed}"] if computed else [])
        path.write_text(recipe_text(items, self._header(), top), encoding="utf-8")

    def _depends_on_seed(self, tensor: Named) -> bool:
        if tensor.origin in ("tied", "same") and tensor.of is not None:
            return self._depends_on_seed(self._named[tensor.of])
        return tensor.origin not in ("kept", "uninit")

    def _header(self) -> list[str]:
        kind = type(self.model)
        return [
            f"How {kind.__module__}.{kind.__qualname__} starts: {self._counts()}.",
            f"Recorded by fanin.torch under torch {torch.__version__}.",
        ]


class Storages:
    """The storages of a recording: which one a tensor has, and what those without a name hold."""

    def __init__(self, recorded: Recorded) -> None:
        """Takes the recording."""
        self._recorded = recorded
        self._recorder = recorded._recorder
        self._streams = dict(recorded._streams)

    def ref(self, tensor: torch.Tensor) -> Ref | None:
        """Returns the storage and the geometry of a tensor, or None if it was not recorded."""
        if self._recorder.number_of(tensor) is None:
            return None
        return self._recorder.ref(tensor)

    def nbytes(self, storage: int) -> int:
        """Returns the size of a storage in bytes."""
        return self._recorder.storages[storage].nbytes

    def name_draws(self, storage: int, name: str) -> None:
        """Names the streams of the draws that a storage without a named tensor needs.

        A draw that has a name already keeps it, so that two such storages share what they share in
        the model. A draw that is a whole named tensor has that tensor's stream. The others have
        `<name>//0`, `<name>//1` and so on, in the order of the constructor.
        """
        sharing = self._recorded._sharing
        for index, draw in enumerate(self._draws(storage)):
            if draw not in self._streams:
                owner = sharing.owner(draw, sharing.tensors)
                taken = {*self._recorded.tensors, *self._streams.values()}
                own = unused(f"{name}//{index}", taken) if owner is None else owner.name
                self._streams[draw] = own

    def has_names(self, storage: int) -> bool:
        """Returns true if all draws that a storage needs have names."""
        return all(draw in self._streams for draw in self._draws(storage))

    def _draws(self, storage: int) -> list[int]:
        log = self._recorder.log
        positions = log.needed([storage], self._recorded._sharing.given).entries
        draws = (log.entries[position].draw for position in positions)
        return [draw for draw in draws if draw is not None]

    @plain_torch()
    def value(self, storage: int, seed: int) -> torch.Tensor:
        """Returns the bytes of a storage that no tensor names, as a tensor of uint8 on the CPU."""
        ref = Ref(storage, torch.uint8, (self.nbytes(storage),), (1,), 0)
        return self._recorded._replayed(ref, seed, self._streams)


def record(
    make: Callable[..., nn.Module], *args: Any, strict: bool = False, **kwargs: Any
) -> Recorded:
    """Records how a model's own code initializes it, without memory for its tensors.

    The constructor runs on the meta device. Every operation on tensors is recorded, and turned into
    a rule for each tensor of the model: an initializer, the values of another tensor, or given
    values. No random number is drawn, and the state of torch's random number generator does not
    change.

    Args:
        make: A class or a function that returns a `torch.nn.Module`.
        *args: Its arguments.
        strict: If true, what would be a warning is an error.
        **kwargs: Its keyword arguments.

    Returns:
        The recording.

    Raises:
        TypeError: `make` cannot be called, or returns something else than a module.
        RecordError: A parameter is lazy, so it has no shape yet, or a tensor is of a class or a
            layout that is not supported. With `strict`, also for every reason of a warning.
        RuntimeError: It was called within the constructor of a model that is being recorded.

    Example:
        >>> import torch
        >>> from fanin.torch import record
        >>> recorded = record(torch.nn.Linear, 784, 512)
        >>> recorded.tensors["weight"].init
        'uniform(low=-0.035714287,high=0.035714287)'
    """
    recorded = recorded_from(make, args, kwargs, strict)
    for text in recorded.warnings:
        warnings.warn(text, RecordWarning, stacklevel=2)
    return recorded


def recorded_from(
    make: Callable[..., nn.Module],
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    strict: bool = False,
) -> Recorded:
    """Records like `record`, but leaves the warnings to the caller."""
    if not callable(make) or isinstance(make, nn.Module):
        raise TypeError(
            f"record needs a class or a function that makes the model, but got {_described(make)}"
        )
    with recording() as recorder:
        model = make(*args, **kwargs)
        if not isinstance(model, nn.Module):
            raise TypeError(
                f"record needs a torch.nn.Module, but {_name_of(make)} returned {_described(model)}"
            )
        named = named_tensors(model, recorder)
    recorded = conclude(model, recorder, named)
    warn_uninitialized(named, recorder)
    if strict and recorded.warnings:
        raise RecordError(f"{_name_of(make)}: {'; '.join(recorded.warnings)}")
    return recorded


def conclude(model: nn.Module, recorder: Recorder, named: Sequence[Named]) -> Recorded:
    """Returns how the tensors of a model start, after a recording has ended.

    Args:
        model: The model.
        recorder: The recording.
        named: The model's tensors, by `named_tensors` within the recording.
    """
    with plain_torch():
        classify(named, recorder)
    return Recorded(model, recorder, named)


def _public(tensor: Named) -> RecordedTensor:
    parts = (
        RecordedPart(part.slice, f"values{part.values}" if part.init is None else part.init)
        for part in tensor.parts
    )
    return RecordedTensor(
        name=tensor.name,
        kind=tensor.kind,
        shape=tensor.shape,
        dtype=tensor.tensor.dtype,
        origin=tensor.origin,
        init=tensor.init,
        parts=tuple(parts),
        of=tensor.of,
        detail=tensor.detail,
    )


def _listed(tensor: Named) -> tuple[str, tuple[int, ...], str]:
    return tensor.name, tensor.shape, str(tensor.tensor.dtype).replace("torch.", "")


def _rule(tensor: Named) -> Assignment:
    parts = tuple(
        Part(slice_text(part.slice, tensor.shape), part.init, part.values) for part in tensor.parts
    )
    if tensor.init is None:
        return Assignment("parts", "", parts)
    comment = "The model does not initialize these tensors." if tensor.origin == "uninit" else ""
    return Assignment("init", tensor.init, parts, comment)


def _described(thing: object) -> str:
    if isinstance(thing, nn.Module):
        return f"the module {type(thing).__name__} itself"
    if isinstance(thing, (list, tuple, dict)):
        return f"a {type(thing).__name__}: put the modules into one torch.nn.Module"
    return f"an object of the class {type(thing).__name__}"


def _name_of(make: object) -> str:
    return getattr(make, "__qualname__", type(make).__name__)
