"""Ctrl-C, forked processes and threads."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

import fanin

pytestmark = pytest.mark.usefixtures("in_folder")

POSIX = pytest.mark.skipif(os.name != "posix", reason="needs signals and forks of POSIX")

INTERRUPTED = """
import os, signal, sys, threading, time
import fanin

# A shell that runs the tests in the background starts them with SIGINT ignored.
signal.signal(signal.SIGINT, signal.default_int_handler)
recipe = fanin.Recipe.from_rules([{"match": "*", "init": "trunc_normal"}])
TENSORS = {"w": (1000, 1_000_000)}


def fill():
    fanin.fill("trunc_normal", (3000, 1_000_000), name="w", seed=1, threads=1)


def init_model():
    fanin.init_model(recipe, TENSORS, 1, out="m/", threads=1)


def verify():
    fanin.verify("w.safetensors", recipe, 1, threads=1)


def stats():
    fanin.stats("w.safetensors", threads=1)


sent = []


def interrupt():
    time.sleep(0.4)
    sent.append(time.monotonic())
    os.kill(os.getpid(), signal.SIGINT)


threading.Thread(target=interrupt).start()
try:
    globals()[sys.argv[1]]()
except KeyboardInterrupt:
    print(time.monotonic() - sent[0])
"""


@POSIX
@pytest.mark.parametrize("function", ["fill", "init_model", "verify", "stats"])
def test_control_c_stops_work(function: str) -> None:
    if function in ("verify", "stats"):
        # A file of zeros, which takes no space on the disk.
        header = b'{"w":{"dtype":"F32","shape":[3000,1000000],"data_offsets":[0,12000000000]}}'
        header += b" " * (-len(header) % 8)
        with Path("w.safetensors").open("wb") as file:
            file.write(len(header).to_bytes(8, "little") + header)
            file.truncate(8 + len(header) + 12_000_000_000)
    command = [sys.executable, "-c", INTERRUPTED, function]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert ended.returncode == 0, ended.stderr
    # It takes at most 0.2 s on a machine that has nothing else to do.
    assert float(ended.stdout) < 2
    if function == "init_model":
        assert list(Path("m").iterdir()) == []


def results() -> list[float]:
    """Returns a number of every function that uses threads."""
    normal = fanin.fill("normal", (1 << 20,), name="w", seed=1)
    orthogonal = fanin.fill("orthogonal", (300, 300), name="w", seed=1)
    verified = fanin.verify("w.safetensors", "kaiming", 1)
    changed = fanin.diff("kaiming", "w.safetensors", 2)
    [stats] = fanin.stats("w.safetensors", "kaiming")
    assert changed.total.relative is not None
    assert stats.std is not None
    sums = [float(normal.sum()), float(orthogonal[:9].sum())]
    return [*sums, float(verified.same), changed.total.relative, stats.std]


def child(queue: multiprocessing.Queue[list[float]]) -> None:
    fanin.init_model("kaiming", {"fc.weight": (300, 200)}, 1, out=f"{os.getpid()}.safetensors")
    queue.put(results())


@POSIX
def test_a_forked_process_fills() -> None:
    fanin.init_model("kaiming", {"fc.weight": (300, 200)}, 1, out="w.safetensors")
    expected = results()
    context = multiprocessing.get_context("fork")
    queue: multiprocessing.Queue[list[float]] = context.Queue()
    processes = [context.Process(target=child, args=(queue,)) for _ in range(3)]
    for process in processes:
        process.start()
    assert [queue.get(timeout=60) for _ in processes] == [expected] * 3
    for process in processes:
        process.join(timeout=60)
        assert process.exitcode == 0


def test_threads_fill_at_the_same_time() -> None:
    expected = [fanin.fill("normal", (1 << 18,), name=str(i), seed=1) for i in range(8)]
    found: list[np.ndarray] = [np.empty(0)] * 8

    def fill(i: int) -> None:
        found[i] = fanin.fill("normal", (1 << 18,), name=str(i), seed=1, threads=1 + i % 3)

    threads = [threading.Thread(target=fill, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all((a == b).all() for a, b in zip(expected, found))


def test_other_threads_run_during_a_fill() -> None:
    ticks = []
    stop = threading.Event()

    def tick() -> None:
        while not stop.is_set():
            ticks.append(time.monotonic())
            time.sleep(0.001)

    thread = threading.Thread(target=tick)
    thread.start()
    begin = time.monotonic()
    fanin.fill("trunc_normal", (1 << 26,), name="w", seed=1, threads=1)
    end = time.monotonic()
    stop.set()
    thread.join()
    during = [time for time in ticks if begin < time < end]
    # With the lock held, at most one tick would be seen at each end.
    assert len(during) > 10


@POSIX
def test_a_handler_that_does_not_raise_lets_a_fill_end() -> None:
    called = []
    old = signal.signal(signal.SIGUSR1, lambda *_: called.append(True))
    try:
        threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGUSR1)).start()
        array = fanin.fill("trunc_normal", (1 << 26,), name="w", seed=1, threads=1)
    finally:
        signal.signal(signal.SIGUSR1, old)
    assert called
    assert (fanin.fill("trunc_normal", (1 << 26,), name="w", seed=1) == array).all()


def test_threads_fill_orthogonal_matrices_at_the_same_time() -> None:
    """The last matrix is kept for the next piece, which must neither mix fills nor block them."""
    expected = [fanin.fill("orthogonal", (400, 300), name=str(i), seed=1) for i in range(8)]
    found: list[np.ndarray] = [np.empty(0)] * 8

    def fill(i: int) -> None:
        for _ in range(20):
            found[i] = fanin.fill("orthogonal", (400, 300), name=str(i), seed=1, threads=4)

    threads = [threading.Thread(target=fill, args=(i,), daemon=True) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=120)
        assert not thread.is_alive()
    assert all((a == b).all() for a, b in zip(expected, found))
