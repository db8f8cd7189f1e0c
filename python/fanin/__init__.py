"""Initial weights of neural networks, with the same bits on every device and for every slice."""

from fanin._native import Plan, Recipe

__all__ = ["Plan", "Recipe"]
