"""`record`, and what it returns: how each tensor of a model starts."""

from __future__ import annotations

import json
import random
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

import fanin
from fanin.torch import _draws
from fanin.torch._classes import Named, Sharing, classify
from fanin.torch._contents import numbers
from fanin.torch._modes import Recorder, recording
from fanin.torch._names import canonical
from fanin.torch._problems import RecordError, RecordWarning, unsupported
from fanin.torch._replay import Replay, plain_torch
from fanin.torch._rules import Assignment, Item, Part, quoted, recipe_text, slice_text
from fanin.torch._storage import Known, Mixed, Ref, Uninit

Slice = tuple[tuple[int, int], ...]
TEMPORARY = "temporary buffer"


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
    """How a tensor of a model starts.

    Attributes:
        name: The name, as in the state dict of the model without wrappers.
        kind: "parameter" or "buffer" of the state dict, or "temporary buffer" for one that is not
        in it. shape: The dimensions of the whole tensor. dtype: The dtype. origin: One of
            "rule" (each element is drawn from `init`, or `init` draws nothing),
            "parts" (`parts` have initializers of their own, the other elements have `init`),
            "kept" (the same numbers for every seed),
            "tied" (the same tensor as `of`),
            "same" (another tensor with the values of `of`),
            "derived" (computed from the values of other tensors),
            "replay" (computed from random numbers in another way) and
            "uninit" (the model writes no values; fanin makes zeros).
        init: The initializer as in a recipe, such as "normal(mean=0,std=0.02)". None without one.
        parts: The parts with initializers of their own.
        of: The other tensor of "tied", "same" and "derived". None for one derived from several.
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
    """How each tensor of a model starts. `fanin.torch.record` returns it.

    Attributes:
        model: The model, whose recorded tensors are on the meta device. Tensors that hold data
        which the model was
            given, such as `torch.tensor([1.0, 2.0])`, are on the CPU.
        tensors: The tensors by name: those of the state dict in its order, then temporary buffers.
        warnings: What makes the values depend on more than the model's code and the seed.
    """

    def __init__(self, model: nn.Module, recorder: Recorder, named: list[Named]) -> None:
        """Takes a recording. Use `fanin.torch.record`."""
        self.model = model
        self._recorder = recorder
        self._named = {tensor.name: tensor for tensor in named}
        self._sharing = Sharing([tensor for tensor in named if tensor.origin != "tied"], recorder)
        self._streams = self._sharing.stream_names()
        self._plans: dict[int, fanin.Plan] = {}
        self.tensors = {tensor.name: _public(tensor) for tensor in named}
        self.warnings: list[str] = recorder.warnings

    def __repr__(self) -> str:
        """Returns the class of the model and the number of tensors of each origin."""
        counts = ", ".join(f"{count} {origin}" for origin, count in self._counts().items())
        return f"<Recorded {type(self.model).__name__}: {counts or 'no tensors'}>"

    def _counts(self) -> dict[str, int]:
        counts: dict[str, int] = {}
        for tensor in self.tensors.values():
            counts[tensor.origin] = counts.get(tensor.origin, 0) + 1
        return counts

    @property
    def recipe(self) -> fanin.Recipe:
        """The rules for the state dict. Tensors that need numbers from a file are skipped in it."""
        with plain_torch():
            return fanin.Recipe.from_toml(recipe_text(self._items(self._state_dict())))

    def tensor_list(self) -> list[tuple[str, tuple[int, ...], str]]:
        """Returns name, shape and dtype (such as "float32") of each tensor of the state dict, in its order."""
        return [(t.name, t.shape, _dtype(t.tensor.dtype)) for t in self._state_dict()]

    def _state_dict(self) -> list[Named]:
        return [tensor for tensor in self._named.values() if tensor.kind in ("parameter", "buffer")]

    # Recipes

    def _items(self, tensors: list[Named], stored: str | None = None) -> list[Item]:
        """Returns the tensors with what a recipe gives them. `stored` is the file of tensors with other values."""
        listed = {tensor.name for tensor in tensors}
        return [Item(t.name, self._assignment(t, listed, stored)) for t in tensors]

    def _assignment(self, tensor: Named, listed: set[str], stored: str | None) -> Assignment:
        if tensor.of is not None and tensor.origin in ("tied", "same") and tensor.of in listed:
            other = self._assignment(self._named[tensor.of], listed, stored)
            if other.key not in ("keep", "skip"):
                return Assignment("tied_to" if tensor.origin == "tied" else "same_as", tensor.of)
            return other
        parts = tuple(
            Part(slice_text(p.slice, tensor.shape), p.init, p.values) for p in tensor.parts
        )
        comment = (
            "The model does not initialize these tensors." if tensor.origin == "uninit" else ""
        )
        if tensor.init is not None:
            return Assignment("init", tensor.init, parts, comment)
        if parts:
            return Assignment("parts", "", parts)
        values = numbers(tensor.known) if tensor.origin == "kept" else None
        if values is not None:
            return Assignment("values", values)
        return Assignment("skip", True) if stored is None else Assignment("keep", stored)

    # For the side that fills

    @plain_torch()
    def _plan(self, seed: int) -> fanin.Plan:
        """Returns the plan of all tensors that rules initialize, temporary buffers included."""
        if seed not in self._plans:
            items = self._items(list(self._named.values()))
            items = [item for item in items if item.assignment.key != "skip"]
            tensors = [self._named[item.name] for item in items]
            listed = [
                (tensor.name, tensor.shape, _dtype(tensor.tensor.dtype)) for tensor in tensors
            ]
            self._plans = {seed: fanin.Recipe.from_toml(recipe_text(items)).plan(listed, seed)}
        return self._plans[seed]

    @plain_torch()
    def _value(self, name: str, seed: int | None) -> torch.Tensor:
        """Returns the values of a whole tensor on the CPU.

        Args:
            name: A tensor whose origin is "kept", "derived" or "replay", or that is tied to one.
            seed: The seed. It is not used for kept tensors.
        """
        tensor = self._named[name]
        if tensor.origin == "tied" and tensor.of is not None:
            return self._value(tensor.of, seed)
        if tensor.origin in ("kept", "uninit"):
            return tensor.known.clone()
        assert tensor.ref is not None
        if seed is None:
            raise ValueError(
                f"tensor {name!r} depends on random numbers ({tensor.detail}): give a seed"
            )
        return self._replayed(tensor.ref, seed, self._streams)

    def _replayed(self, ref: Ref, seed: int, streams: Mapping[int, str]) -> torch.Tensor:
        given = {
            number: (lambda number=number, named=named: self._storage_bytes(number, named, seed))
            for number, named in self._sharing.given.items()
        }
        replay = Replay(
            self._recorder.log, self._recorder.storages, _draws.from_streams(streams, seed), given
        )
        return replay.value(ref)

    def _storage_bytes(self, number: int, named: list[Named], seed: int) -> torch.Tensor:
        """Returns the bytes of a storage that the tensors of a plan cover."""
        data = torch.zeros(self._recorder.storages[number].nbytes, dtype=torch.uint8)
        for tensor in named:
            ref = tensor.ref
            assert ref is not None
            filled = torch.empty(ref.size, dtype=ref.dtype)
            nbytes = filled.numel() * filled.element_size()
            self._plan(seed).fill_at(tensor.name, filled.data_ptr(), nbytes)
            view = torch.empty(0, dtype=ref.dtype).set_(
                data.untyped_storage(), ref.offset, ref.size, ref.stride
            )
            view.copy_(filled)
        return data

    def _storages(self) -> Storages:
        """Returns the storages of the recording, for code that gives the model's tensors memory."""
        return Storages(self)

    # Files

    @plain_torch()
    def save(self, path: str | Path, *, seed: int | None = None) -> None:
        """Writes the recipe, and beside it what `fanin init` needs to make the same weights.

        `m.toml` is the recipe, `m.tensors.json` holds names, shapes and dtypes, and `m.safetensors`
        holds the tensors whose numbers a recipe cannot name. It is written only if there are any.

        Args:
            path: The path of the recipe, which ends in `.toml`.
            seed: The seed. It is needed if tensors are computed from random numbers: their values
            are stored, and the
                recipe then has this seed.

        Raises:
            ValueError: The path does not end in `.toml`, or the model needs a seed.
        """
        path = Path(path)
        if path.suffix != ".toml":
            raise ValueError(
                f"{str(path)!r} is not the path of a recipe: use a name that ends in .toml"
            )
        tensors = self._state_dict()
        items = self._items(tensors, stored=path.with_suffix(".safetensors").name)
        kept = [item.name for item in items if item.assignment.key == "keep"]
        computed = [name for name in kept if self._depends_on_seed(name)]
        if computed and seed is None:
            raise ValueError(
                f"the values of {name_list(computed)} are computed from random numbers, so a recipe can only store them: "
                "give the seed, as in save(path, seed=1)"
            )
        top = [f"tensors = {quoted(path.with_suffix('.tensors.json').name)}"]
        if computed:
            top.append(f"seed = {seed}")
        text = recipe_text(items, self._header(), top)
        if kept:
            from safetensors.torch import save_file

            values = {name: self._value(name, seed).contiguous() for name in kept}
            save_file(values, path.with_suffix(".safetensors"))
        listed = [
            {"name": t.name, "shape": t.shape, "dtype": _dtype(t.tensor.dtype)} for t in tensors
        ]
        lines = ",\n".join(map(json.dumps, listed))
        path.with_suffix(".tensors.json").write_text(f"[\n{lines}\n]\n", encoding="utf-8")
        path.write_text(text, encoding="utf-8")

    def _depends_on_seed(self, name: str) -> bool:
        tensor = self._named[name]
        if tensor.of is not None and tensor.origin in ("tied", "same"):
            return self._depends_on_seed(tensor.of)
        return tensor.origin in ("derived", "replay")

    def _header(self) -> list[str]:
        kind = type(self.model)
        counts = ", ".join(f"{count} {origin}" for origin, count in self._counts().items())
        return [
            f"How {kind.__module__}.{kind.__qualname__} starts: {counts}.",
            f"Recorded by fanin.torch under torch {torch.__version__}.",
        ]


