"""A model and its divisions over ranks, and processes that are those ranks."""

from __future__ import annotations

import datetime
import multiprocessing
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import DTensor
from torch.distributed.tensor.parallel import ColwiseParallel, RowwiseParallel, parallelize_module

try:
    from torch.distributed.fsdp import fully_shard
except ImportError:  # before torch 2.6
    from torch.distributed._composable.fsdp import fully_shard

WORDS, WIDTH, HIDDEN = 23, 8, 13


class Block(nn.Module):
    """Two layers of uneven sizes."""

    def __init__(self) -> None:
        super().__init__()
        self.up = nn.Linear(WIDTH, HIDDEN)
        self.down = nn.Linear(HIDDEN, WIDTH, bias=False)
        self.norm = nn.LayerNorm(WIDTH)


class Net(nn.Module):
    """A padding row, a matrix that is made as a whole, parts, and a complex temporary buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(WORDS, WIDTH, padding_idx=4)
        self.layers = nn.ModuleList(Block() for _ in range(2))
        self.matrix = nn.Parameter(torch.empty(7, 5))
        self.parts = nn.Parameter(torch.empty(9, 3))
        self.register_buffer("freqs", self.angles(), persistent=False)
        self.init_weights()

    def angles(self) -> torch.Tensor:
        """Returns the values of the buffer."""
        return torch.polar(torch.ones(6), torch.arange(6.0))

    def init_weights(self) -> None:
        """Writes all tensors."""
        self.freqs = self.angles()
        for layer in self.layers:
            layer.norm.reset_parameters()
            for linear in (layer.up, layer.down):
                nn.init.trunc_normal_(linear.weight, std=0.02)
            nn.init.uniform_(layer.up.bias)
        nn.init.normal_(self.embed.weight)
        nn.init.orthogonal_(self.matrix)
        nn.init.uniform_(self.parts)
        with torch.no_grad():
            self.embed.weight[4].zero_()
            self.parts[2:7, 1] = 5


def divide(model: Net, sizes: dict[str, int], suffix: str = "", *, send: bool = True) -> Net:
    """Divides a model over a mesh with some of the dimensions `replicate`, `dp` and `tp`.

    Args:
        model: The model.
        sizes: The sizes of the dimensions, outermost first.
        suffix: What the names of dimensions end in. torch keeps meshes in caches, in which those of
            several ranks in one process would be equal.
        send: Whether rank 0 sends the others their parts, or each divides what it has.
    """
    names = {name: f"{name}{suffix}" for name in sizes}
    mesh = init_device_mesh("cpu", tuple(sizes.values()), mesh_dim_names=tuple(names.values()))
    source = {} if send else {"src_data_rank": None}
    if "tp" in sizes:
        for layer in model.layers:
            plan = {"up": ColwiseParallel(), "down": RowwiseParallel()}
            parallelize_module(layer, mesh[names["tp"]], plan, **source)
    shards = tuple(names[name] for name in ("replicate", "dp") if name in sizes)
    if shards:
        for layer in model.layers:
            fully_shard(layer, mesh=mesh[shards])
        fully_shard(model, mesh=mesh[shards])
    return model


def without_values(sizes: dict[str, int], suffix: str = "") -> Net:
    """Returns a divided model that was made on the meta device, with NaN in its memory."""
    with torch.device("meta"):
        model = Net()
    divide(model, sizes, suffix)
    model.to_empty(device="cpu")
    for tensor in tensors(model).values():
        local(tensor).fill_(torch.nan)
    return model


def positions(sizes: dict[str, int], suffix: str = "", *, send: bool = True) -> Net:
    """Returns a divided model whose elements are their positions in the whole tensors.

    torch itself divides it, so this is the truth about the elements that a rank holds.
    """
    model = Net()
    for parameter in model.parameters():
        count = torch.arange(parameter.numel(), dtype=torch.float32)
        parameter.data.copy_(count.view(parameter.shape))
    return divide(model, sizes, suffix, send=send)


def tensors(model: nn.Module) -> dict[str, torch.Tensor]:
    """Returns parameters and buffers without a graph of autograd."""
    named = (*model.named_parameters(), *model.named_buffers())
    return {name: tensor.detach() for name, tensor in named}


def local(tensor: torch.Tensor) -> torch.Tensor:
    """Returns the part of a tensor that this rank holds."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def assert_parts_equal(model: nn.Module, where: nn.Module, whole: dict[str, torch.Tensor]) -> None:
    """Checks that each tensor holds the elements of a whole one that its positions say."""
    found, at = tensors(model), tensors(where)
    assert set(found) == set(whole) == set(at)
    for name, tensor in found.items():
        expected = whole[name]
        if isinstance(at[name], DTensor):
            expected = expected.flatten()[local(at[name]).long()]
        assert torch.equal(local(tensor), expected), (name, local(tensor), expected)


def on_ranks(world: int, folder: Path, function: Callable[..., None], *arguments: Any) -> None:
    """Calls `function(rank, *arguments)` in `world` processes, which can send messages by gloo."""
    root = str(Path(__file__).parents[2])
    if root not in sys.path:
        # The children import this package. Last, so that an installed wheel is not shadowed.
        sys.path.append(root)
    context = multiprocessing.get_context("forkserver")
    # The server imports torch once. Its children start in milliseconds.
    context.set_forkserver_preload([__name__])
    store = folder / f"store of {world}"
    processes = [
        context.Process(target=_rank, args=(rank, world, str(store), function, arguments))
        for rank in range(world)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * world


def _rank(
    rank: int, world: int, store: str, function: Callable[..., None], arguments: tuple[Any, ...]
) -> None:
    torch.set_num_threads(1)
    limit = datetime.timedelta(seconds=60)
    file = dist.FileStore(store, world)
    dist.init_process_group("gloo", store=file, rank=rank, world_size=world, timeout=limit)
    try:
        function(rank, *arguments)
    finally:
        dist.destroy_process_group()
