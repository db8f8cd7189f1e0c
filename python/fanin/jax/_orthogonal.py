"""Orthogonal matrices: the product of Householder reflections of Gaussian vectors.

`docs/STREAM.md`, section "Orthogonal matrices", defines it.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax


def orthogonal(gaussian: jax.Array) -> jax.Array:
    """Returns a matrix with orthonormal columns from a tall matrix of standard normals.

    Elements are within 1e-5 of those that the CPU's fill makes in binary64.
    """
    rows, columns = gaussian.shape
    row, column = (lax.broadcasted_iota(np.int32, gaussian.shape, axis) for axis in (0, 1))
    below = jnp.where(row >= column, gaussian, 0)
    first = jnp.diagonal(below)
    sign = jnp.where(first >= 0, np.float32(1), np.float32(-1))
    head = first + sign * jnp.sqrt(jnp.sum(below * below, axis=0))
    # A vector of zeros reflects its own axis.
    head = jnp.where(head == 0, 1, head)
    # LAPACK's form: vectors are scaled so that their first number, which is not stored, is 1.
    vectors = jnp.where(row > column, below, 0) / head
    factors = 2 / (1 + jnp.sum(vectors * vectors, axis=0))
    return lax.linalg.householder_product(vectors, factors) * -sign
