"""Initial weights of neural networks, with the same bits on every device and for every slice.

A weight is a pure function of the seed, the tensor's name, the element's index in the whole tensor
and the initializer. `fill` makes one tensor, or a slice of it:

>>> import fanin
>>> weight = fanin.fill("kaiming_normal", (512, 784), name="fc.weight", seed=42)
>>> rows = fanin.fill("kaiming_normal", (512, 784), name="fc.weight", seed=42, slice="128:256,:")
>>> bool((rows == weight[128:256]).all())
True

Whole models: a `Recipe` gives each tensor of a list its initializer and makes a `Plan`.
`init_model` writes
safetensors files, and `verify`, `stats` and `diff` read them. `fanin.torch` fills models of
PyTorch.
"""

from __future__ import annotations

from fanin._checkpoint import diff, stats, verify
from fanin._errors import (
    ArgumentError,
    FaninError,
    FileError,
    FormatError,
    MissingFileError,
    RecipeError,
    UnknownTensorError,
)
from fanin._fill import fill
from fanin._model import ModelFiles, init_model
from fanin._native import STREAM_VERSION, __version__
from fanin._recipe import Plan, PlanEntry, PlanPart, Recipe
from fanin._results import (
    Bounds,
    Change,
    Diff,
    Difference,
    Expected,
    Flag,
    StoredValue,
    TensorDiff,
    TensorStats,
    Verification,
    VerifiedTensor,
)

__all__ = [
    "STREAM_VERSION",
    "ArgumentError",
    "Bounds",
    "Change",
    "Diff",
    "Difference",
    "Expected",
    "FaninError",
    "FileError",
    "Flag",
    "FormatError",
    "MissingFileError",
    "ModelFiles",
    "Plan",
    "PlanEntry",
    "PlanPart",
    "Recipe",
    "RecipeError",
    "StoredValue",
    "TensorDiff",
    "TensorStats",
    "UnknownTensorError",
    "Verification",
    "VerifiedTensor",
    "__version__",
    "diff",
    "fill",
    "init_model",
    "stats",
    "verify",
]
