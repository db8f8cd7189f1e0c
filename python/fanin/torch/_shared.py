"""Memory that numpy shares with recorded tensors: each side sees what the other one writes."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import torch

from fanin.torch._problems import place
from fanin.torch._replay import plain_torch
from fanin.torch._storage import Ref


@dataclass
class _Shared:
    ref: Ref  # the view whose elements the memory has
    memory: torch.Tensor  # on the CPU
    before: torch.Tensor  # its elements when it was last looked at
    place: str
    user: Callable[[], Any]  # returns None once no array of numpy has the memory any more


class SharedMemory:
    """The memory that numpy shares with recorded tensors.

    torch's operations on recorded tensors change no memory, and numpy's are not seen. So the memory
    is looked at before an operation on such a tensor, and written after it.
    """

    def __init__(self) -> None:
        """Begins with none."""
        self._by_storage: dict[int, list[_Shared]] = {}

    def __bool__(self) -> bool:
        """Returns true if there is any."""
        return bool(self._by_storage)

    def add(self, ref: Ref, memory: torch.Tensor, array: Any = None) -> None:
        """Adds memory with the elements of a view.

        Args:
            ref: The view.
            memory: A tensor on the CPU with the same elements, in the same order.
            array: The only array of numpy that has the memory, with its views. None if there may be
                others.
        """
        user = (lambda: memory) if array is None else weakref.ref(array)
        shared = _Shared(ref, memory, memory.clone(), place(), user)
        self._by_storage.setdefault(ref.storage, []).append(shared)

    def of(self, storages: Iterable[int]) -> Iterator[_Shared]:
        """Yields the memory of storages that numpy can still use."""
        for storage in storages:
            for shared in self._by_storage.get(storage, ()):
                if shared.user() is not None:
                    yield shared

    def changes(
        self, storages: Iterable[int] | None = None
    ) -> Iterator[tuple[Ref, torch.Tensor, str]]:
        """Yields each view that numpy has changed, its new elements, and where it got the memory.

        Args:
            storages: The storages to look at. None stands for all.
        """
        for storage in list(self._by_storage) if storages is None else storages:
            found = self._by_storage.pop(storage, ())
            for shared in found:
                with plain_torch():
                    if _same(shared.memory, shared.before):
                        continue
                    shared.before = shared.memory.clone()
                yield shared.ref, shared.before, shared.place
            in_use = [shared for shared in found if shared.user() is not None]
            if in_use:
                self._by_storage[storage] = in_use

    @staticmethod
    def write(shared: _Shared, values: torch.Tensor) -> None:
        """Gives numpy the values that a recorded tensor has now."""
        with plain_torch():
            shared.memory.copy_(values)
            shared.before = shared.memory.clone()


def _same(a: torch.Tensor, b: torch.Tensor) -> bool:
    """Returns true if tensors of one shape and dtype have the same bits, so NaN is itself."""
    as_bytes = (x.reshape(-1).contiguous().view(torch.uint8) for x in (a, b))
    return torch.equal(*as_bytes)
