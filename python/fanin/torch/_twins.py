"""Records code that initializes an existing model, on meta tensors of whole shapes in its place."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from fanin._errors import ArgumentError
from fanin.torch._listing import named_tensors, warn_uninitialized
from fanin.torch._model import Slot, slots
from fanin.torch._modes import recording
from fanin.torch._names import is_parallel
from fanin.torch._recorded import Recorded, conclude

_HF_FLAG = "_is_hf_initialized"


def record_code(model: nn.Module, code: Callable[[nn.Module], Any]) -> Recorded:
    """Records what code does to the tensors of a model, whose own tensors stay as they are.

    While the code runs, the parameters and buffers of the model are plain tensors of the whole
    shapes, without memory and values. Afterwards the model has its own tensors again. Buffers that
    the code adds, or replaces by those of another shape, are new tensors, with memory.

    Raises:
        ValueError: If the code adds a parameter, or gives one another shape.
    """
    before = slots(model)
    with _own_tensors_return(before), recording() as recorder:
        _put_twins(before)
        with _without_hf_flags(model):
            code(model)
        after = slots(model)
        named = named_tensors(model, recorder)
    _keep_new_buffers(before, after)
    recorded = conclude(model, recorder, named)
    # The caller decides about tensors without any value.
    warn_uninitialized([tensor for tensor in named if tensor.origin != "uninit"], recorder)
    return recorded


@contextmanager
def _own_tensors_return(before: list[Slot]) -> Iterator[None]:
    """Gives a model its own tensors back."""
    try:
        yield
    finally:
        for slot in before:
            slot.put(slot.tensor)


def _put_twins(before: list[Slot]) -> None:
    """Gives a model plain tensors of the same shapes, tied like its own."""
    twins: dict[int, torch.Tensor] = {}
    for slot in before:
        twin = twins.get(id(slot.tensor))
        if twin is None:
            twin = torch.empty(slot.tensor.shape, dtype=slot.tensor.dtype)
            if slot.is_parameter:
                twin = nn.Parameter(twin, requires_grad=slot.tensor.requires_grad)
            # Init code reads attributes that the model gives its parameters, such as a scale.
            hidden = (_HF_FLAG, "_local_tensor", "_spec")
            own = {key: value for key, value in vars(slot.tensor).items() if key not in hidden}
            twin.__dict__.update(own)
            twins[id(slot.tensor)] = twin
        slot.put(twin)


def _keep_new_buffers(before: list[Slot], after: list[Slot]) -> None:
    """Gives a model memory for buffers that code has added, or given another shape."""
    own = {slot.name: slot.tensor for slot in before}
    for slot in after:
        tensor = own.get(slot.name)
        if tensor is not None and _is_alike(tensor, slot.tensor):
            continue
        if slot.is_parameter:
            change = "adds" if tensor is None else f"changes the shape {tuple(tensor.shape)} of"
            raise ArgumentError(
                f"the code {change} parameter {slot.name!r}; it can only give it values"
            )
        device = before[0].tensor.device if tensor is None else tensor.device
        slot.put(torch.empty(slot.tensor.shape, dtype=slot.tensor.dtype, device=device))


def _is_alike(own: torch.Tensor, new: torch.Tensor) -> bool:
    return own.shape == new.shape and own.is_complex() == new.is_complex()


@contextmanager
def _without_hf_flags(model: nn.Module) -> Iterator[None]:
    """Takes from modules what tells Hugging Face transformers that they have their weights."""
    flagged = [module for module in model.modules() if _HF_FLAG in vars(module)]
    flags = [vars(module).pop(_HF_FLAG) for module in flagged]
    try:
        yield
    finally:
        for module, flag in zip(flagged, flags):
            vars(module)[_HF_FLAG] = flag


def own_code(model: nn.Module) -> None:
    """Runs the init code of a model, in the order in which its constructor runs it.

    That is `reset_parameters` of each module, children first, and then `init_weights` of the model.

    Raises:
        ValueError: If `init_weights` needs arguments.
    """
    for module in _children_first(model):
        reset = _method(module, "reset_parameters") or _method(module, "_reset_parameters")
        if reset is not None and _needs_no_arguments(reset):
            reset()
    root = unwrapped(model)
    init_weights = _method(root, "init_weights")
    if init_weights is not None:
        if not _needs_no_arguments(init_weights):
            raise ArgumentError(
                f"init_weights of {type(root).__name__} needs arguments; give them by a function: "
                "by=lambda model: model.init_weights(...)"
            )
        init_weights()


def method_of(model: nn.Module, name: str) -> Callable[[nn.Module], Any]:
    """Returns the code that calls a method of a model without arguments.

    Raises:
        AttributeError: If the model has no such method.
    """
    method = _method(unwrapped(model), name)
    if method is None:
        raise AttributeError(f"by: {type(unwrapped(model)).__name__} has no method {name!r}")
    return lambda _: method()


def unwrapped(model: nn.Module) -> nn.Module:
    """Returns the model in torch.compile, data parallelism and activation checkpointing."""
    wrappers = ("_orig_mod", "_checkpoint_wrapped_module")
    while True:
        inner = next((model._modules[key] for key in wrappers if key in model._modules), None)
        if inner is None and is_parallel(model):
            inner = model._modules["module"]
        if inner is None:
            return model
        model = inner


def _method(module: nn.Module, name: str) -> Callable[[], Any] | None:
    # Of the class: wrappers answer for the attributes of the module in them.
    method = getattr(type(module), name, None)
    return getattr(module, name) if callable(method) else None


def _children_first(module: nn.Module) -> list[nn.Module]:
    """Returns each module once, after those in it."""
    found: dict[int, nn.Module] = {}

    def visit(module: nn.Module) -> None:
        if id(module) not in found:
            for child in module.children():
                visit(child)
            found[id(module)] = module

    visit(module)
    return list(found.values())


def _needs_no_arguments(method: Callable[[], Any]) -> bool:
    try:
        inspect.signature(method).bind()
    except TypeError:
        return False
    return True
