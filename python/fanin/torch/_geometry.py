"""The part of a tensor that this process holds: ranges of indices from a DTensor's placements."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Optional, cast

import torch

from fanin import _native

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


def as_dtensor(tensor: torch.Tensor) -> Optional[DTensor]:
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
    ranges = local_ranges(dtensor, name)
    with torch.no_grad():
        memory = dtensor.to_local()
    dims = tuple(sum(end - start for start, end in held) for held in ranges or ())
    is_empty = ranges is None or 0 in dims
    # The shape of an empty local tensor differs between versions of torch.
    if memory.numel() != 0 if is_empty else tuple(memory.shape) != dims:
        raise ValueError(
            f"tensor {name!r}: its local tensor has shape {tuple(memory.shape)}, but shape "
            f"{tuple(tensor.shape)} with the placements {tuple(dtensor.placements)} gives this "
            f"rank {'nothing' if is_empty else dims}"
        )
    return Part(memory, ranges or ())


def local_ranges(tensor: DTensor, name: str) -> Optional[Ranges]:
    """Returns the indices of a DTensor that this process holds along each dimension.

    Returns:
        At least one range for each dimension, or None for a process outside of the tensor's mesh.

    Raises:
        ValueError: For a placement other than `Replicate`, `Shard` and `_StridedShard`.
    """
    mesh = tensor.device_mesh
    names = mesh.mesh_dim_names or range(mesh.ndim)
    placements = [
        _placement_text(placement, f"tensor {name!r}: placement {placement} on mesh dimension {at!r}")
        for at, placement in zip(names, tensor.placements)
    ]
    coordinate = mesh.get_coordinate()
    if coordinate is None:
        return None
    # The rank within the mesh, row-major: a mesh can be a part of the world in any order.
    sizes = [mesh.size(at) for at in range(mesh.ndim)]
    rank = 0
    for position, size in zip(coordinate, sizes):
        rank = rank * size + position
    held = _native.local_indices(list(tensor.shape), sizes, placements, rank)
    return tuple(tuple(ranges) for ranges in held)


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
        raise ValueError(f"{where} stands for a sum over ranks, not for values; redistribute it first")
    raise ValueError(f"{where} is not supported; use Replicate or Shard")
