"""Fills of CPU tensors by fanin and by torch, in turns: `python python/benches/fill.py`.

Each turn fills the same tensor once by each, so that other work of the machine slows both. A ratio
is the median of those of the turns. Above 1, fanin is faster.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable

import report
import torch

from fanin.torch import fill_

Fill = Callable[[torch.Tensor, int], object]

#: A distribution, torch's function and fanin's initializer.
CASES: list[tuple[str, Callable[[torch.Tensor], object], str]] = [
    ("normal", lambda t: t.normal_(0, 0.02), "normal(std=0.02)"),
    ("uniform", lambda t: t.uniform_(-0.1, 0.1), "uniform(low=-0.1,high=0.1)"),
    (
        "truncated normal",
        lambda t: torch.nn.init.trunc_normal_(t, std=0.02, a=-0.04, b=0.04),
        "trunc_normal(std=0.02,a=-0.04,b=0.04)",
    ),
]


def main() -> None:
    """Measures all cases and prints a table in Markdown."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--elements", type=int, default=1 << 24, help="elements of the tensor")
    parser.add_argument("--seconds", type=float, default=4, help="time of each row")
    options = parser.parse_args()
    print(report.head("python-fill", {}))
    print(f"Fills of {options.elements} elements; medians.")
    print("The ratio is torch's time to fanin's, turn by turn.\n")
    print("| fill | threads | torch, ms | fanin, ms | ratio | a tenth of the turns below | above |")
    print("|---|---:|---:|---:|---:|---:|---:|")
    for threads in sorted({1, len(os.sched_getaffinity(0))}):
        torch.set_num_threads(threads)
        for dtype in (torch.float32, torch.bfloat16):
            tensor = torch.zeros(options.elements, dtype=dtype)
            for name, by_torch, init in CASES:
                label = f"{name} {'f32' if dtype == torch.float32 else 'bf16'}"
                row = _row(tensor, by_torch, init, threads, options.seconds)
                print(f"| {label} | {threads} | {row}", flush=True)


def _row(
    tensor: torch.Tensor,
    by_torch: Callable[[torch.Tensor], object],
    init: str,
    threads: int,
    seconds: float,
) -> str:
    pairs = []
    end = time.perf_counter() + seconds
    with torch.no_grad():
        while time.perf_counter() < end or len(pairs) < 5:
            first = _time(lambda: by_torch(tensor))
            second = _time(lambda: fill_(tensor, init, name="w", seed=len(pairs), threads=threads))
            pairs.append((first, second))
    pairs = pairs[1:]  # The first turn warms up.
    ratios = sorted(a / b for a, b in pairs)
    cells = [
        f"{1e3 * statistics.median(a for a, _ in pairs):.1f}",
        f"{1e3 * statistics.median(b for _, b in pairs):.1f}",
        f"{statistics.median(ratios):.1f}",
        f"{ratios[len(ratios) // 10]:.1f}",
        f"{ratios[-1 - len(ratios) // 10]:.1f}",
    ]
    return " | ".join(cells) + " |"


def _time(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
