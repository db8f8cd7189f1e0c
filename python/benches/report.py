"""The head of a recorded result: date, machine, versions and command."""

from __future__ import annotations

import datetime
import os
import platform
import subprocess
import sys
from pathlib import Path

import torch


def head(title: str, packages: dict[str, str]) -> str:
    """Returns the first lines of a result: its title, the command and all that it depends on.

    Args:
        title: The name of the bench.
        packages: Versions of packages beside torch.
    """
    command = " ".join(["python", os.path.relpath(sys.argv[0], _root()), *sys.argv[1:]])
    versions = {"Python": platform.python_version(), "torch": torch.__version__, **packages}
    return (
        f"# {datetime.date.today()}, {title}\n\n"
        f"`{command}`, {', '.join(f'{name} {version}' for name, version in versions.items())}, commit {_commit()}.\n\n"
        f"Processor: {_processor()}, {os.cpu_count()} cores.\n"
    )


def _root() -> Path:
    return Path(__file__).resolve().parents[2]


def _commit() -> str:
    call = ["git", "-C", str(_root()), "rev-parse", "--short", "HEAD"]
    return subprocess.run(call, capture_output=True, text=True, check=True).stdout.strip()


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines() if os.path.exists("/proc/cpuinfo") else ():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
