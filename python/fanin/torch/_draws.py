"""Fills tensors of a replay with the numbers of fanin's streams."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from fanin import _native
from fanin.torch._forms import Form, initializer
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
        fill(tensor, _initializer(entry.form), name=names[entry.draw], seed=seed)

    return draw


def fixed(entry: Entry, tensor: torch.Tensor) -> None:
    """Draws the numbers that code reads while it is recorded: the same ones for every seed."""
    fill(tensor, _initializer(entry.form), name=f"//{entry.draw}", seed=0)


def _initializer(form: Form | None) -> str:
    # A draw without a form takes a seed for torch's generator, from uniform words.
    init = "uniform" if form is None else initializer(form)
    if init is None:
        raise ValueError(
            f"{form} cannot be drawn: its numbers are out of the range of an initializer"
        )
    return init
