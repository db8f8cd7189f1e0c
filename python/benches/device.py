"""Fills of a device by each way and by torch: `python python/benches/device.py --device cuda`.

Each turn makes the same tensor once by each way, so that other work of the machine slows all of
them. Times are medians. The bits of each way are compared with those of the CPU first.

`compiled` is the arithmetic of the way `operations` through torch.compile, without the store to the
tensor. On GPUs it tells whether the hand-written Triton kernel is worth its lines.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import fill
import report
import torch

from fanin import _native
from fanin._program import Program
from fanin.torch import _device, fill_
from fanin.torch._device._elements import LANES, Job, made
from fanin.torch._device._probe import has_exact_floats

Call = Callable[[], object]

CASES = [("plain fill", lambda t: t.fill_(0.5), "constant(value=0.5)"), *fill.CASES]


def main() -> None:
    """Measures all cases and prints a table in Markdown."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="cpu", help="the device to fill")
    parser.add_argument("--elements", type=int, default=1 << 22, help="elements of the tensor")
    parser.add_argument("--turns", type=int, default=7, help="turns of each row")
    options = parser.parse_args()
    device = torch.empty(0, device=options.device).device
    ways = [way for way, make in _device._WRITERS.items() if _device._is_right(make, device)]
    print(report.head("python-device", {}))
    print(
        f"Fills of {options.elements} elements on {device}; medians in ms. No way is missing but:"
    )
    print(f"{', '.join(set(_device._WRITERS) - set(ways)) or 'none'}.\n")
    print(f"| fill | torch | the CPU and a copy | {' | '.join(ways)} | compiled | compile, s |")
    print(f"|---|{'---:|' * (len(ways) + 4)}")
    for dtype in (torch.float32, torch.bfloat16):
        tensor = torch.zeros(options.elements, dtype=dtype, device=device)
        for name, by_torch, init in CASES:
            row = _row(tensor, by_torch, init, ways, options.turns)
            print(f"| {name} {'f32' if dtype == torch.float32 else 'bf16'} | {row}", flush=True)


def _row(
    tensor: torch.Tensor,
    by_torch: Callable[[torch.Tensor], object],
    init: str,
    ways: list[str],
    turns: int,
) -> str:
    programs = _programs(tensor, init)
    calls: list[Call] = [lambda: by_torch(tensor), lambda: _copied(tensor, init)]
    calls += [lambda way=way: _written(tensor, programs, way) for way in ways]  # type: ignore[misc]
    compiled = _compiled(tensor, programs[0])
    start = time.perf_counter()
    compiled()
    _wait(tensor.device)
    compile_time = time.perf_counter() - start
    calls.append(compiled)
    _copied(tensor, init)
    want = tensor.clone()
    for call in calls[2:-1]:
        tensor.zero_()
        call()
        assert torch.equal(tensor, want), init
    assert torch.equal(compiled().reshape(-1)[: tensor.numel()], want), init
    times = [[_time(call, tensor.device) for call in calls] for _ in range(turns)]
    medians = [f"{1e3 * statistics.median(column):.2f}" for column in zip(*times)]
    return " | ".join([*medians, f"{compile_time:.1f}"]) + " |"


def _programs(tensor: torch.Tensor, init: str) -> list[Program]:
    shape, dtype = list(tensor.shape), str(tensor.dtype)
    numbers = _native.program(init, shape, name="w", seed=1, dtype=dtype)
    return [Program.of(each) for each in numbers]


def _copied(tensor: torch.Tensor, init: str) -> None:
    made_by_the_cpu = torch.empty(tensor.shape, dtype=tensor.dtype)
    tensor.copy_(fill_(made_by_the_cpu, init, name="w", seed=1))


def _written(tensor: torch.Tensor, programs: list[Program], way: str) -> None:
    writer = _device._WRITERS[way](tensor.device)
    writer.write(programs, tensor, ((0, tensor.numel()),))
    writer.finish()


def _compiled(tensor: torch.Tensor, program: Program) -> Callable[[], torch.Tensor]:
    torch._dynamo.reset()
    compiled = torch.compile(made, dynamic=True, fullgraph=True)
    job = Job.of(program, tensor.dtype, tensor.device, has_exact_floats(tensor.device))
    blocks = torch.arange(-(-tensor.numel() // LANES), device=tensor.device)
    return lambda: compiled(job.form, blocks, job.numbers, job.table)


def _time(call: Call, device: torch.device) -> float:
    _wait(device)
    start = time.perf_counter()
    call()
    _wait(device)
    return time.perf_counter() - start


def _wait(device: torch.device) -> None:
    if device.type != "cpu":
        torch.get_device_module(device).synchronize(device)


if __name__ == "__main__":
    main()
