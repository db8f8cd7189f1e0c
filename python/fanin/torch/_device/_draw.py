"""The whole numbers p of drawn elements, from random words.

Twin of `src/kernel/uniform.rs`, `curve.rs` and `box_muller.rs`. docs/STREAM.md explains the steps.
"""

from __future__ import annotations

import torch

from fanin.torch._device._words import float_bits, high, highest_bit, low, signed

_RADII = 4096
"""Entries of the radius curve. The points of the circle follow them in the table."""


def cut(x: torch.Tensor) -> torch.Tensor:
    """Returns signed numbers of 32 bits, rounded down to 24 significant bits."""
    dropped = (highest_bit(x ^ (x >> 63)) - 23).clamp(min=0)
    return (x >> dropped) << dropped


def uniform(word: torch.Tensor, count: torch.Tensor, first: torch.Tensor) -> torch.Tensor:
    """Returns one of the `count` whole numbers from `first` on for each word."""
    return first + high(word * count)


def curve(word: torch.Tensor, table: torch.Tensor) -> torch.Tensor:
    """Returns the values of a table's function at words, in the table's units.

    Args:
        word: Random words.
        table: A tensor of shape (entries, 2) of signed numbers of 32 bits.
    """
    bits = float_bits(cut(signed(word | 1)))
    entry = ((bits >> 17) & 0x7FF) | ((bits >> 20) & 0x800)
    t = ((bits >> 1) & 0xFFFF) - 0x8000
    constant, coefficients = table[:, 0][entry], table[:, 1][entry]
    linear, square = ((coefficients & 0xFFFF) ^ 0x8000) - 0x8000, coefficients >> 16
    return constant + ((linear * t + square * ((t * t) >> 16)) >> 9)


def _turn(word: torch.Tensor, table: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns the cosine and the sine of the angle of words, with 30 fraction bits."""
    point = _RADII + (word & 1023)
    cosine, sine = table[:, 0][point], table[:, 1][point]
    angle = ((signed(word) >> 16) * 25736 + (1 << 14)) >> 15
    square = (angle * angle + (1 << 23)) >> 24
    c, s = cosine >> 15, sine >> 15
    return (
        cosine - ((s * angle + c * square) >> 8),
        sine - ((s * square - c * angle) >> 8),
    )


def scaled(
    x: torch.Tensor, factor: torch.Tensor, shift: torch.Tensor, offset: torch.Tensor
) -> torch.Tensor:
    """Returns `offset + x * factor / 2^(32 + shift)`, rounded to nearest, halves up."""
    half = torch.ones_like(shift) << (shift + 31)
    return offset + ((x * factor + half) >> (shift + 32))


def normal_pair(
    a: torch.Tensor,
    b: torch.Tensor,
    table: torch.Tensor,
    multiplier: torch.Tensor,
    shift: torch.Tensor,
    offset: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns the numbers of the even and the odd lane of pairs of words, not yet cut."""
    # Radii are below 2^31 and the multiplier is below 2^32, so 63 bits hold the product.
    radius = (low(curve(a, table)) * multiplier + (1 << 31)) >> 32
    x, y = _turn(b, table)
    return scaled(radius, x, shift, offset), scaled(radius, y, shift, offset)


def quantile(
    word: torch.Tensor,
    table: torch.Tensor,
    multiplier: torch.Tensor,
    shift: torch.Tensor,
    offset: torch.Tensor,
    lowest: torch.Tensor,
    highest: torch.Tensor,
) -> torch.Tensor:
    """Returns the numbers of words within their bounds, not yet cut."""
    numbers = scaled(curve(word, table), multiplier, shift, offset)
    return torch.minimum(torch.maximum(numbers, lowest), highest)
