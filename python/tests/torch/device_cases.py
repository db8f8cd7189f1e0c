"""Fills that tests of devices compare with the CPU's."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch

from fanin import _native
from fanin._program import Program
from fanin.torch._geometry import Box

CPU = torch.device("cpu")
SEED = 0x9E3779B97F4A7C15

#: Initializers of every core and mask, each with a shape that it takes.
DRAWN = {
    "normal": ("normal(std=0.02)", (37, 22)),
    "normal about a mean": ("normal(mean=1, std=0.003)", (5, 3, 7)),
    "normal of subnormal numbers": ("normal(std=1e-40)", (37, 22)),
    "normal that overflows": ("normal(std=1e38)", (37, 22)),
    "uniform": ("uniform(low=-0.1, high=0.3)", (37, 22)),
    "uniform of subnormal numbers": ("uniform(low=1e-42, high=3e-40)", (101,)),
    "truncated normal": ("truncated_normal(std=0.02)", (37, 22)),
    "tail of a normal": ("truncated_normal(mean=1, std=2, lower=1, upper=3)", (37, 22)),
    "log uniform": ("log_uniform(low=0.001, high=0.1)", (9, 4, 5)),
    "time step": ("mamba_dt_bias", (203,)),
    "sparse": ("sparse(sparsity=0.3, std=0.01)", (37, 22)),
    "padded embedding": ("embedding(padding_idx=3)", (11, 13)),
}
PLACED = {
    "constant": ("constant(value=3)", (37, 22)),
    "identity": ("eye", (22, 37)),
    "dirac": ("dirac(groups=2)", (8, 3, 3, 5)),
    "causal mask": ("causal_mask(value=-1)", (3, 17, 19)),
    "counter": ("arange(start=-3, step=2)", (7, 29)),
    "logarithms": ("mamba_a_log", (21, 16)),
    "sines in halves": ("sinusoids", (60, 24)),
    "interleaved sines": ("sinusoidal", (60, 24)),
}
CASES = {**DRAWN, **PLACED}


@dataclass(frozen=True)
class Case:
    """A fill of a tensor."""

    init: str
    shape: tuple[int, ...]
    dtype: torch.dtype

    def programs(self) -> list[Program]:
        """Returns the numbers of the fill."""
        numbers = _native.program(self.init, self.shape, name="w", seed=SEED, dtype=str(self.dtype))
        return [Program.of(each) for each in numbers]

    def by_the_cpu(self, box: Box) -> torch.Tensor:
        """Returns a box of the tensor, made by the native module."""
        out = torch.empty([end - start for start, end in box], dtype=self.dtype)
        _native.fill_at(
            self.init,
            self.shape,
            out.data_ptr(),
            out.nbytes,
            name="w",
            seed=SEED,
            dtype=str(self.dtype),
            slice=list(box),
        )
        return out


def boxes(shape: tuple[int, ...]) -> Iterator[Box]:
    """Yields the whole tensor, rows of it, runs that start at any lane, and one element."""
    yield tuple((0, size) for size in shape)
    yield ((1, shape[0] - 1), *((0, size) for size in shape[1:]))
    yield tuple((min(axis + 1, size - 1), size) for axis, size in enumerate(shape))
    yield tuple((size // 2, size // 2 + 1) for size in shape)


def same_bits(a: torch.Tensor, b: torch.Tensor) -> bool:
    """Returns true for tensors of equal shapes, dtypes and bits."""
    if a.shape != b.shape or a.dtype != b.dtype:
        return False
    return torch.equal(*(x.contiguous().reshape(-1).view(torch.uint8) for x in (a, b)))
