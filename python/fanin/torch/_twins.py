"""Records code that initializes an existing model, on meta tensors of whole shapes in its place."""

from __future__ import annotations

import inspect
import warnings
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from fanin._errors import ArgumentError
from fanin._warnings import levels_to_caller
from fanin.torch._listing import name_list, named_tensors, warn_uninitialized
from fanin.torch._live import attribute_paths
from fanin.torch._model import Slot, slots
from fanin.torch._modes import recording
from fanin.torch._names import is_parallel
from fanin.torch._problems import RecordWarning
from fanin.torch._recorded import Recorded, conclude

_HF_FLAG = "_is_hf_initialized"


def record_code(model: nn.Module, code: Callable[[nn.Module], Any]) -> Recorded:
    """Records what code does to the tensors of a model, whose own tensors stay as they are.

    While the code runs, the parameters and buffers of the model are plain tensors of the whole
    shapes, without memory and values. Afterwards the model has its own tensors again, also in
    modules that the code has replaced. Buffers that the code adds, or replaces by those of another
    shape, are new tensors, with memory.

    An error leaves the model without its tensors. `unchanged_after_error` gives them back.

    Raises:
        TypeError: For a model of TorchScript.
        ValueError: If the code adds a parameter, or gives one another shape.
    """
    if any(isinstance(module, torch.jit.ScriptModule) for module in model.modules()):
        raise TypeError(
            "the code of a torch.jit.ScriptModule cannot be recorded; use recipe=..., or "
            "initialize the model before torch.jit.script"
        )
    before = slots(model)
    with recording() as recorder:
        _put_twins(before)
        with _without_hf_flags(model):
            code(model)
        after = slots(model)
        named = named_tensors(model, recorder)
    _put_back(before, after)
    recorded = conclude(model, recorder, named)
    # The caller decides about tensors without any value.
    warn_uninitialized([tensor for tensor in named if tensor.origin != "uninit"], recorder)
    return recorded


@contextmanager
def unchanged_after_error(model: nn.Module) -> Iterator[None]:
    """Gives the modules of a model the attributes and classes back that they had before an error.

    Warns:
        RecordWarning: For tensors without memory that the code has put into objects of its own.
    """
    held = [(module, type(module), _contents(module)) for module in model.modules()]
    own = {id(tensor) for _, tensor in attribute_paths(model)}
    try:
        yield
    except BaseException:
        for module, kind, contents in held:
            if type(module) is not kind:  # as parametrizations make it
                module.__class__ = kind
            _restore(module, contents)
        left = [path for path, x in attribute_paths(model) if x.is_meta and id(x) not in own]
        if left:
            text = f"after the error, {name_list(left)} of the model have no memory; remove them"
            warnings.warn(text, RecordWarning, stacklevel=levels_to_caller())
        raise


def _contents(module: nn.Module) -> dict[str, tuple[Any, Any]]:
    """Returns the attributes of a module, each with a copy if it is a plain container."""
    return {
        name: (value, value.copy() if type(value) in _CONTAINERS else None)
        for name, value in vars(module).items()
    }


_CONTAINERS = (dict, OrderedDict, list, set)


def _restore(module: nn.Module, contents: dict[str, tuple[Any, Any]]) -> None:
    """Gives a module the attributes that it had, and the same elements in each."""
    attributes = vars(module)
    attributes.clear()
    for name, (value, copy) in contents.items():
        attributes[name] = value
        if copy is not None:
            value.clear()
            (value.extend if isinstance(value, list) else value.update)(copy)


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


def _put_back(before: list[Slot], after: list[Slot]) -> None:
    """Gives a model its own tensors back, and memory for new buffers.

    New are those that code has added, or given another shape.
    """
    for slot in before:
        slot.put(slot.tensor)
    own = {slot.name: slot for slot in before}
    for slot in after:
        same = own.get(slot.name)
        if same is not None and _is_alike(same.tensor, slot.tensor):
            # The module can be a new one.
            replace(same, module=slot.module, key=slot.key).put(same.tensor)
            continue
        if slot.is_parameter:
            change = "adds" if same is None else f"changes the shape {tuple(same.tensor.shape)} of"
            raise ArgumentError(
                f"the code {change} parameter {slot.name!r}; it can only give it values"
            )
        device = (before[0] if same is None else same).tensor.device
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
