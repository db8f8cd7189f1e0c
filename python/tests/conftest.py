"""Fixtures of the tests."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Protocol

import pytest


class CommandLine(Protocol):
    """Runs the command line in the folder of a test, with these arguments."""

    def __call__(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Returns the ended process."""
        ...


@pytest.fixture
def fanin_command(in_folder: None) -> CommandLine:
    """Returns a function that runs the command line of the package."""

    def run(*arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "fanin", *arguments]
        return subprocess.run(command, check=check, capture_output=True, text=True)

    return run


@pytest.fixture
def in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs a test in a folder of its own, whose processes find the package that is tested."""
    import fanin

    package = str(Path(fanin.__file__).parent.parent)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([package, os.environ.get("PYTHONPATH", "")]))
    monkeypatch.chdir(tmp_path)
