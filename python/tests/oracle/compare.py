"""Lists where a recording differs from the model that torch constructs."""

from __future__ import annotations

import hashlib
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import fanin

from . import laws, real

#: The classes of tensors that need no random number of their own.
REFERS = ("tied", "same")
#: Share of the elements of a random tensor that may be equal at two seeds, by the bits of a
#: significand: two draws of bfloat16 (8 bits) often round to one number, two draws of float32 (24
#: bits) almost never.
_CHANCE = {torch.float64: 1e-3, torch.float32: 1e-3, torch.float16: 0.01, torch.bfloat16: 0.08}


def differences(
    recorded: Any, make: Callable[[], nn.Module], build: Callable[..., nn.Module]
) -> list[str]:
    """Returns a line for each difference between a recording and two real constructions.

    The checks: names in order, kinds, shapes, dtypes; uninitialized tensors; the elements that are
    random; ties and copies; all known values, bit for bit, as `build` makes them; the saved recipe,
    which makes what `build` makes.
    """
    first, second = real.construct(make, 1), real.construct(make, 2)
    one, two = real.tensors(first), real.tensors(second)
    found = list(structure(recorded, first, one))
    if found:
        return found
    made = real.tensors(build(make, seed=3))
    for name, entry in recorded.tensors.items():
        tensors = (one[name].tensor, two[name].tensor, made[name].tensor)
        found += (f"{name} ({entry.origin}): {text}" for text in _values(entry, *tensors))
    found += sharing(recorded, one)
    found += sharing(recorded, made)
    found += saved(recorded, made, seed=3)
    return found


def structure(recorded: Any, model: nn.Module, tensors: dict[str, real.Listed]) -> Iterator[str]:
    """Compares names, their order, kinds, shapes, dtypes and `requires_grad`."""
    if list(recorded.tensors) != list(tensors):
        lost = [name for name in tensors if name not in recorded.tensors]
        extra = [name for name in recorded.tensors if name not in tensors]
        yield f"lost {lost}, not in the real model {extra}" if lost or extra else "another order"
        return
    gradients = {name: p.requires_grad for name, p in recorded.model.named_parameters()}
    for name, p in model.named_parameters():
        if gradients.get(name) != p.requires_grad:
            yield f"{name}: requires_grad {gradients.get(name)} instead of {p.requires_grad}"
    for name, listed in tensors.items():
        entry = recorded.tensors[name]
        got = (entry.kind, tuple(entry.shape), entry.dtype)
        wanted = (listed.kind, tuple(listed.tensor.shape), listed.tensor.dtype)
        if got != wanted:
            yield f"{name}: {got} instead of {wanted}"


def _values(entry: Any, one: Tensor, two: Tensor, made: Tensor) -> Iterator[str]:
    if made.shape != one.shape or made.dtype != one.dtype:
        yield f"built as {made.dtype} {list(made.shape)}"
        return
    unset = real.uninitialized(one)
    if entry.origin == "uninit":
        if not bool(unset.all()):
            yield f"torch initializes {int((~unset).sum())} elements"
        return
    if entry.origin not in REFERS and bool(unset.any()):
        yield f"torch initializes all but {int(unset.sum())} elements"
        return
    drawn = real.differing(one, two)
    random = random_elements(entry)
    if random is None:  # Of these only a distribution is known.
        return
    lost = drawn & ~random
    if bool(lost.any()):
        yield f"{int(lost.sum())} elements are random in torch, known here"
    wrong = real.differing(one, made) & ~random & ~lost
    if bool(wrong.any()):
        at = tuple(int(i[0]) for i in torch.nonzero(wrong, as_tuple=True))
        yield f"{int(wrong.sum())} known elements differ, first at {at}: {made[at]} for {one[at]}"
    known = int((random & ~drawn).sum())
    if known > 1 + _CHANCE.get(one.dtype, 1) * int(random.sum()) and not laws.repeats(entry.init):
        yield f"{known} elements are known in torch, random here"


def random_elements(entry: Any) -> Tensor | None:
    """Returns a mask of the elements that a recording calls random, or None if it does not say."""
    if entry.origin in ("derived", "replay", *REFERS):
        return None
    mask = torch.full(tuple(entry.shape), bool(entry.init) and not laws.known(entry.init))
    # The first part that holds an element applies.
    for part in reversed(entry.parts):
        where = tuple(slice(start, end) for start, end in part.slice)
        mask[where] = not laws.known(part.init)
    return mask


def sharing(recorded: Any, tensors: dict[str, real.Listed]) -> Iterator[str]:
    """Compares ties with shared memory, and copies with equal values."""
    for name, entry in recorded.tensors.items():
        if entry.origin not in REFERS:
            continue
        a, b = tensors[name].tensor, tensors[entry.of].tensor
        if entry.origin == "tied" and (a.data_ptr() != b.data_ptr() or a.stride() != b.stride()):
            yield f"{name}: not tied to {entry.of}"
        if not real.equal(a, b):
            yield f"{name}: not equal to {entry.of}"
    yield from _unrecorded(recorded, tensors)


def _unrecorded(recorded: Any, tensors: dict[str, real.Listed]) -> Iterator[str]:
    """Finds tensors of equal random values that the recording calls independent."""
    groups: dict[bytes, set[str]] = defaultdict(set)
    for name, entry in recorded.tensors.items():
        root = entry.of if entry.origin in REFERS else name
        random = random_elements(recorded.tensors[root])
        if random is None or int(random.sum()) > 3:
            groups[hashlib.sha1(real.bits(tensors[name].tensor).numpy().data).digest()].add(root)
    for roots in groups.values():
        if len(roots) > 1:
            yield f"equal random values, not recorded as copies: {sorted(roots)}"


def saved(recorded: Any, made: dict[str, real.Listed], seed: int) -> Iterator[str]:
    """Compares the tensors of the state dict that a saved recipe gives with those of `build`."""
    listed = recorded.tensor_list()
    if not listed:
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "m.toml"
        recorded.save(path, seed=seed)
        plan = fanin.Recipe.load(path).plan(listed, seed)
        if list(plan.names) != [name for name, _, _ in listed]:
            yield f"the recipe makes {len(list(plan.names))} of {len(listed)} tensors"
            return
        for name, shape, _ in listed:
            wanted = made[name].tensor.detach()
            got = torch.empty(shape, dtype=wanted.dtype)
            plan.fill_at(name, got.data_ptr(), got.numel() * got.element_size())
            if not real.equal(got, wanted):
                yield f"{name}: the recipe gives other bits"
