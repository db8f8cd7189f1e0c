"""The function mode that makes a model believe that its tensors are on the CPU."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch.overrides import TorchFunctionMode
from torch.utils._device import _device_constructors

from fanin.torch._recorder import Recorder
from fanin.torch._replay import plain_torch
from fanin.torch._trees import map_leaves

_CPU = torch.device("cpu")
_T = torch.Tensor

#: What recorded tensors answer.
_ANSWERS: dict[Any, Any] = {
    _T.is_meta.__get__: False,  # type: ignore[attr-defined]
    _T.is_cpu.__get__: True,  # type: ignore[attr-defined]
    _T.device.__get__: _CPU,
    _T.get_device: -1,
    _T.is_pinned: False,
    _T.is_shared: False,
    _T.__dlpack_device__: (1, 0),  # the CPU
}
#: Functions that read values.
_VALUES = frozenset(
    getattr(_T, name)
    for name in """__array__ __bool__ __complex__ __contains__ __dlpack__ __float__ __format__
    __index__ __int__ __reduce_ex__ __repr__ item numpy tolist""".split()
) | {torch.is_nonzero}
#: Functions that make a tensor from numbers, which can be tensors themselves.
_FROM_NUMBERS = frozenset((torch.tensor, torch.as_tensor, torch.asarray))
#: Functions that return the tensor itself if it is on the CPU.
_STAYS = frozenset((_T.cpu, _T.pin_memory, _T.share_memory_))
#: Functions that copy a tensor to another device.
_LEAVES = frozenset(
    getattr(_T, name) for name in ("cuda", "hpu", "ipu", "mps", "xpu") if hasattr(_T, name)
)


@functools.lru_cache(maxsize=1)
def _constructors() -> frozenset[Any]:
    """Returns the functions to which torch's default device applies."""
    return frozenset(_device_constructors())


def _array(tensor: torch.Tensor) -> Any:
    """Returns the array of numpy that has the memory of a tensor."""
    with plain_torch():
        return tensor.detach().numpy()


class CpuFacade(TorchFunctionMode):
    """Makes Python code see recorded tensors as if they were on the CPU, with their values.

    Libraries skip the initialization of tensors on the meta device, and constructors read tables
    that they have computed.
    """

    def __init__(self, recorder: Recorder) -> None:
        """Serves the values of a recording."""
        super().__init__()
        self.recorder = recorder

    def __torch_function__(
        self,
        func: Any,
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Answers a question about a recorded tensor, or calls the function."""
        kwargs = dict(kwargs or {})
        if self.recorder.has_ended:  # in a thread that still runs
            return func(*args, **kwargs)
        if args and isinstance(args[0], _T) and self.recorder.is_recorded(args[0]):
            if func in _ANSWERS:
                return _ANSWERS[func]
            if func in _VALUES:
                return self._read(func, args, kwargs)
            if func == _T.data_ptr:
                return self._address(args[0])
            if func == _T.data.__set__:  # type: ignore[attr-defined]
                return func(args[0], self.recorder.lift(args[1]))
            if func in _STAYS:
                return args[0]
        if func in _LEAVES:
            return args[0].clone()
        if func == _T.to:
            return self._move(args, kwargs)
        if func in _FROM_NUMBERS and not isinstance(args[0], _T):
            args = map_leaves(lambda leaf: self._value(leaf, func), args)
        if "out" not in kwargs and (func in _constructors() or kwargs.get("device") is not None):
            # A device without a driver would raise an error before an operation is seen.
            kwargs["device"] = _CPU
        try:
            return func(*args, **kwargs)
        except RuntimeError as error:
            if "already associated to a python object" not in str(error):
                raise
            # torch 2.5 cannot give a result the subclass of an argument within a dispatch mode.
            with torch._C.DisableTorchFunctionSubclass():
                return func(*args, **kwargs)

    def _value(self, leaf: Any, reader: Any) -> Any:
        if isinstance(leaf, _T) and self.recorder.is_recorded(leaf):
            return self.recorder.value_for(leaf, reader)
        return leaf

    def _read(self, func: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
        values = map_leaves(lambda leaf: self._value(leaf, func), args)
        result = func(*values, **kwargs)
        if isinstance(result, np.ndarray) and np.may_share_memory(result, _array(values[0])):
            self.recorder.share(args[0], values[0], result)
        return result

    def _address(self, tensor: torch.Tensor) -> int:
        """Returns a number that differs between places, for code that looks for tied weights."""
        ref = self.recorder.ref(tensor)
        return (ref.storage + 1) * (1 << 44) + ref.offset * ref.dtype.itemsize

    def _move(self, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
        """Runs `Tensor.to`. A tensor that goes to another device is copied, as there."""
        tensor, *rest = args
        target = kwargs.get("device", rest[0] if rest else None)
        if not isinstance(target, (str, int, torch.device)) or isinstance(target, bool):
            return _T.to(*args, **kwargs)
        if "device" in kwargs:
            kwargs["device"] = tensor.device
        else:
            rest[0] = tensor.device
        moved = _T.to(tensor, *rest, **kwargs)
        leaves = torch.device(target).type not in ("cpu", "meta")
        return moved.clone() if leaves and moved is tensor else moved
