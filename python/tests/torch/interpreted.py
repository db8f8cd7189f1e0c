"""Runs the Triton kernel in Triton's interpreter, and compares its fills with the CPU's.

`TRITON_INTERPRET=1 python interpreted.py TEST` runs a test of this file. The variable must be set
before the kernel is loaded, so each test has a process of its own.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parent))
from device_cases import CASES, CPU, Case, boxes, same_bits

from fanin.torch import _device
from fanin.torch._device import _requests
from fanin.torch._device._kernels import Kernels
from fanin.torch._device._operations import Operations
from fanin.torch._device._requests import Request, Variant

DTYPES = (torch.float32, torch.float16, torch.bfloat16)


def every_fill() -> None:
    """Compares every core and mask in every dtype, in floats and integers, on every kind of box."""
    for at, (name, (init, shape)) in enumerate(CASES.items()):
        kinds = list(boxes(shape))
        for step, dtype in enumerate(DTYPES):
            case = Case(init, shape, dtype)
            # Each case takes another box and another kind of arithmetic in each dtype.
            box = kinds[(at + step) % len(kinds)]
            out = torch.zeros([end - start for start, end in box], dtype=dtype)
            request = Request.of(case.programs()[0], out, box, (at + step) % 2 == 0)
            assert request is not None
            _requests.launch([request], CPU)
            assert same_bits(out, case.by_the_cpu(box)), (name, dtype, box)


def every_slice() -> None:
    """Compares normal fills in every dtype on every kind of box, and flat ones."""
    for dtype in DTYPES:
        for shape in ((37, 22), (8, 16), (3, 4, 5)):
            case = Case("normal(std=0.02)", shape, dtype)
            kernels = Kernels(Operations(CPU, True))
            made = [
                (box, torch.zeros([b - a for a, b in box], dtype=dtype)) for box in boxes(shape)
            ]
            for box, out in made:
                assert kernels.write(case.programs(), out, box) == {"Triton"}
            kernels.finish()
            for box, out in made:
                assert same_bits(out, case.by_the_cpu(box)), (shape, dtype, box)


def strided_memory() -> None:
    """Compares fills of memory whose elements do not follow each other, and of other dtypes."""
    for dtype in (torch.float32, torch.float64, torch.float8_e4m3fn):
        case = Case("trunc_normal(std=1)", (9, 6), dtype)
        out = torch.zeros((12, 18), dtype=dtype).t()[::2, ::2]
        kernels = Kernels(Operations(CPU, True))
        kernels.write(case.programs(), out, ((0, 9), (0, 6)))
        kernels.finish()
        assert same_bits(out.contiguous(), case.by_the_cpu(((0, 9), (0, 6)))), dtype


def many_tensors() -> None:
    """Compares tensors that share launches."""
    launches: list[Variant] = []
    launch = _requests._launch

    def counted(requests: list[Request], device: torch.device) -> None:
        launches.append(requests[0].variant)
        launch(requests, device)

    _requests._launch = counted
    shapes = [(16, size) for size in range(1, 7)]
    inits = ("normal(std=1)", "normal(std=0.5)", "zeros")
    cases = [Case(init, shape, torch.float32) for init in inits for shape in shapes]
    made = [torch.full(case.shape, torch.nan) for case in cases]
    os.environ[_device.WAY_VARIABLE] = "triton"
    with _device.together():
        writer = _device.writer_of(CPU)
        assert writer is not None
        for case, out in zip(cases, made):
            writer.write(case.programs(), out, tuple((0, size) for size in case.shape))
            _device.finish(writer)
        assert launches == []
    assert len(launches) == 2
    for case, out in zip(cases, made):
        assert same_bits(out, case.by_the_cpu(tuple((0, size) for size in case.shape)))


def choice() -> None:
    """Finds that Triton makes the right bits, whatever the caller's default device is."""
    with torch.device("meta"):
        assert _device._way_of(CPU) == "triton"


if __name__ == "__main__":
    _requests.BLOCKS = 64  # The interpreter computes all lanes of a program, used or not.
    globals()[sys.argv[1]]()
