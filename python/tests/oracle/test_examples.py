"""The examples run, and print what their first lines promise."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from . import processes

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
#: tests/jax runs the example of JAX.
TESTED = {"llama_fsdp2.py", "torchtitan_style.py", "lottery_ticket.py", "flax_mesh.py"}


def run(name: str, count: int = 0) -> str:
    """Returns the output of an example, under torchrun for one process or more."""
    launcher = processes.torchrun(count) if count else [sys.executable]
    return processes.run([*launcher, EXAMPLES / name], EXAMPLES)


@pytest.mark.parametrize("name", ["llama_fsdp2.py", "torchtitan_style.py"])
def test_weights_do_not_depend_on_the_number_of_processes(name: str) -> None:
    hashes = {re.findall(r"weights (\w{16})", run(name, count))[0] for count in (1, 2)}
    assert len(hashes) == 1


def test_lottery_ticket() -> None:
    losses = [float(loss) for loss in re.findall(r"loss (\S+)", run("lottery_ticket.py"))]
    assert len(losses) == 3
    assert losses[1] < losses[2]


def test_every_example_is_tested() -> None:
    assert {path.name for path in EXAMPLES.glob("*.py")} == TESTED
