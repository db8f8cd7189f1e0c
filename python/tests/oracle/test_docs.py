"""Every block of code of docs/PYTHON.md runs as it stands, in the order of the page."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

PAGE = Path(__file__).resolve().parents[3] / "docs" / "PYTHON.md"
BLOCK = re.compile(r"^```(\S+)([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]


def blocks() -> list[tuple[str, str]]:
    """Returns the language and the text of each block; "torchrun" is Python for two processes."""
    found = [
        (info.strip() or language, text) for language, info, text in BLOCK.findall(PAGE.read_text())
    ]
    assert {language for language, _ in found} <= {"python", "torchrun", "sh"}
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Returns a folder for the files that the page writes, with the command `fanin` on its path."""
    path = tmp_path_factory.mktemp("page")
    command = path / "bin" / "fanin"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m fanin "$@"\n')
    command.chmod(0o755)
    return path


@pytest.mark.parametrize("number", range(len(blocks())))
def test_block(number: int, folder: Path) -> None:
    """Needs the files of the blocks before it, which run first."""
    language, text = blocks()[number]
    if language == "sh" and text.startswith("pip install"):
        assert text == "pip install ./python torch\n"  # This package is installed already.
        return
    script = folder / f"block_{number}.py"
    script.write_text(text)
    call = {
        "sh": ["sh", "-e", str(script)],
        "python": [sys.executable, str(script)],
        "torchrun": [*TORCHRUN, str(script)],
    }[language]
    done = subprocess.run(
        call, cwd=folder, env=environment(folder), capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, (
        f"block {number} of {PAGE.name}:\n{text}\n{done.stdout}{done.stderr}"
    )


def environment(folder: Path) -> dict[str, str]:
    """Returns an environment with this interpreter's modules, and one thread for a process."""
    return {
        **os.environ,
        "PATH": f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        "OMP_NUM_THREADS": "1",
    }


def test_page_is_short_and_complete() -> None:
    text = PAGE.read_text()
    assert len(text.splitlines()) < 250
    assert "@" not in re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    for link in re.findall(r"\]\((?!http)([^)#]+)", text):
        assert (PAGE.parent / link).exists(), link
