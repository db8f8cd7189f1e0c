"""One of several processes that share a mesh: `python process.py ADDRESS RANK PROCESSES`."""

from __future__ import annotations

import sys
from typing import Any
from unittest import mock

import jax
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

import fanin
import fanin.jax
from fanin.jax import _host

SEED = 42
DIMS = (24, 10)
KEY = np.array([0, SEED], np.uint32)


def main(address: str, rank: int, processes: int) -> None:
    """Makes a tensor in all ways, and compares the shards of this process."""
    jax.distributed.initialize(address, processes, rank)
    mesh = jax.make_mesh((processes, 4), ("x", "y"))
    sharding = NamedSharding(mesh, PartitionSpec(("y", "x")))
    recipe = fanin.Recipe.from_rules([{"match": "*", "init": "normal"}])
    shapes = {"w": jax.ShapeDtypeStruct(DIMS, "float32")}

    def make(key: Any) -> Any:
        return fanin.jax.init(recipe, shapes, key, sharding=sharding)["w"]

    def make_on_devices() -> Any:
        # Lets XLA make the array on the CPU, as it does on other devices.
        with mock.patch.object(_host, "is_host", return_value=False):
            return make(SEED)

    whole = fanin.fill("normal", DIMS, name="w", seed=SEED)
    made = (make(SEED), make_on_devices(), jax.jit(make)(KEY))
    shards = [shard for one in made for shard in one.addressable_shards]
    for shard in shards:
        assert shard.data.shape == (3, 10)
        np.testing.assert_array_equal(np.asarray(shard.data), whole[shard.index])
    print(f"process {rank}: {jax.device_count()} devices, {len(shards)} shards are right")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
