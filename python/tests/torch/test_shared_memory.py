"""Memory that numpy and torch share: a recording sees what either of them writes."""

from __future__ import annotations

from typing import Callable

import numpy as np
import pytest
import torch

from .recordings import Holder, hold, value
from .test_traps import recorded_warnings

Make = Callable[[], torch.Tensor]


def torch_writes_to_an_array() -> torch.Tensor:
    array = np.ones(4, np.float32)
    torch.from_numpy(array).mul_(2)
    return torch.tensor(array)


def torch_writes_to_what_numpy_was_given() -> torch.Tensor:
    tensor = torch.zeros(4)
    array = tensor.numpy()
    tensor.fill_(3)
    return torch.tensor(array)


def numpy_writes_to_an_array_that_torch_has() -> torch.Tensor:
    array = np.full(4, np.nan, np.float32)
    tensor = torch.from_numpy(array)
    array[1:] = np.inf
    array[2] = 0
    return tensor


def numpy_writes_through_an_array_without_a_name() -> torch.Tensor:
    tensor = torch.zeros(1 << 19)
    tensor.numpy()[3] = 1
    return tensor


def both_write_in_turns() -> torch.Tensor:
    array = np.zeros((3, 4), np.float32).T
    tensor = torch.from_numpy(array)
    tensor[1] = 2
    array[0] = 1
    copy = tensor.clone()
    array[2] = 5
    tensor[3] += tensor[2]
    array[3, 0] += 1
    return torch.cat([tensor, copy])


def a_view_is_written() -> torch.Tensor:
    tensor = torch.zeros(4, 4)
    row, array = tensor[1], tensor.numpy()
    array[1, 2] = 5
    row.add_(1)
    assert array[1].tolist() == [1, 1, 6, 1]
    return row


def an_array_of_another_dtype_is_a_copy() -> torch.Tensor:
    tensor = torch.zeros(3)
    array = np.asarray(tensor, dtype=np.float64)
    array[0] = 1
    return tensor


_CASES = [
    torch_writes_to_an_array,
    torch_writes_to_what_numpy_was_given,
    numpy_writes_to_an_array_that_torch_has,
    numpy_writes_through_an_array_without_a_name,
    both_write_in_turns,
    a_view_is_written,
    an_array_of_another_dtype_is_a_copy,
]


@pytest.mark.parametrize("make", _CASES, ids=lambda make: make.__name__)
def test_a_recording_holds_what_torch_gives(make: Make) -> None:
    recorded = hold(lambda: {"x": make()}, strict=True)
    torch.testing.assert_close(value(recorded, "x"), make(), rtol=0, atol=0, equal_nan=True)


def test_numpy_cannot_see_or_change_random_numbers() -> None:
    def numpy_writes() -> torch.Tensor:
        tensor = torch.randn(4)
        tensor.numpy()[0] = 1
        return tensor

    def torch_draws() -> torch.Tensor:
        return torch.nn.init.normal_(torch.from_numpy(np.zeros(4)))

    read, changed = recorded_warnings(lambda: Holder(lambda: {"x": numpy_writes()}))
    assert read.startswith("numpy reads values that depend on random numbers at ")
    assert changed.startswith("numpy changed memory that it shares with a random tensor at ")
    (unseen,) = recorded_warnings(lambda: Holder(lambda: {"x": torch_draws()}))
    assert unseen.startswith("numpy shares memory with a random tensor at ")