class Storages:
    """The storages of a recording: which one a live tensor has, and the values of those without a name."""

    def __init__(self, recorded: Recorded) -> None:
        """Takes the recording."""
        self._recorded = recorded
        self._recorder = recorded._recorder
        self.named = {t.ref.storage for t in recorded._named.values() if t.ref is not None}

    def ref(self, tensor: torch.Tensor) -> Ref | None:
        """Returns storage, size, stride and offset of a live tensor of the recording, or None for another tensor."""
        if self._recorder.number_of(tensor) is None:
            return None
        return self._recorder.ref(tensor)

    def nbytes(self, storage: int) -> int:
        """Returns the size of a storage in bytes."""
        return self._recorder.storages[storage].nbytes

    def streams(self, storage: int, name: str) -> dict[int, str]:
        """Returns the name of the stream of each draw that a storage without a named tensor needs.

        A draw that is a whole named tensor has that tensor's stream. The others have `<name>//0`,
        `<name>//1` and so on, in the order of the constructor.
        """
        log, sharing = self._recorder.log, self._recorded._sharing
        positions = log.needed([storage], sharing.given).entries
        draws = [log.entries[position].draw for position in positions]
        streams = {}
        for index, draw in enumerate(draw for draw in draws if draw is not None):
            owner = sharing.owner(draw, sharing.tensors)
            own = f"{name}//{index}" if owner is None else owner.name
            streams[draw] = self._recorded._streams.get(draw, own)
        return streams

    @plain_torch()
    def value(self, storage: int, seed: int, name: str) -> torch.Tensor:
        """Returns the bytes of a storage that no tensor names, as a tensor of uint8 on the CPU.

        Args:
            storage: The number of the storage.
            seed: The seed.
            name: What the streams of draws that no named tensor needs are called, see `streams`.
        """
        ref = Ref(storage, torch.uint8, (self.nbytes(storage),), (1,), 0)
        return self._recorded._replayed(ref, seed, self.streams(storage, name))


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
        TypeError: `make` cannot be called or returns something else than a module, or the model has
        tensors of a class
            or layout that is not supported.
        ValueError: A parameter is lazy, so it has no shape yet. With `strict`, also for each reason
        of a warning. RuntimeError: `record` was called within the constructor of a model that is
        being recorded.

    Example:
        >>> import torch
        >>> recorded = record(torch.nn.Linear, 784, 512)
        >>> recorded.tensors["weight"].init
        'uniform(low=-0.03571428571428571,high=0.03571428571428571)'
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
    with generators() as drew, recording() as recorder:
        model = make(*args, **kwargs)
        if not isinstance(model, nn.Module):
            raise TypeError(
                f"record needs a torch.nn.Module, but {_name_of(make)} returned {_described(model)}"
            )
        named = named_tensors(model, recorder)
    recorded = conclude(model, recorder, named, drew)
    warn_uninitialized(named, recorder)
    if strict and recorded.warnings:
        raise RecordError(f"{_name_of(make)}: {'; '.join(recorded.warnings)}")
    return recorded


