"""Processes that tests start."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

#: A process with FSDP on gloo, with or without fanin, sometimes prints this after its last line and
#: aborts: in 3 of 48 runs with torch 2.15 on a busy machine. Then the command runs again.
ABORTED = "terminate called without an active exception"
ATTEMPTS = 4


def torchrun(processes: int) -> list[str]:
    """Returns the start of a command that runs a script in several processes of torch."""
    return [
        *(sys.executable, "-m", "torch.distributed.run"),
        *("--standalone", "--nproc-per-node", str(processes)),
    ]


def mpirun(processes: int) -> list[str]:
    """Returns the start of a command that runs a command in several processes.

    torchrun takes the place of Open MPI where that is not installed: `fanin` reads the variables of
    both.
    """
    if shutil.which("mpirun"):
        return ["mpirun", "--allow-run-as-root", "--oversubscribe", "-n", str(processes)]
    return [*torchrun(processes), "--no-python"]


def run(call: Sequence[str | Path], folder: Path, path: Path | None = None) -> str:
    """Returns the output of a command that must succeed.

    Args:
        call: The command.
        folder: The folder to run it in.
        path: A folder of further commands.
    """
    commands = os.environ["PATH"] if path is None else f"{path}{os.pathsep}{os.environ['PATH']}"
    environment = {
        **os.environ,
        "PATH": commands,
        "PYTHONPATH": os.pathsep.join(each for each in sys.path if each),
        "OMP_NUM_THREADS": "1",
    }
    for _ in range(ATTEMPTS):
        done = subprocess.run(
            call, cwd=folder, env=environment, capture_output=True, text=True, timeout=1800
        )
        if ABORTED not in done.stderr:
            break
    assert done.returncode == 0, f"{call}:\n{done.stdout}{done.stderr}"
    return done.stdout
