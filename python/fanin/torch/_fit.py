"""Checks that the tensors of a model and the values for them fit."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch

from fanin._errors import ArgumentError
from fanin.torch._fill import checked_part
from fanin.torch._geometry import Part
from fanin.torch._listing import name_list
from fanin.torch._model import Slot
from fanin.torch._values import Values


def check_memory(chosen: Iterable[Slot]) -> dict[str, Part]:
    """Returns the parts of tensors that this process holds, by name. All can be written."""
    bare = [slot.name for slot in chosen if slot.tensor.is_meta]
    if bare:
        raise ArgumentError(
            f"{name_list(bare)} are on the meta device; call model.to_empty(device=...) first"
        )
    parts = {slot.name: checked_part(slot.tensor, slot.name) for slot in chosen}
    by_storage: dict[int, list[tuple[str, torch.Tensor]]] = {}
    for name, part in parts.items():
        if part.memory.numel() > 0:
            start = part.memory.untyped_storage().data_ptr()
            by_storage.setdefault(start, []).append((name, part.memory))
    for views in by_storage.values():
        _check_apart(views)
    return parts


def _check_apart(views: Sequence[tuple[str, torch.Tensor]]) -> None:
    """Checks that no two views of a storage share elements.

    Raises:
        ArgumentError: If two do: the values of the second would replace those of the first.
    """
    ends = [_bytes(memory) for _, memory in views]
    ordered = sorted(ends)
    if all(start >= end for (_, end), (start, _) in zip(ordered, ordered[1:])):
        return
    # The bytes of all elements are marked.
    first, last = ordered[0][0], max(end for _, end in ends)
    taken = torch.zeros(last - first, dtype=torch.uint8, device="cpu")
    for (name, memory), (start, _) in zip(views, ends):
        marks = taken.as_strided(
            (*memory.size(), memory.itemsize),
            (*(stride * memory.itemsize for stride in memory.stride()), 1),
            start - first,
        )
        if marks.any():
            raise ArgumentError(
                f"tensor {name!r} shares memory with another tensor of the model, and is no tie of "
                "it; give each of them memory of its own"
            )
        marks.fill_(1)


def _bytes(memory: torch.Tensor) -> tuple[int, int]:
    """Returns the range of bytes of its storage that a view with elements reaches."""
    reach = sum((size - 1) * stride for size, stride in zip(memory.size(), memory.stride()))
    start = int(memory.storage_offset())
    return start * memory.itemsize, (start + int(reach) + 1) * memory.itemsize


def check_written(chosen: Iterable[Slot], values: Values, by: object) -> None:
    """Checks that code has written all tensors."""
    bare = [slot.name for slot in chosen if values.origin(values.owner(slot.name)) == "uninit"]
    if bare:
        what = "the model's own init code" if by is None else f"by={getattr(by, '__name__', by)!r}"
        raise ArgumentError(
            f"{what} writes no values of {name_list(bare)}; use recipe=record(...) of the function "
            "that makes the model, or leave them out by only"
        )


def check_values(chosen: Iterable[Slot], values: Values) -> list[str]:
    """Checks that tensors have values of their shapes. Returns warnings of those that have none."""
    missing = [slot for slot in chosen if slot.name not in values]
    lost = [slot.name for slot in missing if not (slot.is_temporary and values.recorded is None)]
    lost = [name for name in lost if name not in values.plan.skipped]
    are_complex = [slot.name for slot in missing if slot.name in lost and slot.tensor.is_complex()]
    if are_complex and values.recorded is None:
        raise ArgumentError(
            f"{name_list(are_complex)} have complex numbers, which a recipe cannot make; use "
            "recipe=record(...) of the function that makes the model, or leave them out by only"
        )
    if lost:
        raise ArgumentError(f"the recipe has no values for {name_list(lost)}")
    for slot in chosen:
        if slot.name not in values:
            continue
        shape, is_complex = values.shape(slot.name), values.is_complex(slot.name)
        if shape != tuple(slot.tensor.shape) or is_complex != slot.tensor.is_complex():
            raise ArgumentError(
                f"tensor {slot.name!r} has shape {tuple(slot.tensor.shape)}, {slot.tensor.dtype}; "
                f"its values have shape {shape}, {values.dtype(slot.name)}"
            )
    kept = [slot.name for slot in missing if slot.name not in values.plan.skipped]
    if not kept:
        return []
    return [
        f"the recipe has no rule for {name_list(kept)}, which the state dict leaves out: they stay "
        "as they are, which is wrong after to_empty"
    ]


def about_ties(tied: Iterable[Sequence[Slot]], values: Values) -> list[str]:
    """Returns warnings of tensors that are tied in the model or in the rules, but not in both."""
    warned = []
    memories = {slot.name: at for at, slots in enumerate(tied) for slot in slots}
    for first, *others in tied:
        for slot in others:
            names = [name for name in (first.name, slot.name) if name in values]
            if len({values.owner(name) for name in names}) > 1:
                warned.append(
                    f"{slot.name!r} is the same tensor as {first.name!r}, but the recipe does not "
                    f"tie them: the values are those of {first.name!r}"
                )
    for name, memory in memories.items():
        owner = values.owner(name) if name in values else name
        if memories.get(owner, memory) != memory:
            warned.append(
                f"{name!r} is tied to {owner!r} by the recipe, but the model has two tensors, as "
                "to_empty makes them: they start equal and train apart; tie them again"
            )
    return warned
