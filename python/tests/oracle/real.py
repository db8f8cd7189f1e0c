"""Models as torch constructs them, with every uninitialized element marked."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Listed:
    """A tensor of a model, and its kind as in `RecordedTensor.kind`."""

    kind: str
    tensor: Tensor


def construct(make: Callable[[], nn.Module], seed: int) -> nn.Module:
    """Returns a model that its own code makes on the CPU, from torch's generator.

    An element that nothing writes is NaN, or the largest whole number of its dtype. So it is the
    same at every seed.
    """
    random.seed(seed)
    np.random.seed(seed)
    with _marked_memory(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return make()


@contextlib.contextmanager
def _marked_memory() -> Iterator[None]:
    """Makes torch fill the memory of `torch.empty` with NaN."""
    before = torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    fills = torch.utils.deterministic.fill_uninitialized_memory
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.utils.deterministic.fill_uninitialized_memory = True
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before, warn_only=warn_only)
        torch.utils.deterministic.fill_uninitialized_memory = fills


def tensors(model: nn.Module) -> dict[str, Listed]:
    """Returns the tensors of the state dict in its order, then the buffers that it leaves out."""
    parameters = dict(model.named_parameters(remove_duplicate=False))
    buffers = dict(model.named_buffers(remove_duplicate=False))
    found = {}
    for name, value in model.state_dict().items():
        if isinstance(value, Tensor):
            kind = "parameter" if name in parameters else "buffer"
            found[name] = Listed(kind, (parameters | buffers).get(name, value))
    for name, value in buffers.items():
        if name not in found:
            found[name] = Listed("temporary buffer", value)
    return found


#: A dtype of whole numbers for each size of an element in bytes.
_WORDS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


def bits(tensor: Tensor) -> Tensor:
    """Returns the bits of each element as a whole number, those of a complex128 as two."""
    tensor = tensor.detach().resolve_conj().resolve_neg().contiguous()
    if tensor.dtype == torch.complex128:
        tensor = torch.view_as_real(tensor)
    return tensor.view(_WORDS[tensor.element_size()])


def equal(a: Tensor, b: Tensor) -> bool:
    """Returns whether two tensors have the same dtype, shape and bits. A NaN equals itself."""
    return a.dtype == b.dtype and a.shape == b.shape and torch.equal(bits(a), bits(b))


def differing(a: Tensor, b: Tensor) -> Tensor:
    """Returns a mask of the elements whose bits differ, in the shape of `a`."""
    mask = bits(a) != bits(b)
    return mask if mask.shape == a.shape else mask.any(-1)


def uninitialized(tensor: Tensor) -> Tensor:
    """Returns a mask of the elements with the mark of `construct`."""
    if tensor.is_floating_point() or tensor.is_complex():
        return torch.isnan(tensor.detach())
    if tensor.dtype == torch.bool:
        return torch.zeros_like(tensor)
    return tensor == torch.iinfo(tensor.dtype).max
