"""Keras reads its backend once, so each backend has a process of its own.

TensorFlow is too large for the test environment. Where it is installed, this runs the same checks:

    KERAS_BACKEND=tensorflow python tests/keras/program.py
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).with_name("program.py")


@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_weights_have_the_bits_of_the_crate(backend: str, tmp_path: Path) -> None:
    environment = {
        **os.environ,
        "KERAS_BACKEND": backend,
        "KERAS_HOME": str(tmp_path),
        "XLA_FLAGS": "--xla_force_host_platform_device_count=8",
        "JAX_PLATFORMS": "cpu",
        "PYTHONPATH": os.pathsep.join(each for each in sys.path if each),
    }
    done = subprocess.run(
        [sys.executable, PROGRAM], env=environment, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1] == "right"
