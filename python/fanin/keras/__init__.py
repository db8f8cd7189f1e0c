"""Keras 3: initial weights of models on any of its backends."""

from fanin.keras import initializers
from fanin.keras._init import init

__all__ = ["init", "initializers"]
