"""One of several processes that share a mesh: `python process.py ADDRESS RANK PROCESSES`."""

from __future__ import annotations

import sys
from typing import Any

import jax
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

import fanin
import fanin.jax

SEED = 42
DIMS = (24, 10)
KEY = np.array([0, SEED], np.uint32)


def main(address: str, rank: int, processes: int) -> None:
    """Makes a tensor in both ways, and compares the shards of this process."""
    jax.distributed.initialize(address, processes, rank)
    mesh = jax.make_mesh((processes, 4), ("x", "y"))
    sharding = NamedSharding(mesh, PartitionSpec(("y", "x")))
    recipe = fanin.Recipe.from_rules([{"match": "*", "init": "normal"}])
    shapes = {"w": jax.ShapeDtypeStruct(DIMS, "float32")}

    def make(key: Any) -> Any:
        return fanin.jax.init(recipe, shapes, key, sharding=sharding)["w"]

    whole = fanin.fill("normal", DIMS, name="w", seed=SEED)
    shards = [shard for one in (make(SEED), jax.jit(make)(KEY)) for shard in one.addressable_shards]
    for shard in shards:
        assert shard.data.shape == (3, 10)
        np.testing.assert_array_equal(np.asarray(shard.data), whole[shard.index])
    print(f"process {rank}: {jax.device_count()} devices, {len(shards)} shards are right")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
