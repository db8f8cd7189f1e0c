"""`seeded`: the model that is made in a with block."""

from __future__ import annotations

import gc
from typing import Any

import pytest
import torch
from torch import nn

from fanin.torch import RecordError, RecordWarning, build, seeded


def make() -> nn.Module:
    return nn.Sequential(nn.Linear(5, 4), nn.ReLU(), nn.LSTM(4, 3), nn.BatchNorm1d(3))


def assert_equal(model: nn.Module, expected: nn.Module) -> None:
    state = expected.state_dict()
    assert list(model.state_dict()) == list(state)
    for name, tensor in model.state_dict().items():
        assert tensor.dtype == state[name].dtype and torch.equal(tensor, state[name]), name


def test_values_are_those_of_build() -> None:
    with seeded(42):
        model = make()
    assert_equal(model, build(make, seed=42))
    with seeded(42, dtype=torch.bfloat16):
        model = make()
    assert_equal(model, build(make, seed=42, dtype=torch.bfloat16))


def test_optimizers_and_other_references_follow() -> None:
    with seeded(1):
        model = make()
        optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
        constant = torch.arange(3.0)
    before = model[0].bias.detach().clone()
    model[0](torch.ones(1, 5)).sum().backward()
    optimizer.step()
    assert torch.equal(model[0].bias, before - 1) and constant.tolist() == [0, 1, 2]


def test_modules_that_are_thrown_away_do_not_count() -> None:
    gc.disable()
    try:
        with seeded(1):
            cycle: list[Any] = [nn.Linear(2, 2)]
            cycle.append(cycle)
            del cycle
            model = make()
            model[0] = nn.Linear(5, 4)
            loss = nn.CrossEntropyLoss()
    finally:
        gc.enable()
    assert_equal(model, build(make, seed=1))
    assert isinstance(loss, nn.Module)


def test_modules_in_lists_belong_to_the_model() -> None:
    class Holder(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Linear(2, 2)
            self.rest = {"a": [nn.Linear(2, 2)]}

    with seeded(1):
        model = Holder()
    assert not torch.equal(model.first.weight, model.rest["a"][0].weight)


def test_other_models_are_not_touched() -> None:
    other = make()
    before = {name: tensor.clone() for name, tensor in other.state_dict().items()}
    with seeded(1):
        model = make()
    assert all(torch.equal(tensor, before[name]) for name, tensor in other.state_dict().items())
    assert not torch.equal(model[0].weight, other[0].weight)


def test_two_models_are_refused() -> None:
    with pytest.raises(RecordError, match="makes 2 separate models, Linear, Linear.*another seed"):
        with seeded(1):
            one, two = nn.Linear(2, 2), nn.Linear(2, 2)
    assert one.weight.is_meta and two.weight.is_meta


def test_a_block_without_a_model_is_refused() -> None:
    with pytest.raises(RecordError, match="makes no module with tensors"):
        with seeded(1):
            nn.ReLU()


def test_random_tensors_beside_the_model_are_refused() -> None:
    with pytest.raises(RecordError, match=r"shape \(7,\)"):
        with seeded(1):
            model, noise = nn.Linear(2, 2), torch.randn(7)
    assert model.weight.is_meta and noise.is_meta


def test_blocks_do_not_nest() -> None:
    with pytest.raises(RuntimeError, match="cannot begin within"):
        with seeded(1):
            with seeded(2):
                make()


def test_an_exception_makes_nothing() -> None:
    with pytest.raises(ZeroDivisionError):
        with seeded(1):
            model = make()
            raise ZeroDivisionError
    assert model[0].weight.is_meta and not nn.Linear(2, 2).weight.is_meta


def test_warnings_name_the_block() -> None:
    with pytest.warns(RecordWarning, match="'gain'") as caught:
        with seeded(1):
            model = nn.Linear(2, 2)
            model.gain = nn.Parameter(torch.empty(3))
    assert caught[0].filename == __file__ and model.gain.tolist() == [0, 0, 0]


def test_arguments_are_checked_before_the_block() -> None:
    entered = []
    for arguments, error in (
        ({"seed": -1}, ValueError),
        ({"seed": 1, "device": "meta"}, ValueError),
        ({"seed": 1, "dtype": torch.int8}, TypeError),
    ):
        with pytest.raises(error):
            with seeded(**arguments):  # type: ignore[arg-type]
                entered.append(arguments)
    assert not entered


def test_torch_generator_is_not_touched() -> None:
    before = torch.get_rng_state()
    with seeded(1):
        make()
        model = make()
    assert torch.equal(torch.get_rng_state(), before) and not model[0].weight.is_meta