def conclude(
    model: nn.Module, recorder: Recorder, named: list[Named], drew: list[str]
) -> Recorded:
    """Returns how the tensors of a model start, after a recording has ended.

    Args:
        model: The model.
        recorder: The recording.
        named: The model's tensors, by `named_tensors` within the recording.
        drew: What `generators` found.
    """
    for what in drew:
        recorder.warn(what)
    with plain_torch():
        classify(named, recorder)
    return Recorded(model, recorder, named)


def named_tensors(model: nn.Module, recorder: Recorder) -> list[Named]:
    """Returns the tensors of a model: the state dict in its order, then what is not in it."""
    found: dict[str, Named] = {}
    for key, tensor in model.state_dict(keep_vars=True).items():
        if isinstance(tensor, torch.Tensor):  # else the extra state of a module
            kind = "parameter" if isinstance(tensor, nn.Parameter) else "buffer"
            _add(found, canonical(model, key), kind, tensor, recorder)
    for key, tensor in (*_every(model, "parameters"), *_every(model, "buffers")):
        name = canonical(model, key)
        if name not in found:
            _add(
                found,
                name,
                "temporary parameter" if isinstance(tensor, nn.Parameter) else TEMPORARY,
                tensor,
                recorder,
            )
    return list(found.values())


def _every(model: nn.Module, what: str) -> Iterator[tuple[str, torch.Tensor]]:
    for prefix, module in model.named_modules(remove_duplicate=False):
        for name, tensor in getattr(module, f"_{what}").items():
            if tensor is not None:
                yield (f"{prefix}.{name}" if prefix else name), tensor


