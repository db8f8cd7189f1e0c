"""A check that a device multiplies exactly, as docs/STREAM.md asks for."""

from __future__ import annotations

from functools import cache

import torch

from fanin.torch._device._value import FLOAT_EXPONENTS, float_value, integer_value


@cache
def has_exact_floats(device: torch.device) -> bool:
    """Returns true if exact products of floats are exact on a device. It is asked once.

    The trials are 0, both neighbours of every power of two with either sign, and long significands,
    times powers of two with both ends of the range of exponents among them. The products are
    compared with integer arithmetic, to the bit.
    """
    p, exponent = (trial.to(device) for trial in trials())
    return bool((float_value(p, exponent) == integer_value(p, exponent)).all())


def trials() -> tuple[torch.Tensor, torch.Tensor]:
    """Returns whole numbers of at most 24 significant bits, and exponents, in all combinations."""
    near = [(1 << bit) + step for bit in range(25) for step in (-1, 0, 1)]
    near += [(1 << bit) - (1 << max(bit - 24, 0)) for bit in range(25, 31)]
    near += [1 << bit for bit in range(25, 31)]
    long = [0x555555, 0xAAAAAA, 0xFFFFFF, 0x800001, 0xB504F3]
    numbers = [x for x in near + long if x <= 1 << 24 or x % (1 << (x.bit_length() - 24)) == 0]
    numbers = sorted({0, *numbers, *(-x for x in numbers)})
    first, last = FLOAT_EXPONENTS[0], FLOAT_EXPONENTS[-1]
    exponents = [first, first + 1, -60, -25, -1, 0, last - 30, last]
    pairs = torch.cartesian_prod(*(torch.tensor(x, device="cpu") for x in (numbers, exponents)))
    return pairs[:, 0], pairs[:, 1]
