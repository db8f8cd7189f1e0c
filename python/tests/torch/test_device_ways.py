"""The choice between the ways of a device, and models that are filled by them."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import fanin
from fanin.torch import _device, build, fill_, init_, record
from fanin.torch._device import _operations
from fanin.torch._fill import Drawn, Known, Means, Planned, _write_part
from fanin.torch._geometry import Part

from .device_cases import CPU, same_bits


@pytest.fixture
def by_operations(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fills CPU tensors as those of other devices."""
    monkeypatch.setenv(_device.WAY_VARIABLE, "operations")


class Model(nn.Module):
    """Weights of several cores, masks and dtypes."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(50, 24, padding_idx=1)
        self.convolution = nn.Conv2d(3, 8, 3)
        self.linears = nn.ModuleList(nn.Linear(24, 24) for _ in range(3))
        self.norm = nn.BatchNorm1d(24)
        self.head = nn.Linear(24, 7, dtype=torch.bfloat16)
        self.positions: torch.Tensor
        self.register_buffer("positions", torch.arange(24))
        nn.init.trunc_normal_(self.linears[0].weight, std=0.02)
        nn.init.sparse_(self.linears[1].weight, sparsity=0.5)
        with torch.no_grad():
            self.linears[2].bias.copy_(torch.rand(24).cumsum(0))


def test_models_are_the_same_by_either_way(monkeypatch: pytest.MonkeyPatch) -> None:
    want = build(Model, seed=3).state_dict()
    recorded = record(Model)
    monkeypatch.setenv(_device.WAY_VARIABLE, "operations")
    filled = Model()
    report = init_(filled, 3, recipe=recorded)
    for model in (build(Model, seed=3), filled):
        for name, tensor in model.state_dict().items():
            assert same_bits(tensor, want[name]), name
    # The sum of random numbers is replayed on the CPU.
    assert report.devices == ["filled on cpu by torch operations", "filled on the CPU"]
    assert "filled on cpu by torch operations; filled on the CPU" in str(report)


def test_the_report_tells_of_fills_by_the_cpu() -> None:
    assert init_(nn.Linear(3, 4), 1).devices == ["filled on the CPU"]


def test_orthogonal_weights_are_within_the_tolerance(by_operations: None) -> None:
    tensor = fill_(torch.empty(70, 30), "orthogonal", name="w", seed=1)
    want = torch.from_numpy(fanin.fill("orthogonal", (70, 30), name="w", seed=1))
    assert float((tensor - want).abs().max()) <= 1e-5


def test_parts_with_several_ranges_are_filled(by_operations: None) -> None:
    source = Drawn("normal(std=1)", (12, 10), "w", 7, "out_in")
    rows, columns = ((1, 3), (5, 6), (9, 12)), ((0, 2), (7, 10))
    memory = torch.zeros(10, 6).t().contiguous().t()[:6, :5]
    assert _write_part(source, Part(memory, (rows, columns)), Means()) == (
        "filled on cpu by torch operations"
    )
    whole = torch.from_numpy(fanin.fill("normal(std=1)", (12, 10), name="w", seed=7))
    held = [[i for start, end in ranges for i in range(start, end)] for ranges in (rows, columns)]
    assert same_bits(memory.contiguous(), whole[held[0]][:, held[1]])


def test_progress_has_all_bytes(by_operations: None) -> None:
    made: list[tuple[int, int]] = []
    source = Drawn("normal(std=1)", (12, 10), "w", 7, "out_in")
    part = Part(torch.empty(12, 10), (((0, 12),), ((0, 10),)))
    _write_part(source, part, Means(progress=lambda *numbers: made.append(numbers)))
    assert made == [(480, 480)]


def test_values_that_are_there_already_are_copied(by_operations: None, in_folder: None) -> None:
    part = Part(torch.zeros(4), (((2, 6),),))
    assert _write_part(Known(torch.arange(8.0)), part, Means()) == "filled on the CPU"
    assert part.memory.tolist() == [2, 3, 4, 5]
    drawn = fanin.Recipe.from_rules([{"match": "k", "init": "normal(std=1)"}])
    fanin.init_model(drawn, [("k", (4, 2), "f32")], 1, out="old.safetensors")
    keep = fanin.Recipe.from_rules([{"match": "k", "keep": True}])
    plan = keep.plan("old.safetensors", seed=1)
    part = Part(torch.zeros(2, 2), (((1, 3),), ((0, 2),)))
    assert _write_part(Planned(plan, "k"), part, Means()) == "filled on the CPU"
    assert same_bits(part.memory, torch.from_numpy(plan.fill("k"))[1:3])


def test_autograd_learns_of_the_change(by_operations: None) -> None:
    weight = nn.Parameter(torch.ones(3))
    loss = (weight * weight).sum()
    fill_(weight, "normal(std=1)", name="w", seed=1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_errors_of_initializers_are_those_of_the_cpu(by_operations: None) -> None:
    with pytest.raises(fanin.ArgumentError, match="not an initializer"):
        fill_(torch.empty(3), "norm", name="w", seed=1)
    with pytest.raises(fanin.FaninError, match="whole numbers"):
        fill_(torch.empty(3, dtype=torch.int32), "normal(std=1)", name="w", seed=1)


def test_defaults_of_the_caller_do_not_matter(by_operations: None) -> None:
    tensors = {
        init: torch.empty(9, 7) for init in ("normal(std=1)", "orthogonal", "sparse(sparsity=0.5)")
    }
    _device._probe.has_exact_floats.cache_clear()
    torch.set_default_dtype(torch.bfloat16)
    try:
        with torch.device("meta"):
            assert _device._way_of.__wrapped__(CPU) == "operations"
            for init, tensor in tensors.items():
                fill_(tensor, init, name="w", seed=1)
    finally:
        torch.set_default_dtype(torch.float32)
    for init, tensor in tensors.items():
        want = torch.from_numpy(fanin.fill(init, (9, 7), name="w", seed=1))
        assert float((tensor - want).abs().max()) <= 1e-5


def test_unknown_ways_are_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(_device.WAY_VARIABLE, "fast")
    with pytest.raises(
        ValueError, match="FANIN_TORCH_WAY is 'fast'; use triton, operations or copy"
    ):
        fill_(torch.empty(3), "zeros", name="w", seed=1)


def test_a_device_takes_the_first_way_that_is_right(monkeypatch: pytest.MonkeyPatch) -> None:
    choose = _device._way_of.__wrapped__
    # Without its interpreter, Triton runs on no CPU.
    assert choose(CPU) == "operations"
    values = _operations._values
    monkeypatch.setattr(_operations, "_values", lambda *of: values(*of).nextafter(torch.ones(1)))
    assert choose(CPU) == "copy"

    def missing(*_: object) -> torch.Tensor:
        raise NotImplementedError

    monkeypatch.setattr(_operations, "_values", missing)
    assert choose(CPU) == "copy"


def test_a_trial_that_fails_elsewhere_is_not_hidden(by_operations: None, monkeypatch) -> None:
    def broken(*_: object) -> torch.Tensor:
        raise RuntimeError("out of memory")

    monkeypatch.setattr(_operations, "_values", broken)
    with pytest.raises(RuntimeError, match="out of memory"):
        fill_(torch.empty(3), "normal(std=1)", name="w", seed=1)
    # A later fill does not wait for boxes of one that failed.
    assert _device._together.get() is None
