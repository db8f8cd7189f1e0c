"""Errors and warnings about models that `record` cannot record, or only in part."""

from __future__ import annotations

import os
import sys
from types import FrameType

import torch

from fanin._errors import FaninError


class RecordError(FaninError, ValueError):
    """A model that cannot be recorded. The message names the tensor or the line of code."""


class RecordWarning(UserWarning):
    """A model whose weights depend on more than its code and the seed, or have no values."""


# Folders whose code no message blames.
_INTERNAL = tuple(
    os.path.dirname(os.path.abspath(path)) + os.sep for path in (__file__, torch.__file__)
)


def place() -> str:
    """Returns the line of the model's code that is running, as ` at FILE:LINE`, or nothing."""
    frame: FrameType | None = sys._getframe()
    while frame is not None:
        path = os.path.abspath(frame.f_code.co_filename)
        if not path.startswith(_INTERNAL) and not frame.f_code.co_filename.startswith("<"):
            return f" at {path}:{frame.f_lineno}"
        frame = frame.f_back
    return ""


def unsupported(tensor: torch.Tensor) -> str | None:
    """Returns the kind of a tensor that cannot be recorded, or None for a plain tensor."""
    kind = type(tensor)
    if kind.__torch_dispatch__ is not torch.Tensor.__torch_dispatch__:
        return f"the class {kind.__module__}.{kind.__qualname__}"
    if tensor.layout != torch.strided:
        return f"the layout {tensor.layout}"
    return f"the quantized dtype {tensor.dtype}" if tensor.is_quantized else None
