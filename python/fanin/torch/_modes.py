"""Records what a model's constructor does, without memory for its tensors and without random numbers.

Two modes work together. `Recorder` sees every torch operation and runs it on the meta device, which
computes shapes only. `CpuFacade` answers the questions of Python code about those tensors as if
they were on the CPU, because libraries skip the initialization of meta tensors. The functions of
torch.nn.init that look for meta tensors in places that no mode sees are replaced while a recording
runs.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Callable

import torch
from torch._ops import OpOverload
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from fanin.torch import _draws, _ops
from fanin.torch._forms import Form, Sparse, TruncNormal
from fanin.torch._problems import RecordError, place, unsupported
from fanin.torch._replay import Draw, Entry, Log, Replay, map_leaves, plain_torch, tensors_of
from fanin.torch._storage import Computed, Known, Ref, Storage, Uninit, Value, is_known, sources_of

_META, _CPU = torch.device("meta"), torch.device("cpu")
_is_meta = torch.Tensor.is_meta.__get__
_no_function_modes = torch._C.DisableTorchFunction  # type: ignore[attr-defined]

# Operations whose results depend on values: a number, or the shape of a tensor.
_READS_VALUES = frozenset(
    "_local_scalar_dense _unique _unique2 allclose bincount equal is_nonzero item masked_select nonzero "
    "nonzero_static unique_consecutive unique_dim".split()
)
_active = threading.local()


class Recorder(TorchDispatchMode):
    """Logs operations and keeps what is known of each storage."""

    def __init__(self) -> None:
        """Begins an empty recording."""
        super().__init__()
        self.log = Log()
        self.storages: list[Storage] = []
        self.warnings: list[str] = []
        self.draws: list[Entry] = []
        self._numbers: dict[int, int] = {}  # address of a storage -> its number

    # Storages

    def number_of(self, tensor: torch.Tensor) -> int | None:
        """Returns the number of a tensor's storage, or None if the recording does not have it."""
        with _no_function_modes():
            return self._numbers.get(tensor.untyped_storage()._cdata)

    def is_recorded(self, tensor: torch.Tensor) -> bool:
        """Returns true if the recording has the values of a tensor, so that its memory does not count."""
        with _no_function_modes():
            if unsupported(tensor) is not None:
                return False
            return _is_meta(tensor) or tensor.untyped_storage()._cdata in self._numbers

    def ref(self, tensor: torch.Tensor) -> Ref:
        """Returns the view that a tensor is. The recording has its storage from then on."""
        with _no_function_modes():
            handle = tensor.untyped_storage()
            number = self._numbers.get(handle._cdata)
            if number is None:
                number = self._numbers[handle._cdata] = len(self.storages)
                self.storages.append(Storage(handle))
                if not _is_meta(tensor):
                    self._load(number, tensor)
            size, stride = tuple(map(int, tensor.size())), tuple(map(int, tensor.stride()))
            return Ref(number, tensor.dtype, size, stride, int(tensor.storage_offset()))

    def _load(self, number: int, tensor: torch.Tensor) -> None:
        """Begins the storage of a tensor that the model was given, with a copy of its bytes."""
        with plain_torch():
            data = (
                torch.empty(0, dtype=torch.uint8)
                .set_(tensor.detach().cpu().untyped_storage())
                .clone()
            )
        self.log.append(
            Entry(None, creates=frozenset((number,)), overwrites=frozenset((number,)), data=data)
        )
        whole = Ref(number, torch.uint8, (self.storages[number].nbytes,), (1,), 0)
        self.storages[number].write(whole, Known())

    def read(self, ref: Ref) -> Value:
        """Returns what is known of a view."""
        return self.storages[ref.storage].read(ref)

    def evaluate(self, ref: Ref, draw: Draw | None = None) -> torch.Tensor:
        """Returns the values of a view, on the CPU."""
        return Replay(self.log, self.storages, draw or _draws.fixed).value(ref)

    def value_for(self, tensor: torch.Tensor, reader: object) -> torch.Tensor:
        """Returns the values of a tensor that Python code reads, with a warning if they are not known."""
        ref = self.ref(tensor)
        value = self.read(ref)
        name = getattr(reader, "__name__", str(reader))
        if sources_of(value):
            self.warn(
                f"{name} reads values that depend on random numbers{place()}: they do not follow the seed, "
                "so what the model derives from them is the same for every seed"
            )
        elif isinstance(value, Uninit):
            self.warn(
                f"{name} reads values of uninitialized memory{place()}: they are taken as zeros"
            )
        return self.evaluate(ref)

    def warn(self, text: str) -> None:
        """Adds a warning, once."""
        if text not in self.warnings:
            self.warnings.append(text)

    # Operations

    def __torch_dispatch__(
        self, func: OpOverload, types: Sequence[type], args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        """Runs an operation on the meta device and logs it."""
        with _no_function_modes():
            return self._dispatch(func, args, dict(kwargs or {}))

    def _dispatch(self, func: OpOverload, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
        name = base_name(func)
        tensors = tensors_of((args, kwargs))
        for tensor in tensors:
            _check_supported(tensor)
        if not _returns_view(func) and any(map(_is_flagged, tensors)):
            args, kwargs = map_leaves(self._resolved, args), map_leaves(self._resolved, kwargs)
            tensors = tensors_of((args, kwargs))
        recorded = any(map(self.is_recorded, tensors))
        if tensors and not recorded and name not in _ops.RANDOM:
            return func(*args, **kwargs)  # Data that the model was given. It is small.
        if name == "resize":
            result = func(*args, **kwargs)
            self.storages[self.ref(args[0]).storage].resized()
            return result
        if name in _ops.GEOMETRY or (_returns_view(func) and not any(map(_is_meta, tensors))):
            return func(*args, **kwargs)
        if name in _READS_VALUES or (recorded and _selects(name, args)):
            return self._on_values(func, args, kwargs)
        return self._record(func, name, args, kwargs)

    def _resolved(self, leaf: Any) -> Any:
        """Returns a tensor without the flags of lazy conjugates and negatives, which a view has."""
        if not isinstance(leaf, torch.Tensor) or not _is_flagged(leaf):
            return leaf
        if leaf.is_neg():
            leaf = self._dispatch(torch.ops.aten.neg.default, (torch._neg_view(leaf),), {})
        if leaf.is_conj():
            leaf = self._dispatch(torch.ops.aten.conj_physical.default, (leaf.conj(),), {})
        return leaf

    def _on_values(self, func: OpOverload, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
        """Runs an operation on the values themselves. Its results are data."""

        def real(leaf: Any) -> Any:
            if isinstance(leaf, torch.Tensor) and self.is_recorded(leaf):
                return self.value_for(leaf, func)
            return leaf

        args, kwargs = map_leaves(real, args), map_leaves(real, kwargs)
        with plain_torch():
            return func(*args, **kwargs)

    def _record(
        self, func: OpOverload, name: str, args: Sequence[Any], kwargs: dict[str, Any]
    ) -> Any:
        bound = _bound(func, args, kwargs)
        if bound.get("generator") is not None:
            self.warn(
                f"{name} was given a torch.Generator{place()}: it is ignored, and fanin's streams are used"
            )
            kwargs["generator"] = None
        changed = [tensor for arg in _written(func) for tensor in tensors_of(bound[arg])]
        stand_ins = _StandIns(self, changed)
        meta_args, meta_kwargs = (
            map_leaves(stand_ins.meta, args),
            map_leaves(stand_ins.meta, kwargs),
        )
        if "device" in bound and not (bound["device"] is None and tensors_of((args, kwargs))):
            meta_kwargs["device"] = _META
        if meta_kwargs.get("pin_memory"):
            meta_kwargs["pin_memory"] = False
        result = self._on_meta(func, meta_args, meta_kwargs, stand_ins)
        self._append(func, name, bound, meta_args, meta_kwargs, result, changed, stand_ins)
        return map_leaves(stand_ins.original, result)

    def _on_meta(self, func: OpOverload, args: Any, kwargs: Any, stand_ins: _StandIns) -> Any:
        try:
            return func(*args, **kwargs)
        except NotImplementedError:
            # No shape function. The shapes come from the operation itself.
            if func._schema.is_mutable:
                raise
            real = map_leaves(stand_ins.real, (args, kwargs))
            with plain_torch():
                result = func(
                    *real[0], **{**real[1], **({"device": _CPU} if "device" in real[1] else {})}
                )
            for tensor in tensors_of(result):
                _check_supported(tensor)
            return map_leaves(_meta_like, result)

    def _append(
        self,
        func: OpOverload,
        name: str,
        bound: dict[str, Any],
        args: Any,
        kwargs: dict[str, Any],
        result: Any,
        changed: Sequence[torch.Tensor],
        stand_ins: _StandIns,
    ) -> None:
        for tensor in tensors_of(result):
            _check_supported(tensor)
        known = len(self.storages)
        outs = [self.ref(out) for out in tensors_of(map_leaves(stand_ins.original, result))]
        creates = frozenset(ref.storage for ref in outs if ref.storage >= known)
        writes = [self.ref(tensor) for tensor in changed]
        if not creates and not writes:
            return  # a view
        described = map_leaves(stand_ins.describe, (args, kwargs))
        reads = frozenset(leaf.storage for leaf in _leaves(described) if isinstance(leaf, Ref))
        if "dtype" in bound and not reads and outs:
            described[1]["dtype"] = outs[0].dtype  # which may have come from torch's default
        unread = set(_unread(func, name))
        call = _ops.Call(
            name=name,
            bound={
                key: map_leaves(stand_ins.describe_original, argument)
                for key, argument in bound.items()
            },
            targets=writes or [ref for ref in outs if ref.storage in creates],
            draw=len(self.draws) if name in _ops.RANDOM else None,
            read=self.read,
            number=lambda ref: float(self.evaluate(ref)),
        )
        call.inputs = [
            leaf
            for key, argument in call.bound.items()
            if key not in unread
            for leaf in _leaves(argument)
            if isinstance(leaf, (Ref, torch.Tensor))
        ]
        entry = Entry(
            func,
            *described,
            outs=outs,
            reads=reads,
            writes=writes,
            creates=creates,
            overwrites=creates | self._overwritten(func, name, bound, stand_ins),
            draw=call.draw,
            form=None if call.draw is None else _ops.form_of_draw(call),
        )
        values = _ops.interpret(call)
        self.log.append(entry)
        if call.draw is not None:
            self.draws.append(entry)
        for ref, value in values:
            self.storages[ref.storage].write(ref, value)
        for ref in outs:
            if ref.storage in creates and writes:
                # An operation that changes an argument and returns a new tensor, too.
                self.storages[ref.storage].write(
                    ref, values[0][1] if is_known(values[0][1]) else _lost(name, values)
                )

    def _overwritten(
        self, func: OpOverload, name: str, bound: dict[str, Any], stand_ins: _StandIns
    ) -> frozenset[int]:
        refs = [
            self.ref(tensor) for arg in _unread(func, name) for tensor in tensors_of(bound[arg])
        ]
        return frozenset(ref.storage for ref in refs if self.storages[ref.storage].covers(ref))

    def draw_into(self, tensor: torch.Tensor, form: Form) -> None:
        """Records a draw that has no torch operation."""
        ref = self.ref(tensor)
        if ref.numel == 0:
            return
        storage = frozenset((ref.storage,))
        covered = storage if self.storages[ref.storage].covers(ref) else frozenset()
        entry = Entry(
            None, reads=storage, writes=[ref], overwrites=covered, draw=len(self.draws), form=form
        )
        self.log.append(entry)
        self.storages[ref.storage].write(ref, _ops.whole(form, len(self.draws), ref.numel))
        self.draws.append(entry)


def _lost(name: str, values: _ops.Writes) -> Value:
    return Computed(name, frozenset().union(*(sources_of(value) for _, value in values)))


class _StandIns:
    """Meta tensors in place of the tensors with data that an operation takes together with recorded ones."""

    def __init__(self, recorder: Recorder, changed: Sequence[torch.Tensor]) -> None:
        self.recorder = recorder
        self.changed = {id(tensor) for tensor in changed}
        self.of: dict[
            int, tuple[torch.Tensor, torch.Tensor]
        ] = {}  # id of a stand-in -> it, and what it stands for
        self.data: dict[int, torch.Tensor] = {}  # id of a tensor with data -> a copy

    def meta(self, leaf: Any) -> Any:
        if not isinstance(leaf, torch.Tensor) or _is_meta(leaf):
            return leaf
        if id(leaf) in self.changed:
            self.recorder.ref(leaf)  # Its values are recorded from here on.
        stand_in = torch.empty_strided(leaf.size(), leaf.stride(), dtype=leaf.dtype, device=_META)
        self.of[id(stand_in)] = (stand_in, leaf)
        return stand_in

    def original(self, leaf: Any) -> Any:
        return self.of[id(leaf)][1] if id(leaf) in self.of else leaf

    def describe(self, leaf: Any) -> Any:
        """Returns the view that a tensor is, or a copy of its data, for the log."""
        return self.describe_original(self.original(leaf))

    def describe_original(self, leaf: Any) -> Any:
        if not isinstance(leaf, torch.Tensor):
            return leaf
        if self.recorder.is_recorded(leaf):
            return self.recorder.ref(leaf)
        if id(leaf) not in self.data:
            with plain_torch():
                self.data[id(leaf)] = leaf.detach().cpu().clone()
        return self.data[id(leaf)]

    def real(self, leaf: Any) -> Any:
        described = self.describe(leaf)
        return self.recorder.evaluate(described) if isinstance(described, Ref) else described


def base_name(func: OpOverload) -> str:
    """Returns the name of an operation without its namespace, its overload and the underscore of in-place forms."""
    name = func._schema.name.split("::")[1]
    return name[:-1] if name.endswith("_") and not name.endswith("__") else name


def _bound(func: OpOverload, args: Sequence[Any], kwargs: dict[str, Any]) -> dict[str, Any]:
    """Returns the arguments of an operation by name, with the defaults of its schema."""
    bound: dict[str, Any] = {}
    for position, argument in enumerate(func._schema.arguments):
        if position < len(args):
            bound[argument.name] = args[position]
        elif argument.name in kwargs:
            bound[argument.name] = kwargs[argument.name]
        elif argument.has_default_value():
            bound[argument.name] = argument.default_value
    return bound


def _written(func: OpOverload) -> list[str]:
    arguments = func._schema.arguments
    return [a.name for a in arguments if a.alias_info is not None and a.alias_info.is_write]


def _unread(func: OpOverload, name: str) -> list[str]:
    """Returns the arguments that an operation writes without reading them."""
    written = _written(func)
    outs = [a.name for a in func._schema.arguments if a.is_out]
    return written if name in _ops.OVERWRITING else [arg for arg in written if arg in outs]


def _returns_view(func: OpOverload) -> bool:
    returns = func._schema.returns
    return bool(returns) and all(
        r.alias_info is not None and not r.alias_info.is_write for r in returns
    )


def _is_flagged(tensor: torch.Tensor) -> bool:
    return tensor.is_neg() or (tensor.dtype.is_complex and tensor.is_conj())


def _selects(name: str, args: Sequence[Any]) -> bool:
    """Returns true for an operation whose result has a shape that depends on a mask or on counts."""
    if name == "index":
        return any(index.dtype in (torch.bool, torch.uint8) for index in tensors_of(args[1:]))
    return (
        name == "repeat_interleave"
        and bool(tensors_of(args[:1]))
        and args[0].dtype in (torch.int32, torch.int64)
        and len(args) == 1
    )


def _leaves(tree: Any) -> list[Any]:
    found: list[Any] = []
    map_leaves(found.append, tree)
    return found


def _meta_like(leaf: Any) -> Any:
    if not isinstance(leaf, torch.Tensor):
        return leaf
    return torch.empty_strided(leaf.size(), leaf.stride(), dtype=leaf.dtype, device=_META)


def _check_supported(tensor: torch.Tensor) -> None:
    what = unsupported(tensor)
    if what is not None:
        raise RecordError(f"record does not support tensors of {what}{place()}: use dense tensors")


class CpuFacade(TorchFunctionMode):
    """Makes Python code see recorded tensors as if they were on the CPU, and serves their values."""

    def __init__(self, recorder: Recorder) -> None:
        """Serves the values of a recording."""
        super().__init__()
        self.recorder = recorder

    def __torch_function__(
        self, func: Any, types: Sequence[type], args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        """Answers a question about a recorded tensor, or calls the function."""
        kwargs = dict(kwargs or {})
        first = args[0] if args else None
        recorded = isinstance(first, torch.Tensor) and self.recorder.is_recorded(first)
        if recorded and func in _ANSWERS:
            return _ANSWERS[func]
        if recorded and func in _VALUES:
            return func(self.recorder.value_for(first, func), *args[1:], **kwargs)
        if recorded and func == torch.Tensor.data_ptr:
            ref = self.recorder.ref(first)
            # Different for tensors at different places, as code that looks for tied weights
            # expects.
            return (ref.storage + 1) * (1 << 44) + ref.offset * ref.dtype.itemsize
        if func == torch.Tensor.to or func in _MOVES:
            return self._move(func, args, kwargs)
        if func in _FROM_NUMBERS and not isinstance(first, torch.Tensor):
            args = map_leaves(self._number, args)
        if kwargs.get("out") is None and (
            func in _constructors() or kwargs.get("device") is not None
        ):
            kwargs["device"] = _CPU
        return func(*args, **kwargs)

    def _number(self, leaf: Any) -> Any:
        """Returns the value of a recorded tensor within a list of numbers."""
        if isinstance(leaf, torch.Tensor) and self.recorder.is_recorded(leaf):
            return self.recorder.value_for(leaf, torch.tensor)
        return leaf

    def _move(self, func: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
        """Moves a tensor to a device: nothing on the CPU, a copy for another device."""
        if func in _MOVES:
            return args[0].clone() if _MOVES[func] else args[0]
        target = kwargs.get("device", args[1] if len(args) > 1 else None)
        if not isinstance(target, (str, int, torch.device)) or isinstance(target, bool):
            return func(*args, **kwargs)
        device = torch.device(target)
        staying = args[0].device
        if "device" in kwargs:
            kwargs["device"] = staying
        else:
            args = (args[0], staying, *args[2:])
        moved = func(*args, **kwargs)
        return moved.clone() if device.type not in ("cpu", "meta") and moved is args[0] else moved


_T = torch.Tensor
#: What recorded tensors answer.
_ANSWERS: dict[Any, Any] = {
    _T.is_meta.__get__: False,
    _T.is_cpu.__get__: True,
    _T.device.__get__: _CPU,
    _T.get_device: -1,
}
#: Functions that read values.
_VALUES = frozenset(
    getattr(_T, name)
    for name in (
        "__array__ __bool__ __complex__ __contains__ __float__ __format__ __index__ __int__ __repr__ item numpy tolist"
    ).split()
) | {torch.is_nonzero}
#: Functions that make a tensor from a list of numbers, which can be tensors themselves.
_FROM_NUMBERS = frozenset((torch.tensor, torch.as_tensor, torch.asarray))
#: Functions that move a tensor, and whether they copy it if it is on the CPU.
_MOVES: dict[Any, bool] = {_T.cpu: False, _T.cuda: True}
for _name in ("xpu", "hpu", "ipu", "mps"):
    if hasattr(_T, _name):
        _MOVES[getattr(_T, _name)] = True


def _constructors() -> frozenset[Any]:
    """Returns the functions that torch's default device applies to."""
    from torch.utils._device import _device_constructors

    return frozenset(_device_constructors())


_lock = threading.Lock()
_recordings = 0
_originals: dict[str, Callable[..., Any]] = {}


def _trunc_normal(
    tensor: torch.Tensor, mean: float, std: float, a: float, b: float, generator: Any = None
) -> torch.Tensor:
    recorder = getattr(_active, "recorder", None)
    if recorder is None:
        return _originals["_no_grad_trunc_normal_"](tensor, mean, std, a, b, generator)  # type: ignore[no-any-return]
    if generator is not None:
        recorder.warn(
            f"trunc_normal_ was given a torch.Generator{place()}: it is ignored, and fanin's streams are used"
        )
    recorder.draw_into(tensor, TruncNormal(float(mean), float(std), float(a), float(b)))
    return tensor


def _sparse(
    tensor: torch.Tensor, sparsity: float, std: float = 0.01, generator: Any = None
) -> torch.Tensor:
    recorder = getattr(_active, "recorder", None)
    if recorder is None or tensor.dim() != 2:
        return _originals["sparse_"](tensor, sparsity, std, generator)  # type: ignore[no-any-return]
    if generator is not None:
        recorder.warn(
            f"sparse_ was given a torch.Generator{place()}: it is ignored, and fanin's streams are used"
        )
    recorder.draw_into(tensor, Sparse(float(sparsity), float(std), *tensor.shape))
    return tensor


@contextmanager
def recording() -> Iterator[Recorder]:
    """Records what the calling thread does with torch. Other threads are not affected.

    Raises:
        RuntimeError: The thread is recording already.
    """
    global _recordings
    if getattr(_active, "recorder", None) is not None:
        raise RuntimeError(
            "a recording cannot begin within a recording: call record outside of the model's constructor"
        )
    recorder = Recorder()
    with _lock:
        if _recordings == 0:
            for name, replacement in (
                ("_no_grad_trunc_normal_", _trunc_normal),
                ("sparse_", _sparse),
            ):
                _originals[name] = getattr(torch.nn.init, name)
                setattr(torch.nn.init, name, replacement)
        _recordings += 1
    _active.recorder = recorder
    try:
        # In inference mode torch decomposes operations before the modes see them.
        with torch.inference_mode(False), recorder, CpuFacade(recorder):
            yield recorder
    finally:
        _active.recorder = None
        with _lock:
            _recordings -= 1
            if _recordings == 0:
                for name in list(_originals):
                    setattr(torch.nn.init, name, _originals.pop(name))
