"""Every block of code of docs/JAX.md runs as it stands, in the order of the page."""

from __future__ import annotations

import os
import re
import runpy
from pathlib import Path

import pytest

# Read when Keras is imported first.
os.environ.setdefault("KERAS_BACKEND", "jax")

PAGE = Path(__file__).resolve().parents[3] / "docs" / "JAX.md"
BLOCK = re.compile(r"^```(\S+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
BLOCKS = BLOCK.findall(PAGE.read_text())


@pytest.mark.parametrize("number", range(len(BLOCKS)))
def test_block(
    number: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    language, text = BLOCKS[number]
    if language == "sh":
        assert text == "pip install ./python jax flax\n"  # They are installed already.
        return
    assert language == "python"
    monkeypatch.chdir(tmp_path)
    (tmp_path / "block.py").write_text(text)
    runpy.run_path(str(tmp_path / "block.py"))
    printed = {"print(recipe.plan": "lecun_normal\n", "print(model.weights": "net/head/kernel\n"}
    assert capsys.readouterr().out == "".join(out for call, out in printed.items() if call in text)


def test_page_is_short_and_complete() -> None:
    text = PAGE.read_text()
    assert len(text.splitlines()) < 250
    for link in re.findall(r"\]\((?!http)([^)#]+)", text):
        assert (PAGE.parent / link).exists(), link


def test_the_example_runs(capsys: pytest.CaptureFixture[str]) -> None:
    example = PAGE.parents[1] / "python" / "examples" / "flax_mesh.py"
    runpy.run_path(str(example), run_name="__main__")
    lines = capsys.readouterr().out.splitlines()
    assert "embed.embedding: (1000, 64), (500, 32) on each device" in lines
    assert lines[-1].startswith("loss ")
