"""Begins and ends recordings.

Two modes work together: `Recorder` sees every torch operation, and `CpuFacade` what Python code
asks about its tensors. A few functions of torch that do something else on the meta device, where no
mode sees it, are replaced while a recording runs.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

from fanin.torch._facade import CpuFacade
from fanin.torch._forms import Sparse, TruncNormal
from fanin.torch._recorder import Recorder

_active = threading.local()
_lock = threading.Lock()
_recordings = 0
_originals: dict[str, Callable[..., Any]] = {}


def _trunc_normal(
    tensor: torch.Tensor, mean: float, std: float, a: float, b: float, generator: Any = None
) -> torch.Tensor:
    """Stands for torch.nn.init._no_grad_trunc_normal_, which samples until all values fit."""
    recorder: Recorder | None = getattr(_active, "recorder", None)
    if recorder is None:
        original = _originals["_no_grad_trunc_normal_"]
        return original(tensor, mean, std, a, b, generator=generator)  # type: ignore[no-any-return]
    if generator is not None:
        recorder.warn_of_generator("trunc_normal_")
    recorder.draw_into(tensor, TruncNormal(float(mean), float(std), float(a), float(b)))
    return tensor


def _sparse(
    tensor: torch.Tensor, sparsity: float, std: float = 0.01, generator: Any = None
) -> torch.Tensor:
    """Stands for torch.nn.init.sparse_, which writes at random places."""
    recorder: Recorder | None = getattr(_active, "recorder", None)
    if recorder is None or tensor.dim() != 2:
        original = _originals["sparse_"]
        return original(tensor, sparsity, std, generator)  # type: ignore[no-any-return]
    if generator is not None:
        recorder.warn_of_generator("sparse_")
    recorder.draw_into(tensor, Sparse(float(sparsity), float(std), *tensor.shape))
    return tensor


def _reduce_ex(tensor: torch.Tensor, protocol: Any) -> Any:
    """Stands for torch.Tensor.__reduce_ex__, which reads the memory of the tensor."""
    recorder: Recorder | None = getattr(_active, "recorder", None)
    if recorder is not None and recorder.is_recorded(tensor):
        tensor = recorder.value_for(tensor, torch.Tensor.__reduce_ex__)
    return _originals["__reduce_ex__"](tensor, protocol)


_REPLACEMENTS: tuple[tuple[Any, str, Callable[..., Any]], ...] = (
    (torch.nn.init, "_no_grad_trunc_normal_", _trunc_normal),
    (torch.nn.init, "sparse_", _sparse),
    (torch.Tensor, "__reduce_ex__", _reduce_ex),
)


def _replace_functions() -> None:
    for owner, name, function in _REPLACEMENTS:
        _originals[name] = getattr(owner, name)
        setattr(owner, name, function)


def _restore_functions() -> None:
    for owner, name, function in _REPLACEMENTS:
        if getattr(owner, name) is function:  # else someone replaced it in the meantime
            setattr(owner, name, _originals[name])


@contextmanager
def recording() -> Iterator[Recorder]:
    """Records what the calling thread does with torch. Other threads are not affected.

    Raises:
        RuntimeError: The thread is recording already.
    """
    global _recordings
    if getattr(_active, "recorder", None) is not None:
        raise RuntimeError(
            "a recording cannot begin within a recording: do it outside of the model's constructor"
        )
    with _lock:
        if _recordings == 0:
            _replace_functions()
        _recordings += 1
    recorder = _active.recorder = Recorder()
    try:
        # In inference mode torch decomposes operations before the modes see them.
        with torch.inference_mode(False), recorder, CpuFacade(recorder):
            yield recorder
    finally:
        _active.recorder = None
        with _lock:
            _recordings -= 1
            if _recordings == 0:
                _restore_functions()
