"""The indices that a rank holds of a DTensor, against torch's own division."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.tensor import DTensor, Partial, Replicate, Shard, distribute_tensor
from torch.distributed.tensor._utils import compute_local_shape_and_global_offset
from torch.distributed.tensor.parallel import (
    ColwiseParallel,
    RowwiseParallel,
    parallelize_module,
)
from torch.distributed.tensor.placement_types import _StridedShard
from torch.testing._internal.distributed.fake_pg import FakeStore

from fanin.torch import fill_
from fanin.torch._geometry import part_of

from .ranks import fully_shard

INIT = "normal(std=0.02)"


@contextmanager
def rank_of(rank: int, world: int) -> Iterator[None]:
    """Makes this process a rank of a world without other processes."""
    dist.init_process_group("fake", rank=rank, world_size=world, store=FakeStore())
    try:
        yield
    finally:
        dist.destroy_process_group()


def split(whole: torch.Tensor, mesh: DeviceMesh, placements: Sequence[Any]) -> torch.Tensor:
    """Returns the part of a tensor that torch gives this rank, by its own code."""
    coordinate = mesh.get_coordinate()
    assert coordinate is not None
    for dim, placement in enumerate(placements):
        if isinstance(placement, (Shard, _StridedShard)):
            pieces, _ = placement._split_tensor(
                whole, mesh.size(dim), with_padding=False, contiguous=False
            )
            whole = pieces[coordinate[dim]]
    return whole


def empty_dtensor(shape: tuple[int, ...], mesh: DeviceMesh, placements: Sequence[Any]) -> DTensor:
    local = split(torch.empty(shape), mesh, placements).clone(memory_format=torch.contiguous_format)
    stride = torch.empty(shape, device="meta").stride()
    return DTensor.from_local(
        local.fill_(torch.nan),
        mesh,
        placements,
        shape=torch.Size(shape),
        stride=stride,
        run_check=False,
    )


MESHES = [(1,), (2,), (3,), (4,), (2, 2), (3, 2), (2, 1, 3)]
SHAPES = [(10, 7), (5,), (1, 3), (2, 9, 4), (0, 4)]


def all_placements(mesh: tuple[int, ...], rank: int) -> Iterator[tuple[Any, ...]]:
    """Yields placements, among them those of a tensor that is sharded twice along a dimension."""
    kinds = [Replicate(), *(Shard(dim) for dim in range(rank))]
    yield from itertools.product(kinds, repeat=len(mesh))
    if len(mesh) == 2:
        for dim in range(rank):
            yield _StridedShard(dim, split_factor=mesh[1]), Shard(dim)


@pytest.mark.parametrize("sizes", MESHES, ids=str)
def test_every_rank_holds_what_torch_gives_it(sizes: tuple[int, ...]) -> None:
    world = int(torch.tensor(sizes).prod())
    for rank in range(world):
        with rank_of(rank, world):
            mesh = init_device_mesh("cpu", sizes)
            for shape in SHAPES:
                whole = fill_(torch.empty(shape), INIT, name="w", seed=3)
                for placements in all_placements(sizes, len(shape)):
                    tensor = empty_dtensor(shape, mesh, placements)
                    assert fill_(tensor, INIT, name="w", seed=3) is tensor  # type: ignore[arg-type]
                    held = tensor.to_local()
                    assert torch.equal(held, split(whole, mesh, placements)), (shape, placements)
                    if held.numel() > 0:
                        check_offsets(tensor)


def check_offsets(tensor: DTensor) -> None:
    """Compares with the function that checkpoints use."""
    ranges = part_of(tensor, "w").ranges
    shape, offsets = compute_local_shape_and_global_offset(
        tensor.shape, tensor.device_mesh, tensor.placements
    )
    assert tuple(held[0][0] for held in ranges) == tuple(offsets)
    assert tuple(sum(b - a for a, b in held) for held in ranges) == tuple(shape)


@pytest.mark.parametrize("rank", range(6))
@pytest.mark.parametrize("rows", [13, 5, 12])
def test_fsdp2_over_tensor_parallel(rank: int, rows: int) -> None:
    whole = {
        name: fill_(torch.empty(shape), INIT, name=name, seed=3)
        for name, shape in {"0.weight": (rows, 6), "0.bias": (rows,), "1.weight": (6, rows)}.items()
    }
    with rank_of(rank, 6):
        # torch keeps meshes in caches, in which those of all ranks of this process would be equal.
        dp_name, tp_name = f"dp of {rank}", f"tp of {rank}"
        mesh = init_device_mesh("cpu", (3, 2), mesh_dim_names=(dp_name, tp_name))
        with torch.device("meta"):
            model = nn.Sequential(nn.Linear(6, rows), nn.Linear(rows, 6, bias=False))
        parallelize_module(model, mesh[tp_name], {"0": ColwiseParallel(), "1": RowwiseParallel()})
        fully_shard(model, mesh=mesh[dp_name])
        model.to_empty(device="cpu")
        dp, tp = mesh.get_coordinate() or ()
        for name, parameter in model.named_parameters():
            assert isinstance(parameter, DTensor)
            fill_(parameter, INIT, name=name, seed=3)
            # Tensor parallelism divides first, and FSDP2 divides what that leaves.
            held = whole[name]
            held = pieces(held, 1 if name == "1.weight" else 0, 2)[tp]
            held = pieces(held, 0, 3)[dp]
            assert torch.equal(parameter.to_local(), held), name


def pieces(tensor: torch.Tensor, dim: int, count: int) -> list[torch.Tensor]:
    chunks = list(torch.chunk(tensor, count, dim))
    return chunks + [tensor.narrow(dim, 0, 0)] * (count - len(chunks))


def test_a_rank_outside_of_the_mesh_holds_nothing() -> None:
    with rank_of(3, 4):
        mesh = DeviceMesh("cpu", [0, 2])
        for shape in [(4, 3), ()]:
            placements = [Shard(0)] if shape else [Replicate()]
            tensor = distribute_tensor(torch.empty(shape), mesh, placements, src_data_rank=None)
            assert tensor.to_local().numel() == 0
            assert list(part_of(tensor, "w").boxes()) == []
            fill_(tensor, INIT, name="w", seed=3)


def test_a_mesh_of_some_ranks_in_another_order() -> None:
    whole = fill_(torch.empty(10, 3), INIT, name="w", seed=3)
    with rank_of(1, 8):
        mesh = DeviceMesh("cpu", [[7, 5], [1, 3]])
        tensor = empty_dtensor((10, 3), mesh, [Replicate(), Shard(0)])
        fill_(tensor, INIT, name="w", seed=3)
        assert torch.equal(tensor.to_local(), whole[:5])
        tensor = empty_dtensor((10, 3), mesh, [Shard(0), Replicate()])
        fill_(tensor, INIT, name="w", seed=3)
        assert torch.equal(tensor.to_local(), whole[5:])


def test_partial_is_refused_by_name() -> None:
    with rank_of(0, 2):
        mesh = init_device_mesh("cpu", (2,), mesh_dim_names=("tp",))
        tensor = DTensor.from_local(torch.zeros(3), mesh, [Partial()], run_check=False)
        with pytest.raises(ValueError, match=r"'out.weight'.*Partial.*'tp'.*sum"):
            fill_(tensor, INIT, name="out.weight", seed=1)


def test_a_local_tensor_of_another_shape_is_an_error() -> None:
    with rank_of(0, 2):
        mesh = init_device_mesh("cpu", (2,))
        tensor = DTensor.from_local(
            torch.zeros(3, 4),
            mesh,
            [Shard(0)],
            shape=torch.Size((5, 4)),
            stride=(4, 1),
            run_check=False,
        )
        assert fill_(tensor, INIT, name="w", seed=1) is tensor
        tensor = DTensor.from_local(
            torch.zeros(2, 4),
            mesh,
            [Shard(0)],
            shape=torch.Size((5, 4)),
            stride=(4, 1),
            run_check=False,
        )
        with pytest.raises(ValueError, match=r"'w'.*shape \(2, 4\).*\(5, 4\).*\(3, 4\)"):
            fill_(tensor, INIT, name="w", seed=1)


def test_a_dtensor_counts_its_version() -> None:
    with rank_of(0, 2):
        tensor = empty_dtensor((4, 4), init_device_mesh("cpu", (2,)), [Shard(0)])
        before = tensor._version, tensor.to_local()._version
        fill_(tensor, INIT, name="w", seed=1)
        assert (tensor._version, tensor.to_local()._version) > before


def test_other_devices_get_copies(monkeypatch: pytest.MonkeyPatch) -> None:
    from fanin.torch import _fill

    copied: list[torch.Tensor] = []

    def is_on_the_cpu(memory: torch.Tensor) -> bool:
        # The first tensor stands for one of another device, and the next one for its copy.
        copied.append(memory)
        return len(copied) % 2 == 0

    monkeypatch.setattr(_fill, "_is_on_the_cpu", is_on_the_cpu)
    whole = torch.empty(10, 3)
    fill_(whole, INIT, name="w", seed=3)
    with rank_of(1, 4):
        mesh = init_device_mesh("cpu", (2, 2))
        placements = [_StridedShard(0, split_factor=3), Replicate()]
        tensor = empty_dtensor((10, 3), mesh, placements)
        fill_(tensor, INIT, name="w", seed=3)
        assert torch.equal(tensor.to_local(), split(whole, mesh, placements))
    assert len(copied) == 4 and copied[1].data_ptr() != copied[0].data_ptr()


def test_plain_tensors_are_whole() -> None:
    part = part_of(torch.empty(2, 3), "w")
    assert list(part.boxes()) == [(((0, 2), (0, 3)), ((0, 2), (0, 3)))]
