"""`init_` on the shards of a model: together they are what `build` makes."""

from __future__ import annotations

import resource
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.tensor.debug import CommDebugMode
from torch.testing._internal.distributed.fake_pg import FakeStore
from torch.utils._python_dispatch import TorchDispatchMode

from fanin.torch import build, init_, record

from .ranks import (
    Net,
    assert_parts_equal,
    divide,
    fully_shard,
    local,
    on_ranks,
    positions,
    tensors,
    without_values,
)

SEED = 7
WAYS: dict[str, dict[str, Any]] = {
    "own code": {},
    "method": {"by": "init_weights"},
}
WORLDS: dict[int, list[dict[str, int]]] = {
    1: [{"dp": 1}, {"tp": 1}],
    2: [{"dp": 2}, {"tp": 2}, {"dp": 1, "tp": 2}],
    4: [{"dp": 4}, {"tp": 4}, {"dp": 2, "tp": 2}, {"replicate": 2, "dp": 2}],
}


def check_worlds(rank: int, folder: str, whole: dict[str, torch.Tensor]) -> None:
    """Checks all divisions of a world, by each of the places that values come from."""
    for sizes in WORLDS[dist.get_world_size()]:
        where = positions(sizes)
        for arguments in (*WAYS.values(), {"recipe": record(Net)}):
            model = without_values(sizes)
            with CommDebugMode() as messages:
                init_(model, SEED, **arguments)
            assert messages.get_total_counts() == 0
            assert_parts_equal(model, where, whole)
        model = without_values(sizes)
        init_(model, SEED, recipe=Path(folder) / "net.toml", only="[!f]*")
        model.freqs = Net.angles(model)
        assert_parts_equal(model, where, whole)
    check_late_rank(rank, whole)


def check_late_rank(rank: int, whole: dict[str, torch.Tensor]) -> None:
    """Checks that a rank needs no other one: only the last one fills its part."""
    sizes = {"dp": dist.get_world_size()}
    where, model = positions(sizes), without_values(sizes)
    if rank == dist.get_world_size() - 1:
        init_(model, SEED)
        assert_parts_equal(model, where, whole)
    dist.barrier()


@pytest.mark.parametrize("world", WORLDS)
def test_shards_of_all_ranks_are_those_of_build(world: int, tmp_path: Path) -> None:
    record(Net).save(tmp_path / "net.toml")
    whole = tensors(build(Net, seed=SEED))
    assert whole["embed.weight"][4].tolist() == [0] * 8
    assert whole["parts"][2:7, 1].tolist() == [5] * 5
    on_ranks(world, tmp_path, check_worlds, str(tmp_path), whole)


@pytest.mark.parametrize(
    "sizes",
    [{"dp": 3, "tp": 2}, {"dp": 2, "tp": 4}, {"dp": 7}, {"replicate": 2, "dp": 2, "tp": 2}],
    ids=str,
)
def test_more_divisions_without_processes(sizes: dict[str, int]) -> None:
    whole = tensors(build(Net, seed=SEED))
    recorded = record(Net)
    world = int(torch.tensor(list(sizes.values())).prod())
    for rank in range(world):
        dist.init_process_group("fake", rank=rank, world_size=world, store=FakeStore())
        try:
            suffix = f" of rank {rank}"
            model = without_values(sizes, suffix)
            init_(model, SEED, recipe=recorded)
            assert_parts_equal(model, positions(sizes, suffix, send=False), whole)
        finally:
            dist.destroy_process_group()


class Allocations(TorchDispatchMode):
    """Keeps the largest number of elements that an operation has made, meta tensors aside."""

    largest = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for tensor in result if isinstance(result, (list, tuple)) else [result]:
            if isinstance(tensor, torch.Tensor) and not tensor.is_meta:
                self.largest = max(self.largest, tensor.untyped_storage().nbytes() // 4)
        return result


ROWS, COLUMNS = 40_000, 1_000


class Large(nn.Module):
    """Two tensors of 160 MB each."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(ROWS, COLUMNS, padding_idx=1)
        self.head = nn.Linear(COLUMNS, ROWS)


def check_memory(rank: int) -> None:
    """Checks what memory a rank takes beside that of its part, which is half of 320 MB."""
    with torch.device("meta"):
        model = Large()
    fully_shard(model)
    model.to_empty(device="cpu")
    for tensor in tensors(model).values():
        local(tensor).zero_()
    # Imports, and the pool of threads, are there before the measurement.
    init_(nn.Linear(100, 100), SEED)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with Allocations() as made:
        report = init_(model, SEED)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) << 10
    assert report.total.bytes == (2 * ROWS * COLUMNS + ROWS) * 4 // 2
    assert grown < 16 << 20, f"{grown >> 20} MiB"
    assert made.largest <= ROWS * COLUMNS // 2
    for name, other in (("embed.weight", 1), ("head.weight", 2)):
        part = local(tensors(model)[name])
        assert part.shape == (ROWS // 2, COLUMNS) and part[other].count_nonzero() in (0, COLUMNS)


def test_no_rank_makes_a_whole_tensor(tmp_path: Path) -> None:
    on_ranks(2, tmp_path, check_memory)


def in_a_world_of_one(check: Any) -> None:
    dist.init_process_group("fake", rank=0, world_size=1, store=FakeStore())
    try:
        check()
    finally:
        dist.destroy_process_group()


def test_gathered_parameters_are_sharded_first() -> None:
    whole = tensors(build(Net, seed=SEED))

    def check() -> None:
        model = divide(Net(), {"dp": 1})
        shards = dict(model.named_parameters())
        model.unshard()
        init_(model, SEED)
        assert dict(model.named_parameters()) == shards
        assert_parts_equal(model, positions({"dp": 1}), whole)

    in_a_world_of_one(check)


def test_meta_shards_and_data_parallel_names() -> None:
    def check() -> None:
        with torch.device("meta"):
            model = divide(Net(), {"dp": 1})
        with pytest.raises(ValueError, match="'embed.weight'.*on the meta device"):
            init_(model, SEED)
        wrapped = nn.parallel.DistributedDataParallel(Net())
        init_(wrapped, SEED, by="init_weights")
        whole = tensors(build(Net, seed=SEED))
        assert all(torch.equal(tensors(wrapped.module)[name], whole[name]) for name in whole)

    in_a_world_of_one(check)


def test_optimizer_state_of_shards_is_not_affected() -> None:
    def check() -> None:
        model = divide(Net(), {"dp": 1})
        optimizer = torch.optim.AdamW(model.parameters())
        for parameter in model.parameters():
            parameter.grad = torch.ones_like(parameter)
        optimizer.step()
        state = {key: dict(value) for key, value in optimizer.state.items()}
        init_(model, SEED)
        assert all(optimizer.state[p] == state[p] for p in model.parameters())

    in_a_world_of_one(check)
