"""The examples run, and print what their first lines promise."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
TESTED = {"llama_fsdp2.py", "torchtitan_style.py", "lottery_ticket.py"}


def run(name: str, processes: int = 0) -> str:
    """Returns the output of an example; under torchrun for one or more processes."""
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    call = [sys.executable, *(launcher if processes else ()), str(EXAMPLES / name)]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        "OMP_NUM_THREADS": "1",
    }
    done = subprocess.run(call, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("name", ["llama_fsdp2.py", "torchtitan_style.py"])
def test_weights_do_not_depend_on_the_number_of_processes(name: str) -> None:
    hashes = {re.findall(r"weights (\w{16})", run(name, processes))[0] for processes in (1, 2)}
    assert len(hashes) == 1


def test_lottery_ticket() -> None:
    losses = [float(loss) for loss in re.findall(r"loss (\S+)", run("lottery_ticket.py"))]
    assert len(losses) == 3
    assert losses[1] < losses[2]


def test_every_example_is_tested() -> None:
    assert {path.name for path in EXAMPLES.glob("*.py")} == TESTED
