"""Fills tensors of a replay with the numbers of fanin's streams."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from fanin import _native
from fanin.torch._forms import Form, Uniform, initializer, is_coarse, standard
from fanin.torch._replay import Draw, Entry


def fill(tensor: torch.Tensor, init: str, *, name: str, seed: int) -> None:
    """Fills a CPU tensor with an initializer, from the stream of a name.

    A complex tensor takes the numbers as its real and imaginary parts. No dtype without a stream
    occurs in a draw.
    """
    real = torch.view_as_real(tensor) if tensor.is_complex() else tensor
    out = torch.empty(real.shape, dtype=real.dtype)
    if out.numel():
        nbytes = out.numel() * out.element_size()
        dtype = str(out.dtype)
        _native.fill_at(
            init, list(out.shape), out.data_ptr(), nbytes, name=name, seed=seed, dtype=dtype
        )
    real.copy_(out)


def from_streams(names: Mapping[int, str], seed: int) -> Draw:
    """Returns a function that fills the draws of a replay, each from the stream of its name."""

    def draw(entry: Entry, tensor: torch.Tensor) -> None:
        assert entry.draw is not None
        _fill_form(tensor, entry.form, names[entry.draw], seed)

    return draw


def fixed(entry: Entry, tensor: torch.Tensor) -> None:
    """Draws the numbers that code reads while it is recorded: the same ones for every seed."""
    _fill_form(tensor, entry.form, f"//{entry.draw}", 0)


def _fill_form(tensor: torch.Tensor, form: Form | None, name: str, seed: int) -> None:
    # A draw without a form takes a seed for torch's generator, from uniform words.
    init, scale, shift = drawable(form or Uniform(0.0, 1.0), tensor.dtype)
    fill(tensor, init, name=name, seed=seed)
    if (scale, shift) != (1.0, 0.0):
        tensor.mul_(scale).add_(shift)


def drawable(form: Form, dtype: torch.dtype) -> tuple[str, float, float]:
    """Returns the initializer, the scale and the shift that make the numbers of a form.

    Raises:
        ValueError: No initializer makes them.
    """
    law, scale, shift = form, 1.0, 0.0
    if dtype == torch.float64 and is_coarse(law, torch.float32):
        # fanin's float64 elements are float32 numbers, which would all be equal here.
        law, scale, shift = standard(law)
    init = initializer(law)
    if init is None:
        numbers = {key: value for key, value in vars(form).items() if key != "flipped"}
        text = ", ".join(f"{key}={value:g}" for key, value in numbers.items())
        raise ValueError(
            f"{type(form).__name__}({text}) cannot be drawn: use finite numbers that float32 "
            "holds, a standard deviation above 0, bounds in order, and a sparsity from 0 to 1"
        )
    return init, scale, shift
