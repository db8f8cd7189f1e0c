"""Orthogonal matrices by products of matrices.

docs/STREAM.md, section "Orthogonal matrices", defines them. Twin of `src/cpu/orthogonal.rs`.
"""

from __future__ import annotations

import torch

_BLOCK = 128
"""The number of reflections that are applied together."""


def orthogonal(gaussian: torch.Tensor, gain: float) -> torch.Tensor:
    """Returns a matrix of orthonormal columns, times the gain.

    Args:
        gaussian: A float32 matrix of standard normals, with no more columns than rows.
        gain: The factor.

    Returns:
        A float32 matrix. Elements are within 1e-5 |gain| of those that the CPU makes.
    """
    rows, columns = gaussian.shape
    vectors, signs = _reflectors(gaussian.to(_precision(gaussian.device)))
    product = torch.zeros_like(vectors)
    product.diagonal().copy_(signs * gain)
    for start in reversed(range(0, columns, _BLOCK)):
        block = vectors[start:, start : start + _BLOCK]
        rest = product[start:, start:]
        # I - V T V^T: T^-1 is the upper triangle of V^T V, half of its diagonal (Puglisi, 1992).
        inverse = (block.T @ block).triu()
        inverse.diagonal().mul_(0.5)
        rest -= block @ torch.linalg.solve_triangular(inverse, block.T @ rest, upper=True)
    return product.to(torch.float32)


def _precision(device: torch.device) -> torch.dtype:
    """Returns binary64, or binary32 on devices without it.

    Products in binary64 never go through the shorter formats that torch's settings may allow.
    """
    try:
        torch.empty(1, dtype=torch.float64, device=device)
    except (TypeError, RuntimeError):
        return torch.float32
    return torch.float64


def _reflectors(gaussian: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns the vectors v of the reflections I - v v^T, and the signs of the diagonal."""
    vectors = gaussian.tril()
    norms = vectors.square().sum(0).sqrt()
    first = vectors.diagonal()
    signs = torch.where(first >= 0, 1.0, -1.0).to(vectors.dtype)
    heads = first + signs * norms
    # A vector of zeros reflects its own axis.
    heads = torch.where(norms == 0, 1.0, heads)
    first.copy_(heads)
    return vectors * (2.0 / vectors.square().sum(0)).sqrt(), -signs