def _add(
    found: dict[str, Named], name: str, kind: str, tensor: torch.Tensor, recorder: Recorder
) -> None:
    if isinstance(tensor, nn.parameter.UninitializedTensorMixin):
        raise RecordError(
            f"tensor {name!r} is lazy, so it has no shape yet: run the model once in the function"
        )
    if name in found:
        raise RecordError(
            f"two tensors are called {name!r} without the names of wrappers: give them different names"
        )
    what = unsupported(tensor)
    if what is not None:
        raise RecordError(f"tensor {name!r} has {what}, which is not supported: use dense tensors")
    tensor = (
        tensor
        if not tensor.is_conj() and not tensor.is_neg()
        else tensor.resolve_conj().resolve_neg()
    )
    if recorder.is_recorded(tensor):
        ref = recorder.ref(tensor)
        named = Named(
            name,
            kind,
            tensor,
            tuple(ref._replace(size=(), stride=())) + ref.geometry,
            ref,
            recorder.read(ref),
        )
        named.evaluate = lambda: recorder.evaluate(ref)
    else:
        with plain_torch():
            key = (
                tensor.untyped_storage()._cdata,
                tensor.dtype,
                tensor.shape,
                tensor.stride(),
                tensor.storage_offset(),
            )
        named = Named(name, kind, tensor, key, None, Known())
        named.evaluate = lambda: tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
    found[name] = named


def warn_uninitialized(named: list[Named], recorder: Recorder) -> None:
    """Adds a warning with the tensors whose values the model's code does not write."""
    bare = [t.name for t in named if isinstance(t.value, Uninit) and t.origin != "tied"]
    partly = [
        t.name
        for t in named
        if isinstance(t.value, Mixed)
        and any(isinstance(piece.value, Uninit) for piece in t.value.pieces)
    ]
    if bare:
        recorder.warn(
            f"the model does not initialize {name_list(bare)}: fanin makes zeros, torch leaves what is in memory"
        )
    if partly:
        recorder.warn(
            f"the model initializes only a part of {name_list(partly)}: fanin makes zeros of the rest"
        )


@contextmanager
def generators() -> Iterator[list[str]]:
    """Restores torch's random number generator, and says afterwards which other generators were used."""
    found: list[str] = []
    with plain_torch():
        of_torch = torch.get_rng_state()
    of_python, of_numpy = random.getstate(), np.random.get_state()
    try:
        yield found
    finally:
        with plain_torch():
            changed = not torch.equal(of_torch, torch.get_rng_state())
            torch.set_rng_state(of_torch)
        if changed:
            found.append(
                "the model seeds torch's random number generator: the seed is ignored, and fanin's "
                "streams are used"
            )
        if of_python != random.getstate():
            found.append(
                "the model draws from Python's random: its numbers are recorded, and do not follow the seed"
            )
        if any(not np.array_equal(a, b) for a, b in zip(of_numpy, np.random.get_state())):
            found.append(
                "the model draws from numpy.random: its numbers are recorded, and do not follow the seed"
            )


def _public(tensor: Named) -> RecordedTensor:
    parts = tuple(
        RecordedPart(part.slice, part.init if part.init is not None else f"values{part.values}")
        for part in tensor.parts
    )
    return RecordedTensor(
        name=tensor.name,
        kind=tensor.kind,
        shape=tensor.shape,
        dtype=tensor.tensor.dtype,
        origin=tensor.origin,
        init=tensor.init,
        parts=parts,
        of=tensor.of,
        detail=tensor.detail,
    )


def _dtype(dtype: torch.dtype) -> str:
    return str(dtype).replace("torch.", "")


def name_list(names: list[str]) -> str:
    shown = ", ".join(repr(name) for name in names[:10])
    return shown if len(names) <= 10 else f"{shown} and {len(names) - 10} more"


def _described(thing: object) -> str:
    if isinstance(thing, nn.Module):
        return f"the module {type(thing).__name__} itself"
    if isinstance(thing, (list, tuple, dict)):
        return f"a {type(thing).__name__}: put the modules into one torch.nn.Module"
    return f"an object of the class {type(thing).__name__}"


def _name_of(make: object) -> str:
    return getattr(make, "__qualname__", type(make).__name__)
