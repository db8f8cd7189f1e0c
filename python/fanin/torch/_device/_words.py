"""Products of 32-bit words, the generator Philox4x32-10, and conversions, in int64 tensors.

torch has few operations for unsigned numbers, so words are int64 tensors of 0 to 2^32 - 1. Products
of two words wrap around in 64 bits, and their bits are right. Twin of `src/kernel/mul.rs` and
`src/kernel/philox.rs`.
"""

from __future__ import annotations

import torch

MASK = 0xFFFFFFFF

_MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
_WEYL = (0x9E3779B9, 0xBB67AE85)
_ROUNDS = 10

Words = tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]


def low(x: torch.Tensor) -> torch.Tensor:
    """Returns the low 32 bits."""
    return x & MASK


def high(x: torch.Tensor) -> torch.Tensor:
    """Returns the high 32 bits of unsigned numbers of 64 bits."""
    # The shift repeats the highest bit, which the mask takes away.
    return (x >> 32) & MASK


def signed(x: torch.Tensor) -> torch.Tensor:
    """Returns words as the signed numbers of the same 32 bits."""
    return ((x ^ 0x80000000) & MASK) - 0x80000000


def float_bits(x: torch.Tensor) -> torch.Tensor:
    """Returns the binary32 bits of whole numbers of at most 24 significant bits."""
    return x.to(torch.int32).to(torch.float32).view(torch.int32).to(torch.int64) & MASK


def highest_bit(x: torch.Tensor) -> torch.Tensor:
    """Returns the number of the highest bit of numbers of 0 to 2^32 - 1. It is -127 for 0."""
    # No ones follow each other, so that no rounding of the conversion carries.
    return (((x & ~(x >> 1)).to(torch.float32).view(torch.int32) >> 23) - 127).to(torch.int64)


def philox(
    block: torch.Tensor,
    draw: int,
    stream: tuple[torch.Tensor, torch.Tensor],
    key: tuple[torch.Tensor, torch.Tensor],
) -> Words:
    """Returns the four random words of blocks.

    Args:
        block: The numbers of the blocks, below 2^48.
        draw: The number of the draw.
        stream: The words of the stream id.
        key: The words of the seed.
    """
    c0, c1 = low(block), (block >> 32) + (draw << 16)
    c2, c3 = (torch.zeros_like(block) + word for word in stream)
    k0, k1 = key
    for _ in range(_ROUNDS):
        product0, product1 = c0 * _MULTIPLIERS[0], c2 * _MULTIPLIERS[1]
        c0, c1 = high(product1) ^ c1 ^ k0, low(product1)
        c2, c3 = high(product0) ^ c3 ^ k1, low(product0)
        k0, k1 = low(k0 + _WEYL[0]), low(k1 + _WEYL[1])
    return c0, c1, c2, c3
