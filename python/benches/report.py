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
    named = {"Python": platform.python_version(), "torch": torch.__version__, **packages}
    versions = ", ".join(f"{name} {version}" for name, version in named.items())
    return (
        f"# {datetime.date.today()}, {title}\n\n"
        f"`{command}`, {versions}, commit {_commit()}.\n\n"
        f"Processor: {_processor()}, {os.cpu_count()} cores.\n"
    )


def _root() -> Path:
    return Path(__file__).resolve().parents[2]


def _commit() -> str:
    call = ["git", "-C", str(_root()), "rev-parse", "--short", "HEAD"]
    return subprocess.run(call, capture_output=True, text=True, check=True).stdout.strip()


def _processor() -> str:
    path = Path("/proc/cpuinfo")
    for line in path.read_text().splitlines() if path.exists() else ():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
