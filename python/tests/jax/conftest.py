"""Devices and meshes of the tests."""

from __future__ import annotations

import os

# XLA reads it when the first array is made, so no test of another folder may make one before.
os.environ["XLA_FLAGS"] = (
    os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=8"
)
os.environ.setdefault("JAX_PLATFORMS", "cpu")

import jax
import pytest
from jax.sharding import AxisType, Mesh

KINDS = (AxisType.Auto, AxisType.Explicit)


@pytest.fixture(params=KINDS, ids=lambda kind: kind.name)
def mesh(request: pytest.FixtureRequest) -> Mesh:
    """Returns a mesh of 4 by 2 devices."""
    assert jax.device_count() == 8, "jax had made an array before these tests were imported"
    return jax.make_mesh((4, 2), ("x", "y"), axis_types=(request.param,) * 2)
