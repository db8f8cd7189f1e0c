"""JAX: initial weights as arrays on any mesh, with the same bits everywhere."""

from fanin.jax import initializers
from fanin.jax._init import init

__all__ = ["init", "initializers"]
