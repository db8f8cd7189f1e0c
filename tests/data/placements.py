#!/usr/bin/env python3
"""Records the parts that torch itself puts on each rank, for tests/gpu/placements.rs.

    python3 tests/data/placements.py > tests/data/placements.json

Needs only torch. Its fake process group replaces the ranks, so nothing is communicated. DTensor's local
shapes and global offsets are from compute_local_shape_and_global_offset, the elements from the
_split_tensor of each placement, and flat parameters from FullyShardedDataParallel.
"""

import json
import random

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FullyShardedDataParallel, fully_shard
from torch.distributed.tensor import Replicate, Shard
from torch.distributed.tensor._utils import compute_local_shape_and_global_offset
from torch.distributed.tensor.parallel import ColwiseParallel, RowwiseParallel, parallelize_module
from torch.distributed.tensor.placement_types import _StridedShard
from torch.testing._internal.distributed.fake_pg import FakeStore


def text(placement):
    if isinstance(placement, _StridedShard):
        return f"strided_shard({placement.dim},split_factor={placement.split_factor})"
    return "replicate" if isinstance(placement, Replicate) else f"shard({placement.dim})"


def as_rank(rank, size, what):
    dist.init_process_group("fake", rank=rank, world_size=size, store=FakeStore())
    try:
        return what(rank)
    finally:
        dist.destroy_process_group()


def on_all_ranks(size, what):
    return [as_rank(rank, size, what) for rank in range(size)]


def sizes_product(sizes):
    return torch.tensor(sizes).prod().item()


def placed(sizes, shape, placements):
    def local(rank):
        mesh = init_device_mesh("cpu", tuple(sizes))
        dims, offsets = compute_local_shape_and_global_offset(tuple(shape), mesh, placements)
        part = torch.arange(sizes_product(shape)).reshape(shape)
        padding = [0] * len(shape)
        sharded = [p for p in placements if not isinstance(p, Replicate)]
        for mesh_dim, placement in enumerate(placements):
            if isinstance(placement, Replicate):
                continue
            shards, _ = placement._split_tensor(part, sizes[mesh_dim], with_padding=False)
            coordinate = mesh.get_coordinate()[mesh_dim]
            if len(sharded) == 1:
                _, pads = placement._split_tensor(part, sizes[mesh_dim], with_padding=True)
                padding[placement.dim] = pads[coordinate]
            part = shards[coordinate]
        assert tuple(part.shape) == tuple(dims), (part.shape, dims)
        return {
            "dims": list(dims),
            "offsets": list(offsets),
            # If several mesh dimensions cut, torch pads in several steps, so there is not one number.
            "padding": padding if len(sharded) <= 1 else None,
            "elements": part.flatten().tolist(),
        }

    return {
        "mesh": sizes,
        "shape": shape,
        "placements": [text(p) for p in placements],
        "ranks": on_all_ranks(sizes_product(sizes), local),
    }


def placed_cases():
    replicate, shard, strided = Replicate(), Shard, lambda d, s: _StridedShard(d, split_factor=s)
    cases = [
        ([4], [10, 3], [shard(0)]),
        ([4], [5], [shard(0)]),
        ([8], [3, 2], [shard(0)]),
        ([3], [2, 7], [shard(1)]),
        ([2, 2], [2, 5], [shard(1), shard(1)]),
        ([2, 3], [7, 5], [shard(0), shard(1)]),
        ([2, 2], [8, 2], [strided(0, 2), shard(0)]),
        ([2, 4], [50, 1], [strided(0, 4), shard(0)]),
        ([3, 2], [7, 2], [strided(0, 2), shard(0)]),
        ([2], [10, 2], [strided(0, 4)]),
        ([2], [4, 2], [strided(0, 3)]),
        ([2, 2], [8], [shard(0), strided(0, 2)]),
        ([2, 2], [4, 4], [replicate, replicate]),
        ([2, 2, 2], [9, 3], [replicate, strided(0, 2), shard(0)]),
    ]
    chance = random.Random(1)
    for _ in range(40):
        sizes = [chance.randint(1, 3) for _ in range(chance.randint(1, 3))]
        shape = [chance.randint(1, 6) for _ in range(chance.randint(1, 3))]
        one = lambda: chance.choice(
            [replicate]
            + [shard(chance.randrange(len(shape)))] * 2
            + [strided(chance.randrange(len(shape)), chance.randint(1, 4))]
        )
        cases.append((sizes, shape, [one() for _ in sizes]))
    return [placed(*case) for case in cases]


def flat_parameter(size, shapes, use_orig_params):
    def local(rank):
        module = nn.Module()
        module.parameters_ = nn.ParameterList(
            nn.Parameter(torch.full(shape, i + 1.0)) for i, shape in enumerate(shapes)
        )
        wrapped = FullyShardedDataParallel(
            module, device_id=torch.device("cpu"), use_orig_params=use_orig_params
        )
        flat = wrapped._handle.flat_param
        parts = [
            [i.intra_param_start_idx, i.intra_param_end_idx + 1, i.offset_in_shard]
            if i.in_shard
            else None
            for i in flat._shard_param_infos
        ]
        return {
            "elements": flat._sharded_size.numel(),
            "padding": flat._shard_numel_padded,
            "parts": parts,
        }

    return {
        "numels": [torch.Size(shape).numel() for shape in shapes],
        "align": 4 if use_orig_params else 0,
        "ranks": on_all_ranks(size, local),
    }


def fsdp_over_tp(fsdp, tp, features):
    """The placements of FSDP2 over tensor parallelism."""

    def local(rank):
        mesh = init_device_mesh("cpu", (fsdp, tp), mesh_dim_names=("fsdp", "tp"))
        model = nn.Sequential(nn.Linear(4, features, bias=False), nn.Linear(features, 4, bias=False))
        plan = {"0": ColwiseParallel(), "1": RowwiseParallel()}
        parallelize_module(model, mesh["tp"], plan)
        fully_shard(model, mesh=mesh["fsdp"])
        return [
            {
                "shape": list(parameter.shape),
                "placements": [text(p) for p in parameter.placements],
                "dims": list(parameter.to_local().shape),
            }
            for parameter in model.parameters()
        ]

    return {"mesh": [fsdp, tp], "ranks": on_all_ranks(fsdp * tp, local)}


RESULTS = {
    "versions": {"torch": torch.__version__},
    "placed": placed_cases(),
    "flat": [
        flat_parameter(4, [(3, 5), (3,)], False),
        flat_parameter(3, [(2, 2), (1,), (5,), (4, 4)], False),
        flat_parameter(8, [(2, 2), (3,)], False),
        flat_parameter(5, [(1,), (1,)], False),
        flat_parameter(3, [(3, 5), (3,), (7,)], True),
        flat_parameter(4, [(5,), (5,)], True),
    ],
    "fsdp_over_tp": [fsdp_over_tp(2, 2, 8), fsdp_over_tp(2, 4, 16)],
}
# One line for each case.
line = json.dumps(RESULTS, separators=(",", ":"))
print(line.replace('{"mesh"', '\n{"mesh"').replace('{"numels"', '\n{"numels"'))
