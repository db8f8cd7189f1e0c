"""Functions that do something else while a recording runs.

Some do nothing on the meta device, where no mode sees it. Others tell the recording what it must
warn of. Each acts as usual on threads that do not record.
"""

from __future__ import annotations

import functools
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Callable

import numpy as np
import torch

from fanin.torch._facade import CpuFacade
from fanin.torch._forms import Sparse, TruncNormal
from fanin.torch._problems import RecordError, place
from fanin.torch._recorder import InThread, Recorder

_active = threading.local()
_lock = threading.Lock()
_recordings = 0
_originals: dict[tuple[Any, str], Any] = {}

SEEDS_TORCH = (
    "the model seeds torch's random number generator, or restores its state: this is ignored, and "
    "fanin's streams are used"
)


def current() -> Recorder | None:
    """Returns the recording of this thread, or None."""
    recorder: Recorder | None = getattr(_active, "recorder", None)
    return None if recorder is None or recorder.has_ended else recorder


def activate(recorder: Recorder | None) -> None:
    """Sets the recording of this thread."""
    _active.recorder = recorder


def _trunc_normal(
    tensor: torch.Tensor, mean: float, std: float, a: float, b: float, generator: Any = None
) -> torch.Tensor:
    """Stands for torch.nn.init._no_grad_trunc_normal_, which samples until all values fit."""
    recorder = current()
    if recorder is None:
        original = _originals[torch.nn.init, "_no_grad_trunc_normal_"]
        return original(tensor, mean, std, a, b, generator=generator)  # type: ignore[no-any-return]
    if generator is not None:
        recorder.warn_of_generator("trunc_normal_")
    recorder.draw_into(tensor, TruncNormal(float(mean), float(std), float(a), float(b)))
    return tensor


def _sparse(
    tensor: torch.Tensor, sparsity: float, std: float = 0.01, generator: Any = None
) -> torch.Tensor:
    """Stands for torch.nn.init.sparse_, which writes at random places."""
    recorder = current()
    if recorder is None or tensor.dim() != 2:
        original = _originals[torch.nn.init, "sparse_"]
        return original(tensor, sparsity, std, generator)  # type: ignore[no-any-return]
    if generator is not None:
        recorder.warn_of_generator("sparse_")
    # More zeros than rows are all rows. Fewer than none would count from the end, as slices do.
    recorder.draw_into(tensor, Sparse(min(float(sparsity), 1.0), float(std), *tensor.shape))
    return tensor


def _reduce_ex(tensor: torch.Tensor, protocol: Any) -> Any:
    """Stands for torch.Tensor.__reduce_ex__, which reads the memory of the tensor."""
    recorder = current()
    if recorder is not None and recorder.is_recorded(tensor):
        tensor = recorder.value_for(tensor, torch.Tensor.__reduce_ex__)
    return _originals[torch.Tensor, "__reduce_ex__"](tensor, protocol)


def _start(thread: threading.Thread) -> None:
    """Stands for threading.Thread.start: the recording has the threads that it starts."""
    recorder = current()
    if recorder is not None:
        thread.run = functools.partial(_run, recorder, thread.run)  # type: ignore[method-assign]
    _originals[threading.Thread, "start"](thread)


def _submit(pool: ThreadPoolExecutor, function: Callable[..., Any], *args: Any, **kw: Any) -> Any:
    """Stands for ThreadPoolExecutor.submit, whose threads can be older than the recording."""
    recorder = current()
    if recorder is not None:
        function = functools.partial(_run, recorder, function)
    return _originals[ThreadPoolExecutor, "submit"](pool, function, *args, **kw)


def _run(recorder: Recorder, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Calls a function in a thread, as a part of a recording."""
    if recorder.has_ended or current() is recorder:
        return function(*args, **kwargs)
    before = current()
    activate(recorder)
    try:
        with InThread(recorder), CpuFacade(recorder):
            return function(*args, **kwargs)
    finally:
        activate(before)


class _Generator:
    """Stands for torch's generator in the functions of torch.random that seed or restore it.

    They change nothing in a thread that records.
    """

    def __getattr__(self, name: str) -> Any:
        return getattr(torch.default_generator, name)

    def manual_seed(self, seed: int) -> torch.Generator:
        """Ignores the seed in a recording."""
        if _warned_of_seeds():
            return torch.default_generator
        return torch.default_generator.manual_seed(seed)

    def seed(self) -> int:
        """Makes no new seed in a recording."""
        if _warned_of_seeds():
            return torch.default_generator.initial_seed()
        return torch.default_generator.seed()

    def set_state(self, state: torch.Tensor) -> None:
        """Ignores the state in a recording."""
        if not _warned_of_seeds():
            torch.default_generator.set_state(state)


def _warned_of_seeds() -> bool:
    recorder = current()
    if recorder is not None:
        recorder.warn(SEEDS_TORCH)
    return recorder is not None


def _call_script_function(function: Any, *args: Any, **kwargs: Any) -> Any:
    """Stands for the call of a TorchScript function, which writes to memory directly."""
    if current() is None:
        return _originals[torch._C.ScriptFunction, "__call__"](function, *args, **kwargs)
    inline = getattr(function, "_torchdynamo_inline", None)
    if inline is None:
        raise RecordError(
            f"a TorchScript function without Python code was called{place()}: call the Python "
            "function"
        )
    return inline(*args, **kwargs)


def _random_bits(count: int) -> int:
    """Stands for the function that seeds numpy's generators without a seed."""
    recorder = current()
    if recorder is not None:
        recorder.warn(
            f"the model makes a generator of numpy without a seed{place()}: its numbers differ "
            "each time, and do not follow the seed"
        )
    bits: int = _originals[np.random.bit_generator, "randbits"](count)
    return bits


_REPLACEMENTS: dict[tuple[Any, str], Any] = {
    (torch.nn.init, "_no_grad_trunc_normal_"): _trunc_normal,
    (torch.nn.init, "sparse_"): _sparse,
    (torch.Tensor, "__reduce_ex__"): _reduce_ex,
    (threading.Thread, "start"): _start,
    (ThreadPoolExecutor, "submit"): _submit,
    (torch.random, "default_generator"): _Generator(),
    (torch._C.ScriptFunction, "__call__"): _call_script_function,
    (np.random.bit_generator, "randbits"): _random_bits,
}


def replace_functions() -> None:
    """Replaces the functions for the first of the recordings that run at the same time."""
    global _recordings
    with _lock:
        if _recordings == 0:
            for (owner, name), function in _REPLACEMENTS.items():
                _originals[owner, name] = getattr(owner, name)
                setattr(owner, name, function)
        _recordings += 1


def restore_functions() -> None:
    """Restores the functions after the last of the recordings."""
    global _recordings
    with _lock:
        _recordings -= 1
        if _recordings == 0:
            for (owner, name), function in _REPLACEMENTS.items():
                if getattr(owner, name) is function:  # else someone replaced it in the meantime
                    setattr(owner, name, _originals[owner, name])
