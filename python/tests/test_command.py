"""The command line of the package."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

import fanin
from fanin.__main__ import main

pytestmark = pytest.mark.usefixtures("in_folder")

FANIN = [sys.executable, "-m", "fanin"]
POSIX = pytest.mark.skipif(os.name != "posix", reason="needs signals and closed streams of POSIX")


def test_version_and_exit_statuses(fanin_command: Any) -> None:
    assert fanin_command("--version").stdout == f"fanin {fanin.__version__}\n"
    wrong = fanin_command("fill", "--nonsense", check=False)
    assert wrong.returncode == 2
    assert "unexpected argument '--nonsense'" in wrong.stderr
    missing = fanin_command("stats", "missing.safetensors", check=False)
    assert missing.returncode == 1
    assert missing.stderr.startswith("fanin: error: missing.safetensors: cannot open: ")
    assert missing.stdout == ""


def test_the_script_runs_the_command_line() -> None:
    import importlib.metadata

    try:
        scripts = importlib.metadata.distribution("fanin").entry_points
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("the package is not installed, but imported from its folder")
    [script] = [script for script in scripts if script.name == "fanin"]
    assert script.load() is main


def test_a_recipe_with_its_list_is_one_argument(fanin_command: Any) -> None:
    Path("list.json").write_text('[{"name": "fc.weight", "shape": [8, 6]}]')
    Path("own.toml").write_text('extends = "kaiming"\ntensors = "list.json"\nseed = 5\n')
    fanin_command("init", "own.toml", "--out", "w.safetensors", "--backend", "cpu")
    fanin_command("verify", "w.safetensors", "--recipe", "own.toml")
    plan = json.loads(fanin_command("plan", "own.toml", "--json").stdout)
    assert [tensor["name"] for tensor in plan["tensors"]] == ["fc.weight"]
    assert fanin.verify("w.safetensors", "own.toml").same


def test_a_container_sees_no_errors_of_wayland(
    fanin_command: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Mesa's layer for the choice of a GPU must not look for a compositor where none can be."""
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    assert "XDG_RUNTIME_DIR" not in fanin_command("devices", check=False).stderr


@POSIX
def test_a_reader_that_stops_is_no_error() -> None:
    list_all = subprocess.Popen([*FANIN, "inits", "--markdown"], stdout=subprocess.PIPE)
    assert list_all.stdout is not None
    list_all.stdout.readline()
    list_all.stdout.close()
    assert list_all.wait() == 0


@POSIX
@pytest.mark.parametrize("closed", ["1>&-", "2>&-", "1>&- 2>&-", "0<&- 1>&- 2>&-"])
def test_closed_streams_do_not_reach_files(closed: str) -> None:
    """A file must not get the number of a closed stream, to which messages are written."""
    fanin.init_model("kaiming", {"fc.weight": (8, 6)}, 1, out="a.safetensors")
    command = " ".join(FANIN) + " init kaiming --tensors a.safetensors --seed 1 --out b.safetensors"
    subprocess.run(f"{command} {closed}", shell=True, check=True)
    assert Path("a.safetensors").read_bytes() == Path("b.safetensors").read_bytes()


def running_init(*options: str) -> subprocess.Popen[str]:
    """Starts to write a large model, and returns once it writes."""
    Path("list.json").write_text('[{"name": "w", "shape": [10000, 100000]}]')
    Path("own.toml").write_text('[[rule]]\nmatch = "w"\ninit = "trunc_normal"\n')
    command = [*FANIN, "init", "own.toml", "--tensors", "list.json", "--seed", "1", *options]
    # A shell that runs the tests in the background starts them with SIGINT ignored, and so the
    # command. One that is handled here has its default there.
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    signal.signal(signal.SIGINT, handler)
    deadline = time.monotonic() + 60
    while not list(Path().glob(".fanin-*")):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return process


@POSIX
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_a_signal_leaves_no_file(name: str) -> None:
    process = running_init("--out", "w.safetensors", "--backend", "cpu", "--threads", "1")
    process.send_signal(getattr(signal, name))
    _, messages = process.communicate(timeout=30)
    assert process.returncode == 1
    assert messages.endswith("fanin: error: interrupted: no file was left incomplete\n")
    assert sorted(path.name for path in Path().iterdir()) == ["list.json", "own.toml"]
