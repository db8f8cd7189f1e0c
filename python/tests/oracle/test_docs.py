"""Every block of code of docs/PYTHON.md runs as it stands, in the order of the page."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from . import processes

PAGE = Path(__file__).resolve().parents[3] / "docs" / "PYTHON.md"
BLOCK = re.compile(r"^```(\S+)([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


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
    launcher = {"sh": ["sh", "-e"], "python": [sys.executable], "torchrun": processes.torchrun(2)}
    processes.run([*launcher[language], script], folder, folder / "bin")


def test_page_is_short_and_complete() -> None:
    text = PAGE.read_text()
    assert len(text.splitlines()) < 250
    assert "@" not in re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    for link in re.findall(r"\]\((?!http)([^)#]+)", text):
        assert (PAGE.parent / link).exists(), link
