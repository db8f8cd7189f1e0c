"""The part of a tensor that this process holds: ranges of indices from a DTensor's placements."""

from __future__ import annotations

import itertools
import math
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, cast

import torch

from fanin import _native
from fanin._errors import ArgumentError

if TYPE_CHECKING:
    from torch.distributed.tensor import DTensor

Range = tuple[int, int]
"""A half-open range of indices along one dimension."""

Box = tuple[Range, ...]
"""A range for each dimension."""

Ranges = tuple[tuple[Range, ...], ...]
"""Ascending ranges for each dimension. They select the elements whose every index is in one."""


@dataclass(frozen=True)
class Part:
    """The part of a tensor that this process holds, and its memory."""

    memory: torch.Tensor
    """A plain tensor that holds the part, its ranges moved together."""
    ranges: Ranges
    """The indices of the whole tensor that the part has along each dimension."""
    how: str = ""
    """The way in which its values were made, such as `"filled on cuda:0 by Triton"`."""

    def boxes(self) -> Iterator[tuple[Box, Box]]:
        """Yields the boxes of the part: in the whole tensor, and in the memory."""
        if self.memory.numel() == 0:
            return
        for pairs in itertools.product(*(_with_positions(ranges) for ranges in self.ranges)):
            yield tuple(pair[0] for pair in pairs), tuple(pair[1] for pair in pairs)


def _with_positions(ranges: tuple[Range, ...]) -> list[tuple[Range, Range]]:
    """Returns each range with its place when the ranges follow each other from 0."""
    pairs = []
    at = 0
    for start, end in ranges:
        pairs.append(((start, end), (at, at + end - start)))
        at += end - start
    return pairs


def as_dtensor(tensor: torch.Tensor) -> DTensor | None:
    """Returns the tensor if it is a `torch.distributed.tensor.DTensor`, else None."""
    # Not imported here: the module takes long to load, and torch may be built without it.
    module: Any = sys.modules.get("torch.distributed.tensor")
    if module is not None and isinstance(tensor, module.DTensor):
        return cast("DTensor", tensor)
    return None


def part_of(tensor: torch.Tensor, name: str) -> Part:
    """Returns the part of a tensor that this process holds: all of it, unless it is a DTensor.

    A process outside of a DTensor's mesh holds nothing.

    Args:
        tensor: A plain tensor, or a DTensor.
        name: The tensor's name, for errors.

    Raises:
        ValueError: For a placement other than `Replicate`, `Shard` and `_StridedShard`, and for a
            local tensor whose shape is not the one that the placements give.
    """
    dtensor = as_dtensor(tensor)
    if dtensor is None:
        return Part(tensor, tuple(((0, size),) for size in tensor.shape))
    with torch.no_grad():
        memory = dtensor.to_local()
    divisions = _divisions(dtensor, name)
    for ranges in divisions:
        # The shape of an empty local tensor differs between versions of torch.
        dims = _dims(ranges)
        if tuple(memory.shape) == dims or (memory.numel() == 0 and 0 in dims):
            return Part(memory, ranges)
    if not divisions and memory.numel() == 0:
        return Part(memory, ())
    raise ArgumentError(
        f"tensor {name!r}: its local tensor has shape {tuple(memory.shape)}, but shape "
        f"{tuple(tensor.shape)} with the placements {tuple(dtensor.placements)} gives this rank "
        f"{_dims(divisions[-1]) if divisions else 'nothing'}"
    )


def _dims(ranges: Ranges) -> tuple[int, ...]:
    return tuple(sum(end - start for start, end in held) for held in ranges)


def _divisions(tensor: DTensor, name: str) -> list[Ranges]:
    """Returns the indices that this process can hold of a DTensor, the likeliest first.

    Returns:
        Nothing for a process outside of the tensor's mesh. Else each has at least one range for
        each dimension. There are two if torch reads the placements in two ways.

    Raises:
        ValueError: For a placement other than `Replicate`, `Shard` and `_StridedShard`.
    """
    mesh = tensor.device_mesh
    names = mesh.mesh_dim_names or range(mesh.ndim)
    texts = [
        _placement_text(placement, f"tensor {name!r}: {placement!r} on mesh dimension {at!r}")
        for at, placement in zip(names, tensor.placements)
    ]
    coordinate = mesh.get_coordinate()
    if coordinate is None:
        return []
    cuts = [
        _Cut(text, mesh.size(at), coordinate[at], tensor.placements[at])
        for at, text in enumerate(texts)
    ]
    orders = [order for order in (_inner_first(cuts), cuts) if order is not None]
    return [_indices(tuple(tensor.shape), order) for order in orders]


@dataclass(frozen=True)
class _Cut:
    """The division of a tensor along one dimension of a mesh."""

    text: str
    ranks: int
    position: int
    placement: Any


def _indices(shape: tuple[int, ...], cuts: list[_Cut]) -> Ranges:
    """Returns the indices that are left along each dimension, after one cut after the other."""
    # The rank within the mesh, row-major: a mesh can be a part of the world in any order.
    rank = 0
    for cut in cuts:
        rank = rank * cut.ranks + cut.position
    sizes, texts = [cut.ranks for cut in cuts], [cut.text for cut in cuts]
    held = _native.local_indices(list(shape), sizes, texts, rank)
    return tuple(tuple(ranges) for ranges in held)


def _inner_first(cuts: list[_Cut]) -> list[_Cut] | None:
    """Returns the order in which FSDP2 divides a tensor that other parallelism has divided.

    FSDP2 cuts what tensor and expert parallelism leave, although its mesh dimension comes first.
    torch writes this as a `_StridedShard` whose split factor is the number of the other pieces.
    Where sizes are uneven, `DTensor.full_tensor` and checkpoints read these placements from the
    first to the last, which gives other indices than those that FSDP2 computes with.

    Returns:
        None if the placements are no such division.
    """
    first, last = [], []
    for at, cut in enumerate(cuts):
        if not cut.text.startswith("strided_shard"):
            first.append(cut)
            continue
        dim = cut.placement.dim
        inner = [later.ranks for later in cuts[at + 1 :] if later.text == f"shard({dim})"]
        if cut.placement.split_factor != math.prod(inner) or any(
            earlier.text == f"shard({dim})" for earlier in cuts[:at]
        ):
            return None
        last.append(replace(cut, text=f"shard({dim})"))
    return first + last[::-1] if last else None


def _placement_text(placement: Any, where: str) -> str:
    """Returns a placement as the native library reads it, such as `shard(0)`."""
    kind = type(placement).__name__
    if kind == "Replicate":
        return "replicate"
    if kind == "Shard":
        return f"shard({placement.dim})"
    if kind == "_StridedShard":
        return f"strided_shard({placement.dim},split_factor={int(placement.split_factor)})"
    if placement.is_partial():
        raise ArgumentError(f"{where} is a sum that is not formed yet; redistribute first")
    raise ArgumentError(f"{where} is not supported; use Replicate or Shard")
