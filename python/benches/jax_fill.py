"""Fills of arrays by fanin and by jax.random, in turns: `python python/benches/jax_fill.py`.

Each turn makes the same array once by each, so that other work of the machine slows both. A ratio
is the median of those of the turns. Above 1, fanin is faster.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import report

import fanin
import fanin.jax

Make = Callable[[Any, tuple[int, ...], Any], jax.Array]

#: A distribution, JAX's function of a key, a shape and a dtype, and fanin's initializer.
CASES: list[tuple[str, Make, str]] = [
    ("normal", lambda k, s, d: 0.02 * jax.random.normal(k, s, d), "normal(std=0.02)"),
    (
        "uniform",
        lambda k, s, d: jax.random.uniform(k, s, d, -0.1, 0.1),
        "uniform(low=-0.1,high=0.1)",
    ),
    (
        "truncated normal",
        lambda k, s, d: 0.02 * jax.random.truncated_normal(k, -2, 2, s, d),
        "truncated_normal(std=0.02)",
    ),
]


def main() -> None:
    """Measures all cases and prints tables in Markdown."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--elements", type=int, default=1 << 24, help="elements of the array")
    parser.add_argument("--seconds", type=float, default=4, help="time of each row")
    options = parser.parse_args()
    print(report.head("python-jax", {"jax": jax.__version__}))
    print(f"Fills of {options.elements} elements on {jax.devices()[0].device_kind}; medians.")
    print("The ratio is the time of jax.random to fanin's, turn by turn.")
    print("The function of jax.random is compiled. The last columns are times of first calls.\n")
    print("| fill | way | jax.random, ms | fanin, ms | ratio | first, jax.random, s | fanin, s |")
    print("|---|---|---:|---:|---:|---:|---:|")
    for dtype in ("float32", "bfloat16"):
        for name, by_jax, init in CASES:
            for way in ("init", "traced"):
                row = _row(by_jax, init, way, (options.elements,), dtype, options.seconds)
                print(f"| {name} {dtype} | {way} | {row}", flush=True)


def _row(
    by_jax: Make, init: str, way: str, shape: tuple[int, ...], dtype: str, seconds: float
) -> str:
    recipe = fanin.Recipe.from_rules([{"match": "*", "init": init}])
    tree = {"w": jax.ShapeDtypeStruct(shape, dtype)}

    def by_fanin(key: Any) -> Any:
        return fanin.jax.init(recipe, tree, key)

    first = jax.jit(lambda key: by_jax(key, shape, jnp.dtype(dtype)))
    second = by_fanin if way == "init" else jax.jit(by_fanin)
    compilations = [_time(first, jax.random.key(0)), _time(second, jax.random.key(0))]
    pairs = []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(pairs) < 5:
        key = jax.random.key(len(pairs))
        pairs.append((_time(first, key), _time(second, key)))
    cells = [
        f"{1e3 * statistics.median(a for a, _ in pairs):.1f}",
        f"{1e3 * statistics.median(b for _, b in pairs):.1f}",
        f"{statistics.median(a / b for a, b in pairs):.2f}",
        f"{compilations[0]:.2f}",
        f"{compilations[1]:.2f}" if way == "traced" else "-",
    ]
    return " | ".join(cells) + " |"


def _time(call: Callable[[Any], Any], key: Any) -> float:
    start = time.perf_counter()
    jax.block_until_ready(call(key))
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
