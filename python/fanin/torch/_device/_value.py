"""From whole numbers to stored elements. Twin of `src/kernel/value.rs`."""

from __future__ import annotations

import torch

from fanin.torch._device._words import MASK, float_bits

_INFINITY = 0x7F800000

FLOAT_EXPONENTS = range(-126, 100)
"""The exponents with which values are made in floats: nothing is subnormal or overflows."""


def float_value(p: torch.Tensor, exponent: torch.Tensor) -> torch.Tensor:
    """Returns the binary32 bits of `p * 2^exponent` by an exact product of floats."""
    power = ((exponent + 127) << 23).to(torch.int32).view(torch.float32)
    product = p.to(torch.int32).to(torch.float32) * power
    return product.view(torch.int32).to(torch.int64) & MASK


def integer_value(p: torch.Tensor, exponent: torch.Tensor) -> torch.Tensor:
    """Returns the binary32 bits of `p * 2^exponent`, made in integers.

    Args:
        p: Whole numbers of at most 24 significant bits.
        exponent: At least -149.
    """
    magnitude = p.abs()
    # The exact conversion leaves the exponent's field to add to.
    converted = float_bits(magnitude)
    field = (converted >> 23) + exponent
    bits = converted + (exponent << 23)
    bits = torch.where(field < 1, magnitude << ((exponent + 149) & 31), bits)
    bits = torch.where(field > 254, _INFINITY, bits)
    bits = torch.where(magnitude == 0, 0, bits)
    return bits | ((p < 0).to(torch.int64) << 31)


def to_bf16(bits: torch.Tensor) -> torch.Tensor:
    """Returns binary32 bits rounded to bfloat16 bits."""
    return (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16


def to_f16(bits: torch.Tensor) -> torch.Tensor:
    """Returns binary32 bits rounded to binary16 bits."""
    sign, magnitude = (bits >> 16) & 0x8000, bits & 0x7FFFFFFF
    # From 2^-14 on: the bias goes from 127 to 15, and 13 bits of the significand are dropped.
    rebiased = magnitude - (112 << 23)
    normal = (rebiased + 0xFFF + ((rebiased >> 13) & 1)) >> 13
    # Below: a multiple of 2^-24. A shift of 31 leaves nothing.
    field = magnitude >> 23
    shift = (126 - field).clamp(0, 31)
    significand = (magnitude & 0x7FFFFF) | ((field != 0).to(torch.int64) << 23)
    quotient = significand >> shift
    rest = significand - (quotient << shift)
    half = (torch.ones_like(shift) << shift) >> 1
    up = (rest > half) | ((rest == half) & ((quotient & 1) == 1))
    small = quotient + up.to(torch.int64)
    rounded = torch.where(magnitude < (113 << 23), small, normal)
    return torch.where(magnitude >= (143 << 23), 0x7C00, rounded) | sign


_SIXTEEN_BITS = {torch.float16: to_f16, torch.bfloat16: to_bf16}


def packed(bits: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Returns binary32 bits as elements of float16, bfloat16 or else float32."""
    if dtype in _SIXTEEN_BITS:
        return _SIXTEEN_BITS[dtype](bits).to(torch.int16).view(dtype)
    return bits.to(torch.int32).view(torch.float32)


def packs(dtype: torch.dtype) -> bool:
    """Returns true for the dtypes that `packed` makes itself."""
    return dtype in _SIXTEEN_BITS or dtype is torch.float32


def converted(
    values: torch.Tensor, dtype: torch.dtype, bounds: tuple[float, float] | None
) -> torch.Tensor:
    """Returns float32 values in a dtype that `packed` does not make.

    Args:
        values: Values of float32.
        dtype: A dtype that holds them: binary64, 8 bits, whole numbers or truth values.
        bounds: The numbers of the dtype that hold the values of a truncated distribution.
    """
    if bounds is not None:
        values = values.clamp(*bounds)
    if dtype in (torch.float8_e4m3fn, torch.float8_e5m2):
        # A magnitude that would round above the largest number becomes that number.
        largest = torch.finfo(dtype).max
        values = values.clamp(-largest, largest)
    if dtype.is_floating_point or dtype is torch.bool:
        return values.to(dtype)
    # Whole numbers. Conversions of negative floats to unsigned types are undefined.
    return values.to(torch.int64).to(dtype)
