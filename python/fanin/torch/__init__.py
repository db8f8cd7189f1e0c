"""Records, builds and initializes PyTorch models."""

from fanin.torch._fill import fill_

__all__ = ["fill_"]
