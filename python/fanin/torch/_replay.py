"""The log of a recording and its replay: the same operations on real CPU tensors.

A replay runs only the operations that a value needs. It gives buffers such as rotary frequencies
their numbers, and values without a closed form that depend on random numbers. Draws then come from
fanin's streams. The bits of such a value depend on torch's CPU arithmetic. A replay uses one
thread, so they do not depend on the machine's cores.
"""

from __future__ import annotations

import bisect
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Callable

import torch
from torch._ops import OpOverload

from fanin.torch._forms import Form
from fanin.torch._storage import Ref, Storage
from fanin.torch._trees import leaves, map_leaves

#: A context in which no function mode sees what is called.
no_function_modes = torch._C.DisableTorchFunction


@dataclass
class Entry:
    """An operation. Its arguments hold a `Ref` for each recorded tensor, and copies of data."""

    call: OpOverload | None  # None: `form` is drawn into the only view of `writes`
    args: Sequence[Any] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    outs: Sequence[Ref | None] = ()  # for each leaf of the result; None for what is no tensor
    reads: frozenset[int] = frozenset()
    writes: Sequence[Ref] = ()
    creates: frozenset[int] = frozenset()
    overwrites: frozenset[int] = frozenset()  # storages whose former content does not matter
    draw: int | None = None  # the number of the draw if the operation draws random numbers
    form: Form | None = None  # what it draws, if it has a name
    data: torch.Tensor | None = None  # the bytes of a storage that the model was given

    @property
    def target(self) -> Ref:
        """The view that a draw fills."""
        return next(ref for ref in (*self.writes, *self.outs) if ref is not None)


class Log:
    """The operations of a recording, in order."""

    def __init__(self) -> None:
        """Begins with no operation."""
        self.entries: list[Entry] = []
        self.writers: dict[int, list[int]] = {}

    def append(self, entry: Entry) -> None:
        """Adds an operation."""
        for storage in entry.creates | {ref.storage for ref in entry.writes}:
            self.writers.setdefault(storage, []).append(len(self.entries))
        self.entries.append(entry)

    def last_writer(self, storage: int) -> int:
        """Returns the position of the last operation that wrote to a storage, or -1."""
        return self.writers.get(storage, [-1])[-1]

    def needed(self, storages: Iterable[int], given: Container[int]) -> Needed:
        """Returns what the final values of storages depend on.

        Args:
            storages: The numbers of the storages.
            given: Storages whose final values need no replay. Where an operation reads such a
                value, the search ends.
        """
        entries: set[int] = set()
        used: set[int] = set()
        seen: set[tuple[int, int]] = set()
        stack = [(storage, len(self.entries)) for storage in storages]
        while stack:
            storage, before = stack.pop()
            writers = self.writers.get(storage, [])
            index = bisect.bisect_left(writers, before) - 1
            if storage in given and index == len(writers) - 1:
                used.add(storage)
                continue
            if index < 0 or (storage, writers[index]) in seen:
                continue
            position = writers[index]
            seen.add((storage, position))
            entry = self.entries[position]
            if storage not in entry.overwrites:
                stack.append((storage, position))
            if position not in entries:
                entries.add(position)
                stack.extend((read, position) for read in entry.reads - entry.overwrites)
        return Needed(sorted(entries), used)


@dataclass
class Needed:
    """The operations that a value needs, by position, and the given storages that they read."""

    entries: list[int]
    given: set[int]


#: Fills a real tensor with the numbers of a draw.
Draw = Callable[[Entry, torch.Tensor], None]


