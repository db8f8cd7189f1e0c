"""The tensors of a model by name, and what its code did besides recording them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from fanin.torch._classes import Named
from fanin.torch._names import canonical
from fanin.torch._problems import RecordError, unsupported
from fanin.torch._recorder import Recorder
from fanin.torch._replay import plain_torch
from fanin.torch._storage import Known, Mixed, Uninit


def named_tensors(model: nn.Module, recorder: Recorder) -> list[Named]:
    """Returns the tensors of a model: the state dict in its order, then what is not in it.

    It runs within the recording, because a module can compute tensors for its state dict.
    """
    recorder.load_shared()
    members = {canonical(model, key): tensor for key, tensor in _members(model)}
    found: dict[str, Named] = {}
    for key, tensor in model.state_dict(keep_vars=True).items():
        if not isinstance(tensor, torch.Tensor):
            continue  # the extra state of a module
        name = canonical(model, key)
        if name in found:
            raise RecordError(
                f"two tensors are called {name!r} without the names of wrappers: give them "
                "different names"
            )
        found[name] = _named(name, _kind(tensor), tensor, recorder)
        if name in members and members[name] is not tensor:
            _use_member(found, name, members[name], recorder)
    for name, tensor in members.items():
        if name not in found:
            found[name] = _named(name, f"temporary {_kind(tensor)}", tensor, recorder)
    return list(found.values())


def _use_member(
    found: dict[str, Named], name: str, member: torch.Tensor, recorder: Recorder
) -> None:
    """Takes the model's own tensor in place of what a hook has put into the state dict."""
    saved, own = found[name], _named(name, _kind(member), member, recorder)
    if saved.key == own.key:
        return
    with plain_torch():
        is_copy = saved.shape == own.shape and torch.equal(saved.evaluate(), own.evaluate())
    if not is_copy:
        recorder.warn(
            f"a hook changes {name!r} for the state dict: the recording has the model's own values"
        )
    found[name] = own


def _kind(tensor: torch.Tensor) -> str:
    return "parameter" if isinstance(tensor, nn.Parameter) else "buffer"


def _members(model: nn.Module) -> Iterator[tuple[str, torch.Tensor]]:
    """Yields the parameters and buffers of all modules, under each of their names."""
    modules = list(model.named_modules(remove_duplicate=False))
    for members in ("_parameters", "_buffers"):
        for prefix, module in modules:
            for name, tensor in getattr(module, members).items():
                if tensor is not None:
                    yield (f"{prefix}.{name}" if prefix else name), tensor


def _named(name: str, kind: str, tensor: torch.Tensor, recorder: Recorder) -> Named:
    if is_lazy(tensor):
        raise RecordError(
            f"tensor {name!r} is lazy, so it has no shape yet: run the model once in the function"
        )
    what = unsupported(tensor)
    if what is not None:
        raise RecordError(f"tensor {name!r} has {what}, which is not supported: use dense tensors")
    if tensor.is_conj() or tensor.is_neg():
        tensor = tensor.resolve_conj().resolve_neg()
    if not recorder.is_recorded(tensor):
        return _given(name, kind, tensor)
    ref = recorder.ref(tensor)
    key: tuple[Any, ...] = (ref.storage, ref.dtype, ref.geometry)
    value = recorder.read(ref)
    return Named(name, kind, tensor, key, ref, value, lambda: recorder.evaluate(ref))


def _given(name: str, kind: str, tensor: torch.Tensor) -> Named:
    """Returns a tensor that was made before the recording, and that the model does not change."""
    with plain_torch():
        key = (
            tensor.untyped_storage()._cdata,
            tensor.dtype,
            tuple(tensor.shape),
            tensor.stride(),
            tensor.storage_offset(),
        )

    def evaluate() -> torch.Tensor:
        return tensor.detach().cpu().clone(memory_format=torch.contiguous_format)

    return Named(name, kind, tensor, key, None, Known(), evaluate)


def warn_uninitialized(named: Sequence[Named], recorder: Recorder) -> None:
    """Adds a warning with the tensors whose values the model's code does not write."""
    bare, partly = [], []
    for tensor in named:
        if tensor.origin == "tied":
            continue
        if isinstance(tensor.value, Uninit):
            bare.append(tensor.name)
        elif isinstance(tensor.value, Mixed):
            if any(isinstance(piece.value, Uninit) for piece in tensor.value.pieces):
                partly.append(tensor.name)
    if bare:
        recorder.warn(
            f"the model does not initialize {name_list(bare)}: fanin makes zeros, torch leaves "
            "what is in memory"
        )
    if partly:
        recorder.warn(
            f"the model initializes only a part of {name_list(partly)}: fanin makes zeros of the "
            "rest"
        )


def name_list(names: Sequence[str]) -> str:
    """Returns names for a message, at most ten of them."""
    shown = ", ".join(repr(name) for name in names[:10])
    return shown if len(names) <= 10 else f"{shown} and {len(names) - 10} more"
