"""Fills by torch's own operations make the bits of the CPU."""

from __future__ import annotations

import pytest
import torch

import fanin
from fanin import _native
from fanin._program import Program
from fanin.torch._device import _elements, _orthogonal, _probe
from fanin.torch._device._operations import Operations
from fanin.torch._geometry import Box

from .device_cases import CASES, CPU, DRAWN, PLACED, SEED, Case, boxes, same_bits

PACKED = (torch.float32, torch.float16, torch.bfloat16)
CONVERTED = (torch.float64, torch.float8_e4m3fn, torch.float8_e5m2)
WHOLE = (torch.int8, torch.int16, torch.int32, torch.int64)


def made(case: Case, box: Box, operations: Operations) -> torch.Tensor:
    out = torch.zeros([end - start for start, end in box], dtype=case.dtype)
    operations.write(case.programs(), out, box)
    return out


@pytest.mark.parametrize("is_exact", [True, False], ids=["floats", "integers"])
@pytest.mark.parametrize("name", CASES)
def test_every_fill_has_the_bits_of_the_cpu(name: str, is_exact: bool) -> None:
    init, shape = CASES[name]
    operations = Operations(CPU, is_exact)
    for dtype in PACKED + CONVERTED:
        case = Case(init, shape, dtype)
        for box in boxes(shape):
            assert same_bits(made(case, box, operations), case.by_the_cpu(box)), (dtype, box)


@pytest.mark.parametrize("name", ["constant", "identity", "dirac", "causal mask", "counter"])
@pytest.mark.parametrize("dtype", WHOLE)
def test_whole_numbers_are_those_of_the_cpu(name: str, dtype: torch.dtype) -> None:
    init, shape = PLACED[name]
    case = Case(init, shape, dtype)
    for box in boxes(shape):
        assert same_bits(made(case, box, Operations(CPU, True)), case.by_the_cpu(box))


@pytest.mark.parametrize("dtype", [torch.bool, torch.uint8, torch.uint16, torch.uint32])
def test_truth_values_and_unsigned_numbers_are_those_of_the_cpu(dtype: torch.dtype) -> None:
    case = Case("eye", (6, 6), dtype)
    box = ((0, 6), (1, 5))
    assert same_bits(made(case, box, Operations(CPU, True)), case.by_the_cpu(box))


@pytest.mark.parametrize("name", DRAWN)
def test_pieces_do_not_change_values(name: str) -> None:
    init, shape = CASES[name]
    case = Case(init, shape, torch.float32)
    box = tuple((0, size) for size in shape)
    for piece in (20, 64):
        assert same_bits(made(case, box, Operations(CPU, True, piece)), case.by_the_cpu(box))


@pytest.mark.parametrize("init", ["normal(std=1)", "uniform(low=0, high=1)", "trunc_normal(std=1)"])
def test_elements_beyond_32_bits_have_their_own_values(init: str) -> None:
    shape = (1 << 24, 1 << 25)
    case = Case(init, shape, torch.float32)
    box = (((1 << 24) - 3, 1 << 24), ((1 << 25) - 5, 1 << 25))
    assert same_bits(made(case, box, Operations(CPU, True)), case.by_the_cpu(box))


@pytest.mark.parametrize("name", ["normal", "sparse", "dirac"])
def test_memory_can_have_any_strides(name: str) -> None:
    init, shape = CASES[name]
    case = Case(init, shape, torch.float32)
    whole = tuple((0, size) for size in shape)
    spread = torch.zeros([2 * size for size in reversed(shape)]).permute(
        *reversed(range(len(shape)))
    )
    out = spread[tuple(slice(None, None, 2) for _ in shape)]
    Operations(CPU, True).write(case.programs(), out, whole)
    assert same_bits(out.contiguous(), case.by_the_cpu(whole))


@pytest.mark.parametrize(
    ("init", "shape"),
    [
        ("orthogonal(gain=1.5)", (300, 200)),
        ("orthogonal", (40, 280)),
        ("orthogonal", (3, 2)),
        ("orthogonal", (24, 5, 3, 3)),
        ("delta_orthogonal", (24, 8, 3, 3)),
    ],
)
def test_orthogonal_matrices_are_within_the_tolerance(init: str, shape: tuple[int, ...]) -> None:
    for dtype in (torch.float32, torch.float64):
        case = Case(init, shape, dtype)
        for box in boxes(shape):
            error = (made(case, box, Operations(CPU, True)) - case.by_the_cpu(box)).abs().max()
            assert float(error) <= 1.5e-5


def test_devices_without_binary64_are_within_the_tolerance(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(_orthogonal, "_precision", lambda device: torch.float32)
    case = Case("orthogonal", (400, 400), torch.float32)
    box = ((0, 400), (0, 400))
    error = (made(case, box, Operations(CPU, True)) - case.by_the_cpu(box)).abs().max()
    # Sums in another order, so not the same bits.
    assert 0 < float(error) <= 1e-5


@pytest.mark.parametrize("last", ["sinusoids", "normal(std=2)", "zeros"])
def test_the_first_part_that_holds_an_element_applies(last: str) -> None:
    parts = [
        {"slice": "2:9,1:6", "init": "uniform(low=1, high=2)"},
        {"slice": "4:20,3:9", "init": "eye"},
        {"slice": "0:19,0:8", "init": last},
    ]
    rule = {"match": "w", "init": "normal(std=0.5)", "parts": parts}
    plan = fanin.Recipe.from_rules([rule]).plan([("w", (20, 11), None)], seed=5)
    programs = [Program.of(numbers) for numbers in plan._plan.program("w")]
    for box in boxes((20, 11)):
        out = torch.zeros([end - start for start, end in box])
        Operations(CPU, True).write(programs, out, box)
        assert same_bits(out, torch.from_numpy(plan.fill("w", slice=box)))


def test_the_probe_finds_floats_that_are_not_exact(monkeypatch: pytest.MonkeyPatch) -> None:
    assert _probe.has_exact_floats.__wrapped__(CPU)
    exact = _probe.float_value
    flaws = {
        "the sign of a zero": lambda p, e: torch.where(p == 0, 1 << 31, exact(p, e)),
        "a significand that is a bit short": lambda p, e: exact(p & ~1, e),
        "small numbers that are flushed": lambda p, e: torch.where(e < -120, 0, exact(p, e)),
    }
    for flaw in flaws.values():
        monkeypatch.setattr(_probe, "float_value", flaw)
        assert not _probe.has_exact_floats.__wrapped__(CPU)


def test_operations_compile_as_one_graph_with_the_same_bits() -> None:
    numbers = _native.program("uniform(low=-1, high=2)", [99], name="w", seed=SEED, dtype="bf16")
    job = _elements.Job.of(Program.of(numbers[0]), torch.bfloat16, CPU, True)
    compiled = torch.compile(_elements.made, dynamic=True, fullgraph=True, backend="inductor")
    for count in (1000, 37):
        arguments = (job.form, torch.arange(count), job.numbers, job.table)
        assert same_bits(compiled(*arguments), _elements.made(*arguments))
