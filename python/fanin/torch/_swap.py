"""Gives tensor objects other contents, so that all references to them follow."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from fanin.torch._live import gradient
from fanin.torch._storage import Ref


def view_of(storage: torch.UntypedStorage, ref: Ref, dtype: torch.dtype) -> torch.Tensor:
    """Returns the tensor of a part of a storage."""
    empty = torch.empty(0, dtype=dtype, device=storage.device)
    return empty.set_(storage, ref.offset, ref.size, ref.stride)


def swap(tensors: Sequence[tuple[torch.Tensor, torch.Tensor]]) -> list[torch.Tensor]:
    """Gives each first tensor the contents of the second one.

    The objects stay the same, with their classes, attributes, hooks and gradients. A view of
    another one of the tensors is a view of its new contents, so gradients reach that tensor.

    Returns:
        The tensors that autograd has computed from others. They are constants now.
    """
    own = {id(tensor) for tensor, _ in tensors}
    # All bases are asked for before the first swap, which gives them to other objects.
    bases = [tensor._base for tensor, _ in tensors]
    gradients = [(tensor, gradient(tensor)) for tensor, _ in tensors]
    cut = []
    pairs = zip(tensors, bases)
    for (tensor, contents), base in sorted(pairs, key=lambda pair: pair[1] is not None):
        if base is not None and id(base) in own:
            # The base has its new contents already, because all bases come first.
            size, stride, offset = contents.size(), contents.stride(), contents.storage_offset()
            with torch.set_grad_enabled(not tensor.is_leaf):
                contents = base.as_strided(size, stride, offset)
        elif not tensor.is_leaf:
            cut.append(tensor)
        if tensor.is_leaf:
            contents.requires_grad_(tensor.requires_grad)
        if tensor.is_conj():
            contents = contents.conj()
        if tensor.is_neg():
            contents = torch._neg_view(contents)
        _swap(tensor, contents)
    for tensor, found in gradients:
        for each in found:  # which has its new contents, too
            tensor.grad = each
    return cut


def _swap(tensor: torch.Tensor, contents: torch.Tensor) -> None:
    # `torch.utils.swap_tensors` refuses tensors with weak references, which torch.nn.RNN makes, and
    # with views. Here weak references shall follow, and views are swapped as well.
    torch._C._swap_tensor_impl(tensor, contents)
    # Hooks are in the Python object and in the contents. The assignment adds them to the new ones.
    for hooks in ("_backward_hooks", "_post_accumulate_grad_hooks"):
        if getattr(tensor, hooks, None) is not None:
            setattr(tensor, hooks, getattr(tensor, hooks))
