"""Helpers of the recorder's tests: values of a recording, and those of its saved recipe."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Callable

import torch
from torch import nn

import fanin
from fanin.torch import Recorded, record


class Holder(nn.Module):
    """A module with the tensors that a function returns as parameters."""

    def __init__(self, make: Callable[[], dict[str, torch.Tensor]]) -> None:
        super().__init__()
        for name, tensor in make().items():
            if isinstance(tensor, nn.Parameter) or not tensor.is_floating_point():
                setattr(self, name, nn.Parameter(tensor, requires_grad=False))
            else:
                setattr(self, name, nn.Parameter(tensor))


def hold(make: Callable[[], dict[str, torch.Tensor]], **kwargs: Any) -> Recorded:
    """Records a module with the tensors that a function returns."""
    return record(Holder, make, **kwargs)


def one(make: Callable[[], torch.Tensor], **kwargs: Any) -> Any:
    """Returns how a tensor starts that a function returns."""
    return hold(lambda: {"x": make()}, **kwargs).tensors["x"]


def filled(plan: fanin.Plan, name: str, shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
    """Returns a tensor of a plan."""
    out = torch.empty(shape, dtype=dtype)
    plan.fill_at(name, out.data_ptr(), out.numel() * out.element_size())
    return out


def value(recorded: Recorded, name: str, seed: int = 1) -> torch.Tensor:
    """Returns the values that a tensor starts with."""
    tensor = recorded.tensors[name]
    plan = recorded._plan(seed)
    if name in plan.names:
        return filled(plan, name, tensor.shape, tensor.dtype)
    return recorded._value(name, seed)


def bits(tensor: torch.Tensor) -> bytes:
    """Returns the bytes of a tensor, so that -0 and 0 differ and NaN equals itself."""
    return (
        tensor.contiguous().flatten().view(torch.uint8).numpy().tobytes() if tensor.numel() else b""
    )


def saved(recorded: Recorded, folder: Path, seed: int = 1) -> dict[str, torch.Tensor]:
    """Saves a recording, and returns the tensors that its recipe gives with its own list."""
    path = folder / "m.toml"
    recorded.save(path, seed=seed)
    plan = fanin.Recipe.load(path).plan(seed=seed)
    assert plan.unused == [], plan.unused
    assert plan.names == [name for name, _, _ in recorded.tensor_list()]
    tensors = recorded.tensors
    return {
        name: filled(plan, name, tensors[name].shape, tensors[name].dtype) for name in plan.names
    }


def check_saved(recorded: Recorded, folder: Path, seed: int = 1) -> None:
    """Checks that the saved recipe gives the bits of the recording."""
    for name, tensor in saved(recorded, folder, seed).items():
        assert bits(tensor) == bits(value(recorded, name, seed)), name


def check_like_torch(recorded: Recorded, real: nn.Module) -> None:
    """Checks what a real construction shows: names, shapes, ties, values that are not random."""
    state = real.state_dict(keep_vars=True)
    expected = [
        (name, tuple(t.shape), str(t.dtype).replace("torch.", "")) for name, t in state.items()
    ]
    assert recorded.tensor_list() == expected
    everything = {**state, **dict(real.named_buffers(remove_duplicate=False))}
    assert list(recorded.tensors) == list(everything)
    for name, tensor in recorded.tensors.items():
        other = everything[name]
        if tensor.origin == "tied":
            assert other.data_ptr() == everything[tensor.of].data_ptr(), name
        elif tensor.origin == "same":
            assert torch.equal(other, everything[tensor.of]), name
        elif tensor.origin == "kept" or tensor.detail == "No element is random.":
            assert bits(value(recorded, name)) == bits(other.detach()), name
