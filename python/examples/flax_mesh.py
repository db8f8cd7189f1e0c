"""A Flax model on a mesh, from one seed, and one step of training.

    XLA_FLAGS=--xla_force_host_platform_device_count=4 python python/examples/flax_mesh.py

Matrices are sharded over both axes of a mesh of 2 by 2 devices. Each device makes its own shards.
The weights are those of the file that `fanin.init_model` writes.
"""

from __future__ import annotations

import sys
import tempfile
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax.sharding import AxisType, NamedSharding, PartitionSpec
from safetensors.numpy import load_file

import fanin
import fanin.jax

SEED = 42


class Model(nnx.Module):
    """Two layers with a residual connection."""

    def __init__(self, rngs: nnx.Rngs) -> None:
        self.embed = nnx.Embed(1000, 64, rngs=rngs)
        self.up = nnx.Linear(64, 256, rngs=rngs)
        self.down = nnx.Linear(256, 64, rngs=rngs)
        self.norm = nnx.RMSNorm(64, rngs=rngs)

    def __call__(self, tokens: jax.Array) -> jax.Array:
        """Returns logits of shape (batch, length, words)."""
        x = self.embed(tokens)
        x = x + self.down(nnx.gelu(self.up(self.norm(x))))
        return self.embed.attend(x)


def loss(model: Model, tokens: jax.Array) -> jax.Array:
    """Returns the mean cross entropy of the next token."""
    chances = jax.nn.log_softmax(model(tokens[:, :-1]))
    return -jnp.mean(jnp.take_along_axis(chances, tokens[:, 1:, None], axis=-1))


def main() -> None:
    """Makes the weights, compares them with a file, and takes a step."""
    if jax.device_count() < 4:
        sys.exit("flax_mesh.py needs 4 devices: set XLA_FLAGS as the first lines of the file say")
    mesh = jax.make_mesh((2, 2), ("data", "model"), (AxisType.Auto,) * 2, devices=jax.devices()[:4])
    spec = {1: PartitionSpec(), 2: PartitionSpec("data", "model")}

    graph, shapes = nnx.split(nnx.eval_shape(lambda: Model(nnx.Rngs(0))))
    shardings = jax.tree.map(lambda leaf: NamedSharding(mesh, spec[leaf.ndim]), shapes)
    weights = fanin.jax.init("flax", shapes, SEED, sharding=shardings)

    names: Any = nnx.to_flat_state(weights)
    arrays = {".".join(map(str, path)): variable[...] for path, variable in names}
    with tempfile.TemporaryDirectory() as folder:
        files = fanin.init_model("flax", arrays, SEED, out=f"{folder}/start.safetensors")
        start = load_file(files.out)
    for name, array in arrays.items():
        assert (array == start[name]).all(), name
        print(f"{name}: {array.shape}, {array.sharding.shard_shape(array.shape)} on each device")

    model = nnx.merge(graph, weights)
    tokens = jax.random.randint(jax.random.key(1), (4, 16), 0, 1000)
    before, gradients = nnx.value_and_grad(loss)(model, tokens)
    moved = jax.tree.map(lambda w, g: w - 0.1 * g, nnx.state(model), gradients)
    nnx.update(model, moved)
    print(f"loss {before:.3f}, after a step {loss(model, tokens):.3f}")


if __name__ == "__main__":
    main()
