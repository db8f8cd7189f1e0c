"""Makes each distribution in each dtype in every way, and prints a table with a hash of each.

    web/build && (cd web && npm install)
    cd python
    python -m tests.oracle.ways > ../benches/results/ways.md

The ways are the CPU, the WGSL shaders on the adapter of the environment variable FANIN_ADAPTER
(words, as for `fanin --adapter`; by default the best one), torch's operations, the Triton kernel in
Triton's interpreter, XLA on the CPU with a traced seed, and WebGPU in headless Chromium, whose
program CHROMIUM can name. It ends with an error if hashes differ.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import fanin

from ..torch.device_cases import CASES, SEED

ROOT = Path(__file__).parents[3]
DTYPES = {"f32": "float32", "f16": "float16", "bf16": "bfloat16"}
Hash = Callable[[str, tuple[int, ...], str], str]


def _hash(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]


def by_the_cpu(init: str, shape: tuple[int, ...], dtype: str) -> str:
    """Returns the hash of a fill on the CPU."""
    return _hash(fanin.fill(init, shape, name="w", seed=SEED, dtype=DTYPES[dtype]).tobytes())


def by_wgsl(init: str, shape: tuple[int, ...], dtype: str) -> str:
    """Returns the hash of a fill by the shaders, in a process of the command line."""
    arguments = ["--init", init, "--shape", ",".join(map(str, shape)), "--dtype", dtype]
    adapter = os.environ.get("FANIN_ADAPTER")
    call = [sys.executable, "-m", "fanin", "--quiet", "fill", "--name", "w", "--seed", str(SEED)]
    call += [*arguments, "--backend", "gpu", "--out", "-"]
    call += ["--adapter", adapter] if adapter else []
    return _hash(subprocess.run(call, check=True, stdout=subprocess.PIPE).stdout)


def by_torch(init: str, shape: tuple[int, ...], dtype: str) -> str:
    """Returns the hash of a fill in the way that the environment selects."""
    import torch

    from fanin.torch import fill_

    out = torch.empty(shape, dtype=getattr(torch, DTYPES[dtype]))
    fill_(out, init, name="w", seed=SEED)
    return _hash(out.view(torch.uint8).numpy().tobytes())


def by_xla(init: str, shape: tuple[int, ...], dtype: str) -> str:
    """Returns the hash of a fill by XLA."""
    import jax
    import numpy as np

    import fanin.jax

    recipe = fanin.Recipe.from_rules([{"match": "w", "init": init}])
    shapes = {"w": jax.ShapeDtypeStruct(shape, DTYPES[dtype])}
    words = np.array([SEED >> 32, SEED & 0xFFFFFFFF], np.uint32)
    make = jax.jit(lambda key: fanin.jax.init(recipe, shapes, key))
    return _hash(np.asarray(make(jax.random.wrap_key_data(words))["w"]).tobytes())


def by_the_browser(init: str, shape: tuple[int, ...], dtype: str) -> str:
    """Returns the hash of a fill in Chromium."""
    return _of_the_browser()[init, shape, dtype]


@cache
def _of_the_browser() -> dict[tuple[str, tuple[int, ...], str], str]:
    """Returns the hashes of all cases in Chromium."""
    cases = [(*case, dtype) for case in CASES.values() for dtype in DTYPES]
    requests = [
        {"init": init, "shape": shape, "dtype": dtype, "name": "w", "seed": str(SEED)}
        for init, shape, dtype in cases
    ]
    call = ["node", str(ROOT / "web/tests/ways.mjs")]
    made = subprocess.run(
        call, check=True, input=json.dumps(requests), stdout=subprocess.PIPE, text=True
    ).stdout
    hashes = (digest[:16] for digest in json.loads(made))
    return dict(zip(cases, hashes, strict=True))


@cache
def _of_torch(way: str) -> dict[str, str]:
    """Returns the hashes of a way of `fanin.torch`, which the environment selects at its start."""
    environment = {**os.environ, "FANIN_TORCH_WAY": way, "TRITON_INTERPRET": "1"}
    call = [sys.executable, "-m", "tests.oracle.ways", "torch"]
    made = subprocess.run(call, check=True, stdout=subprocess.PIPE, env=environment).stdout
    hashes: dict[str, str] = json.loads(made)
    return hashes


def _by(way: str) -> Hash:
    return lambda init, shape, dtype: _of_torch(way)[f"{init} {shape} {dtype}"]


WAYS: dict[str, Hash] = {
    "CPU": by_the_cpu,
    "WGSL": by_wgsl,
    "torch operations": _by("operations"),
    "Triton interpreter": _by("triton"),
    "XLA": by_xla,
    "browser": by_the_browser,
}


def main(arguments: list[str]) -> int:
    """Prints the table, or with the argument `torch` the hashes of one way as JSON."""
    cases = [(name, *case, dtype) for name, case in CASES.items() for dtype in DTYPES]
    if arguments:
        hashes = {f"{i} {shape} {dtype}": by_torch(i, shape, dtype) for _, i, shape, dtype in cases}
        print(json.dumps(hashes))
        return 0
    print(f"Each way gives the same bits, whose SHA-256 begins as below: {', '.join(WAYS)}.\n")
    print("| distribution | shape | dtype | hash |\n|---|---|---|---|")
    differing = 0
    for _, init, shape, dtype in cases:
        found: dict[str, Any] = {way: make(init, shape, dtype) for way, make in WAYS.items()}
        values = set(found.values())
        shown = f"`{values.pop()}`" if len(values) == 1 else f"**differ**: {found}"
        differing += shown.startswith("**")
        print(f"| `{init}` | {' x '.join(map(str, shape))} | {dtype} | {shown} |", flush=True)
    return 1 if differing else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
