"""A model with an `init_weights` of its own, as in torchtitan, under FSDP2 and tensor parallelism.

    torchrun --nproc-per-node 4 python/examples/torchtitan_style.py

torchtitan makes a model on the meta device, shards it, calls `to_empty`, then
`model.init_weights()`. torch then draws other weights on each mesh. `init_(model, seed,
by="init_weights")` takes the place of the last call: it runs the same method once without memory,
and fills each shard with the values that the method gives to the whole tensor.
"""

import hashlib
import math

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor.parallel import ColwiseParallel, RowwiseParallel, parallelize_module

from fanin.torch import init_


class Block(nn.Module):
    """A feed-forward layer whose initial scale depends on its depth."""

    def __init__(self, width: int, depth: int) -> None:
        super().__init__()
        self.norm = nn.RMSNorm(width)
        self.up = nn.Linear(width, 3 * width, bias=False)
        self.down = nn.Linear(3 * width, width, bias=False)
        self.std = 0.02 / math.sqrt(2 * (depth + 1))

    def init_weights(self) -> None:
        """Initializes the weights, as models of torchtitan do."""
        self.norm.reset_parameters()
        nn.init.trunc_normal_(self.up.weight, mean=0.0, std=0.02)
        nn.init.trunc_normal_(self.down.weight, mean=0.0, std=self.std)

    def forward(self, x: Tensor) -> Tensor:
        """Returns the input plus the layer's output."""
        return x + self.down(F.silu(self.up(self.norm(x))))


class Model(nn.Module):
    """Embedding, blocks, output, and a table that is a buffer."""

    def __init__(self, vocabulary: int = 99, width: int = 20, depth: int = 2) -> None:
        super().__init__()
        self.width = width
        self.embedding = nn.Embedding(vocabulary, width)
        self.blocks = nn.ModuleDict({str(i): Block(width, i) for i in range(depth)})
        self.output = nn.Linear(width, vocabulary, bias=False)
        self.register_buffer("positions", self.table(), persistent=False)

    def table(self) -> Tensor:
        """Returns complex numbers of absolute value 1, as the tables of rotary embeddings."""
        angles = torch.outer(
            torch.arange(16.0), 1e4 ** -(torch.arange(0, self.width, 2) / self.width)
        )
        return torch.polar(torch.ones_like(angles), angles)

    def init_weights(self) -> None:
        """Initializes all weights and the buffer."""
        with torch.device(self.positions.device):
            self.positions = self.table()
        nn.init.normal_(self.embedding.weight)
        for block in self.blocks.values():
            block.init_weights()
        bound = 3 * self.width**-0.5
        nn.init.trunc_normal_(self.output.weight, std=self.width**-0.5, a=-bound, b=bound)

    def forward(self, tokens: Tensor) -> Tensor:
        """Returns scores of the next token."""
        x = self.embedding(tokens)
        turned = (
            torch.view_as_complex(x.unflatten(-1, (-1, 2))) * self.positions[: tokens.shape[-1]]
        )
        x = torch.view_as_real(turned).flatten(-2)
        for block in self.blocks.values():
            x = block(x)
        return self.output(x)


def main() -> None:
    """Shards and initializes the model on a mesh of two dimensions."""
    dist.init_process_group("gloo")
    world = dist.get_world_size()
    tensor_parallel = 2 if world % 2 == 0 else 1
    mesh = init_device_mesh(
        "cpu", (world // tensor_parallel, tensor_parallel), mesh_dim_names=("dp", "tp")
    )
    with torch.device("meta"):
        model = Model()
    for block in model.blocks.values():
        if tensor_parallel > 1:
            parallelize_module(
                block, mesh["tp"], {"up": ColwiseParallel(), "down": RowwiseParallel()}
            )
        fully_shard(block, mesh=mesh["dp"])
    fully_shard(model, mesh=mesh["dp"])
    model.to_empty(device="cpu")

    init_(model, seed=42, by="init_weights")

    total = hashlib.sha256(torch.view_as_real(model.positions).numpy().tobytes())
    for _, parameter in sorted(model.named_parameters()):
        total.update(parameter.full_tensor().detach().numpy().tobytes())
    scores = model(torch.arange(16)[None])
    if dist.get_rank() == 0:
        size, weights = tuple(mesh.shape), total.hexdigest()[:16]
        print(f"{size} mesh, weights {weights}, mean square {float(scores.pow(2).mean()):.3f}")
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
