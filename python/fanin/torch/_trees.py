"""Nested lists, tuples and dicts of arguments."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from fanin.torch._storage import Ref


def map_leaves(function: Callable[[Any], Any], tree: Any) -> Any:
    """Returns nested lists, tuples and dicts with a function applied to everything else in them."""
    if isinstance(tree, (list, tuple)) and not isinstance(tree, Ref):
        items = [map_leaves(function, item) for item in tree]
        # torch.Size and named tuples of results are tuples here: operations accept them.
        return items if isinstance(tree, list) else tuple(items)
    if isinstance(tree, dict):
        return {key: map_leaves(function, item) for key, item in tree.items()}
    return function(tree)


def leaves(tree: Any) -> list[Any]:
    """Returns everything in nested lists, tuples and dicts, in order."""
    found: list[Any] = []
    map_leaves(found.append, tree)
    return found


def tensors_of(tree: Any) -> list[torch.Tensor]:
    """Returns the tensors in nested lists, tuples and dicts, in order."""
    return [leaf for leaf in leaves(tree) if isinstance(leaf, torch.Tensor)]