class Replay:
    """Runs operations of a log on the CPU."""

    def __init__(
        self,
        log: Log,
        storages: Sequence[Storage],
        draw: Draw,
        given: Mapping[int, Callable[[], torch.Tensor]] | None = None,
    ) -> None:
        """Prepares a replay.

        Args:
            log: The operations.
            storages: The storages of the recording.
            draw: Fills a tensor with random numbers.
            given: Functions that return the final bytes of storages, a tensor of uint8.
        """
        self.log, self.storages, self.draw = log, storages, draw
        self.given = given or {}
        self.real: dict[int, torch.UntypedStorage] = {}
        self.without: dict[int, str] = {}  # storages that an operation did not make, and why

    def value(self, ref: Ref) -> torch.Tensor:
        """Returns the final values of a view, in a new tensor on the CPU."""
        with plain_torch(), _one_thread():
            needed = self.log.needed([ref.storage], self.given)
            # A storage is given after its last write: a replay can need its former values, too.
            given = sorted(needed.given, key=self.log.last_writer, reverse=True)
            for position in needed.entries:
                while given and self.log.last_writer(given[-1]) < position:
                    self._give(given.pop())
                self._run(self.log.entries[position])
            for storage in given:
                self._give(storage)
            return self._tensor(ref).clone(memory_format=torch.contiguous_format)

    def _give(self, storage: int) -> None:
        self.real[storage] = self.given[storage]().untyped_storage()

    def _tensor(self, ref: Ref) -> torch.Tensor:
        if ref.storage not in self.real:
            nbytes = self.storages[ref.storage].nbytes
            self.real[ref.storage] = torch.zeros(nbytes, dtype=torch.uint8).untyped_storage()
        empty = torch.empty(0, dtype=ref.dtype)
        return empty.set_(self.real[ref.storage], ref.offset, ref.size, ref.stride)

    def _run(self, entry: Entry) -> None:
        if entry.data is not None:
            for storage in entry.creates:
                self.real[storage] = entry.data.clone().untyped_storage()
            return
        if entry.form is not None:
            self.draw(entry, self._tensor(entry.target))
            return
        assert entry.call is not None
        args = map_leaves(self._argument, entry.args)
        kwargs = map_leaves(self._argument, entry.kwargs)
        if entry.draw is None:
            result = entry.call(*args, **kwargs)
        else:
            result = _drawn(entry.call, args, kwargs, _seed(self.draw, entry))
        for ref, out in zip(entry.outs, leaves(result)):
            if ref is not None and ref.storage in entry.creates:
                self._keep(entry, ref, out)

    def _argument(self, leaf: Any) -> Any:
        if isinstance(leaf, Ref):
            if leaf.storage in self.without:
                raise ValueError(self.without[leaf.storage])
            return self._tensor(leaf)
        return torch.device("cpu") if isinstance(leaf, torch.device) else leaf

    def _keep(self, entry: Entry, ref: Ref, out: torch.Tensor | None) -> None:
        """Keeps a result, laid out as in the recording, which can differ from the CPU's layout.

        The CPU leaves out some results that other devices have, for a backward pass.
        """
        if out is None or out.numel() != ref.numel:
            shape = None if out is None else tuple(out.shape)
            self.without[ref.storage] = f"{entry.call} gives {shape} in place of {ref.size}"
            return
        self.without.pop(ref.storage, None)
        same_layout = (tuple(out.stride()), out.storage_offset()) == (ref.stride, ref.offset)
        if same_layout and out.untyped_storage().nbytes() == self.storages[ref.storage].nbytes:
            self.real[ref.storage] = out.untyped_storage()
        else:
            self.real.pop(ref.storage, None)
            self._tensor(ref).copy_(out)


def _drawn(call: OpOverload, args: Sequence[Any], kwargs: dict[str, Any], seed: int) -> Any:
    """Returns the result of a random operation with a seed."""
    with_generator = _with_generator(call)
    if with_generator is not None:
        generator = torch.Generator().manual_seed(seed)
        return with_generator(*args, **{**kwargs, "generator": generator})
    with seeded_torch(seed):
        return call(*args, **kwargs)


def _with_generator(call: OpOverload) -> OpOverload | None:
    """Returns the overload of an operation that takes a generator, or None."""
    own = call._overloadname
    packet = call.overloadpacket
    # Such as randperm.default and randperm.generator, randint.low and randint.low_generator.
    other = "generator" if own == "default" else f"{own}_generator"
    for name in (own, other, own.replace("_dtype", "_generator_dtype")):
        found = getattr(packet, name, None) if name in packet.overloads() else None
        if found is not None and any(a.name == "generator" for a in found._schema.arguments):
            return found  # type: ignore[no-any-return]
    return None


def _seed(draw: Draw, entry: Entry) -> int:
    """Returns a seed for torch's generator, for a draw that fanin has no stream for.

    It is drawn from the stream of the draw, so the values follow the caller's seed.
    """
    words = torch.empty(4, dtype=torch.float32)
    draw(entry, words)
    seed = 0
    for word in words.tolist():
        seed = ((seed << 16) ^ int(word * (1 << 24))) & ((1 << 63) - 1)
    return seed


@contextmanager
def seeded_torch(seed: int) -> Iterator[None]:
    """Seeds torch's CPU generator for an operation that takes no other one, and restores it."""
    # Not torch.set_rng_state, which a recording watches.
    generator = torch.default_generator
    state = generator.get_state()
    try:
        generator.manual_seed(seed)
        yield
    finally:
        generator.set_state(state)


@contextmanager
def plain_torch() -> Iterator[None]:
    """Runs torch without modes, such as those of a recording, and without gradients."""
    with torch._C._DisableTorchDispatch(), no_function_modes(), torch.no_grad():
        yield


@contextmanager
def _one_thread() -> Iterator[None]:
    """Runs torch on one thread, because sums can be added in another order on several."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
