"""The dispatch mode that records: it runs every torch operation on the meta device and logs it."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import wraps
from typing import Any, Callable, TypeVar

import torch
from torch._ops import OpOverload
from torch.utils._python_dispatch import TorchDispatchMode

from fanin.torch import _draws, _ops
from fanin.torch._forms import Form
from fanin.torch._problems import RecordError, place, unsupported
from fanin.torch._replay import Draw, Entry, Log, Replay, no_function_modes, plain_torch
from fanin.torch._schema import base_name, bound_arguments, outputs, returns_view, written
from fanin.torch._shared import SharedMemory
from fanin.torch._storage import Computed, Known, Ref, Storage, Uninit, Value, sources_of
from fanin.torch._trees import leaves, map_leaves, tensors_of

_META = torch.device("meta")
_is_meta = torch.Tensor.is_meta.__get__  # type: ignore[attr-defined]

# Operations whose results are numbers, or have shapes that depend on values.
_READS_VALUES = frozenset(
    """_local_scalar_dense _unique _unique2 allclose bincount equal is_nonzero item masked_select
    nonzero nonzero_static unique_consecutive unique_dim""".split()
)


_F = TypeVar("_F", bound=Callable[..., Any])


def _one_at_a_time(method: _F) -> _F:
    """Lets only one thread run such methods of a recorder at the same time."""

    @wraps(method)
    def locked(self: Recorder, *args: Any, **kwargs: Any) -> Any:
        with self._lock:
            return method(self, *args, **kwargs)

    return locked  # type: ignore[return-value]


class Recorder(TorchDispatchMode):
    """Logs operations, and keeps what is known of each storage."""

    def __init__(self) -> None:
        """Begins an empty recording."""
        super().__init__()  # type: ignore[no-untyped-call]
        self.log = Log()
        self.storages: list[Storage] = []
        self.warnings: list[str] = []
        self.draws: list[Entry] = []
        self._sources = 0  # the number of sources that are no draws
        self._numbers: dict[int, int] = {}  # the address of a storage -> its number
        self._loaded: dict[int, torch.UntypedStorage] = {}  # storages of files -> those on meta
        self._shared = SharedMemory()
        self.has_ended = False
        self._lock = threading.RLock()  # the model's constructor can start threads

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Returns false: torch would import torch._dynamo for seconds to keep it away from here."""
        return False

    # Storages

    def number_of(self, tensor: torch.Tensor) -> int | None:
        """Returns the number of a tensor's storage, or None if the recording does not have it."""
        with no_function_modes():
            return self._numbers.get(tensor.untyped_storage()._cdata)

    def is_recorded(self, tensor: torch.Tensor) -> bool:
        """Returns true if the recording has a tensor's values. Its memory does not count then."""
        with no_function_modes():
            if unsupported(tensor) is not None:
                return False
            return _is_meta(tensor) or tensor.untyped_storage()._cdata in self._numbers

    @_one_at_a_time
    def ref(self, tensor: torch.Tensor) -> Ref:
        """Returns the view that a tensor is. The recording has its storage from then on."""
        with no_function_modes():
            handle = tensor.untyped_storage()
            number = self._numbers.get(handle._cdata)
            if number is None:
                number = self._numbers[handle._cdata] = len(self.storages)
                self.storages.append(Storage(handle))
                if not _is_meta(tensor):
                    self._load(number, handle)
            size, stride = tuple(map(int, tensor.size())), tuple(map(int, tensor.stride()))
            return Ref(number, tensor.dtype, size, stride, int(tensor.storage_offset()))

    def _load(self, number: int, data: torch.UntypedStorage) -> None:
        """Gives a storage the bytes of another one as its first values."""
        with plain_torch():
            held = torch.empty(0, dtype=torch.uint8, device=data.device).set_(data).cpu().clone()
        storage = frozenset((number,))
        self.log.append(Entry(None, creates=storage, overwrites=storage, data=held))
        whole = Ref(number, torch.uint8, (self.storages[number].nbytes,), (1,), 0)
        self.storages[number].write(whole, Known())

    @_one_at_a_time
    def lift(self, data: torch.Tensor) -> torch.Tensor:
        """Returns a recorded tensor with the values of a tensor with data."""
        if _is_meta(data):
            return data
        with plain_torch():
            data = data.detach()
            meta = torch.empty_strided(data.size(), data.stride(), dtype=data.dtype, device=_META)
            dense = torch.empty_strided(data.size(), data.stride(), dtype=data.dtype).copy_(data)
            common = _ops.common_number(dense)
        ref = self.ref(meta)
        self._load(ref.storage, dense.untyped_storage())
        self.storages[ref.storage].write(ref, Known(common))
        return meta

    @_one_at_a_time
    def share(self, tensor: torch.Tensor, memory: torch.Tensor, array: Any = None) -> None:
        """Lets a tensor and numpy see what the other one writes, see `SharedMemory.add`."""
        with plain_torch():
            self._shared.add(self.ref(tensor), memory, array)

    def load_shared(self, storages: Iterable[int] | None = None) -> None:
        """Records what numpy has written to the memory of storages, or of all."""
        for storage in self._shared.storages() if storages is None else storages:
            changes = list(self._shared.changes(storage))
            for shared, changed in changes:
                self._load_change(shared.ref, shared.memory, changed, shared.place)
            if changes:
                self.store_shared((storage,))  # for other arrays of the same memory

    def _load_change(
        self, ref: Ref, memory: torch.Tensor, changed: torch.Tensor, where: str
    ) -> None:
        if sources_of(self.read(ref)):
            self.warn(
                f"numpy changed memory that it shares with a random tensor{where}: the change is "
                "not recorded"
            )
            return
        with plain_torch():
            values = torch.where(changed, memory, self.evaluate(ref))
        storage = frozenset((ref.storage,))
        covered = storage if self.storages[ref.storage].covers(ref) else frozenset()
        copy = torch.ops.aten.copy_.default
        entry = Entry(copy, (ref, values), reads=storage, writes=[ref], overwrites=covered)
        self.log.append(entry)
        self.storages[ref.storage].write(ref, Known())

    def store_shared(self, storages: Iterable[int]) -> None:
        """Gives numpy what an operation has written to storages."""
        for shared in self._shared.of(storages):
            if sources_of(self.read(shared.ref)):
                self.warn(
                    f"numpy shares memory with a random tensor{shared.place}: it sees the values "
                    "from before"
                )
            else:
                self._shared.write(shared, self.evaluate(shared.ref))

    def read(self, ref: Ref) -> Value:
        """Returns what is known of a view."""
        return self.storages[ref.storage].read(ref)

    def evaluate(self, ref: Ref, draw: Draw | None = None) -> torch.Tensor:
        """Returns the values of a view, on the CPU."""
        return Replay(self.log, self.storages, draw or _draws.fixed).value(ref)

    @_one_at_a_time
    def value_for(self, tensor: torch.Tensor, reader: object) -> torch.Tensor:
        """Returns the values of a tensor for code that reads them, with a warning if it should."""
        ref = self.ref(tensor)
        self.load_shared((ref.storage,))
        value = self.read(ref)
        name = getattr(reader, "__name__", str(reader))
        if sources_of(value):
            self.warn(
                f"{name} reads values that depend on random numbers{place()}: they do not follow "
                "the seed, so what the model derives from them is the same for every seed"
            )
        elif isinstance(value, Uninit):
            self.warn(f"{name} reads uninitialized memory{place()}: it is taken as zeros")
        return self.evaluate(ref)

    def warn(self, text: str) -> None:
        """Adds a warning, once."""
        if text not in self.warnings:
            self.warnings.append(text)

    def warn_of_generator(self, name: str) -> None:
        """Adds a warning about a torch.Generator that an operation was given."""
        self.warn(
            f"{name} was given a torch.Generator{place()}: it is ignored, and fanin's streams are "
            "used"
        )

    # Operations

    @_one_at_a_time
    def __torch_dispatch__(
        self,
        func: OpOverload,
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Runs an operation on the meta device and logs it."""
        with no_function_modes():
            return self._dispatch(func, args, dict(kwargs or {}))

    def _dispatch(self, func: OpOverload, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
        name = base_name(func)
        tensors = tensors_of((args, kwargs))
        for tensor in tensors:
            _check_supported(tensor)
        if name == "lift_fresh":  # the results of torch.tensor and torch.from_numpy
            lifted = self.lift(args[0])
            if not args[0].untyped_storage().resizable():  # torch did not allocate it
                self.share(lifted, args[0])
            return lifted
        if name == "set" and len(args) > 1 and isinstance(args[1], torch.UntypedStorage):
            return func(args[0], self._on_meta_of(args[1]), *args[2:], **kwargs)
        if name == "resize":
            result = func(*args, **kwargs)
            self.storages[self.ref(args[0]).storage].resized()
            return result
        if not returns_view(func) and any(map(_is_flagged, tensors)):
            args, kwargs = map_leaves(self._resolved, args), map_leaves(self._resolved, kwargs)
            tensors = tensors_of((args, kwargs))
        if self._shared:
            numbers = (self.number_of(tensor) for tensor in tensors)
            self.load_shared({number for number in numbers if number is not None})
        recorded = any(map(self.is_recorded, tensors))
        if tensors and not recorded and name not in _ops.RANDOM:
            return func(*args, **kwargs)  # on tensors that were made before the recording
        if name in _ops.GEOMETRY or (returns_view(func) and not any(map(_is_meta, tensors))):
            return func(*args, **kwargs)
        if name in _READS_VALUES or _selects(name, args):
            return self._on_values(func, args, kwargs)
        return self._record(func, name, args, kwargs)

    def _on_meta_of(self, data: torch.UntypedStorage) -> torch.UntypedStorage:
        """Returns the storage on the meta device that stands for one with data, as of a file."""
        if data.device.type == "meta":
            return data
        if data._cdata not in self._loaded:
            with plain_torch():
                held = torch.empty(data.nbytes(), dtype=torch.uint8, device=_META)
                self._load(self.ref(held).storage, data)
            self._loaded[data._cdata] = held.untyped_storage()
            self._loaded[-data._cdata] = data  # kept alive, so that its address is not used again
        return self._loaded[data._cdata]

    def _resolved(self, leaf: Any) -> Any:
        """Returns a tensor without the flags of lazy conjugates and negatives."""
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
            result = func(*args, **kwargs)
        return map_leaves(lambda x: self.lift(x) if isinstance(x, torch.Tensor) else x, result)

    def _record(
        self, func: OpOverload, name: str, args: Sequence[Any], kwargs: dict[str, Any]
    ) -> Any:
        bound = bound_arguments(func, args, kwargs)
        if bound.get("generator") is not None:
            self.warn_of_generator(name)
            kwargs["generator"] = bound["generator"] = None
        changed = [
            tensor for argument in written(func, bound) for tensor in tensors_of(bound[argument])
        ]
        if name in _ops.RANDOM and changed:
            _check_draw(func, args, kwargs)
        stand_ins = _StandIns(self, changed)
        args, kwargs = map_leaves(stand_ins.meta, args), map_leaves(stand_ins.meta, kwargs)
        if "device" in bound and not (bound["device"] is None and tensors_of((args, kwargs))):
            kwargs["device"] = _META
        if kwargs.get("pin_memory"):
            kwargs["pin_memory"] = False
        result = self._run_on_meta(func, args, kwargs, stand_ins)
        for tensor in tensors_of(result):
            _check_supported(tensor)
        _Operation(func, name, bound, args, kwargs, result, changed, stand_ins).log(self)
        return map_leaves(stand_ins.original, result) if stand_ins.of else result

    def _run_on_meta(
        self, func: OpOverload, args: Sequence[Any], kwargs: dict[str, Any], stand_ins: _StandIns
    ) -> Any:
        try:
            return func(*args, **kwargs)
        except (NotImplementedError, RuntimeError) as error:
            # torch has no shape function for it, or one that refuses meta tensors. The operation
            # itself tells the shapes.
            if func._schema.is_mutable:
                raise
            refused = error
        args, kwargs = map_leaves(stand_ins.real, args), map_leaves(stand_ins.real, kwargs)
        if "device" in kwargs:
            kwargs["device"] = torch.device("cpu")
        try:
            with plain_torch():
                result = func(*args, **kwargs)
        except RuntimeError:
            raise refused from None  # it is an error of the model
        for tensor in tensors_of(result):
            _check_supported(tensor)
        return map_leaves(_meta_like, result)

    @_one_at_a_time
    def draw_into(self, tensor: torch.Tensor, form: Form) -> None:
        """Records a draw that has no torch operation."""
        _check_form(form, tensor.dtype)
        ref = self.ref(tensor)
        if ref.numel == 0:
            return
        storage = frozenset((ref.storage,))
        covered = storage if self.storages[ref.storage].covers(ref) else frozenset()
        draw = len(self.draws)
        self.add(Entry(None, reads=storage, writes=[ref], overwrites=covered, draw=draw, form=form))
        self.storages[ref.storage].write(ref, _ops.whole(form, draw, ref.numel))

    def new_source(self) -> int:
        """Returns a number for random values that come from several draws."""
        self._sources += 1
        return -self._sources

    def add(self, entry: Entry) -> None:
        """Adds an operation to the log, and to the draws if it is one."""
        self.log.append(entry)
        if entry.draw is not None:
            self.draws.append(entry)


class InThread(TorchDispatchMode):
    """Records the operations of another thread."""

    def __init__(self, recorder: Recorder) -> None:
        """Takes the recording."""
        super().__init__()  # type: ignore[no-untyped-call]
        self.recorder = recorder

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Returns false, as `Recorder` does."""
        return False

    def __torch_dispatch__(
        self,
        func: OpOverload,
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Records the operation, or just runs it once the recording has ended."""
        if self.recorder.has_ended:
            return func(*args, **(kwargs or {}))
        return self.recorder.__torch_dispatch__(func, types, args, kwargs)


@dataclass
class _Operation:
    """An operation that ran on the meta device."""

    func: OpOverload
    name: str
    bound: dict[str, Any]  # its arguments by name, as the caller gave them
    args: Sequence[Any]  # its arguments on the meta device
    kwargs: dict[str, Any]
    result: Any
    changed: Sequence[torch.Tensor]
    stand_ins: _StandIns

    def log(self, recorder: Recorder) -> None:
        """Adds the operation to the log, and what is known of its results to their storages."""
        known = len(recorder.storages)
        found = leaves(map_leaves(self.stand_ins.original, self.result))
        aligned = [recorder.ref(x) if isinstance(x, torch.Tensor) else None for x in found]
        outs = [ref for ref in aligned if ref is not None]
        creates = frozenset(ref.storage for ref in outs if ref.storage >= known)
        writes = [recorder.ref(tensor) for tensor in self.changed]
        for ref in writes:
            recorder.storages[ref.storage].resized()  # as an argument `out` of another size is
        if not creates and not writes:
            return  # a view
        entry = self._entry(recorder, aligned, creates, writes)
        call = self._call(recorder, writes or [ref for ref in outs if ref.storage in creates])
        if self.name in _ops.RANDOM:
            entry.draw = call.draw = len(recorder.draws)
            entry.form = _ops.form_of_draw(call)
            if entry.form is not None:
                _check_form(entry.form, entry.target.dtype)
        values = _ops.interpret(call)
        recorder.add(entry)
        for ref, value in values:
            recorder.storages[ref.storage].write(ref, value)
        for ref in outs if writes else ():
            if ref.storage in creates:  # it changes an argument and returns a new tensor, too
                sources = frozenset().union(*(sources_of(value) for _, value in values))
                new = Computed(self.name, sources) if sources else Known()
                recorder.storages[ref.storage].write(ref, new)
        recorder.store_shared({ref.storage for ref in writes})

    def _unread(self) -> list[str]:
        return (
            written(self.func, self.bound) if self.name in _ops.OVERWRITING else outputs(self.func)
        )

    def _entry(
        self,
        recorder: Recorder,
        outs: list[Ref | None],
        creates: frozenset[int],
        writes: list[Ref],
    ) -> Entry:
        args = map_leaves(self.stand_ins.describe, self.args)
        kwargs = map_leaves(self.stand_ins.describe, self.kwargs)
        reads = frozenset(leaf.storage for leaf in leaves((args, kwargs)) if isinstance(leaf, Ref))
        first = next((ref for ref in outs if ref is not None), None)
        if "dtype" in self.bound and not reads and first is not None:
            kwargs["dtype"] = first.dtype  # it may have come from torch's default dtype
        names = self._unread()
        unread = [recorder.ref(t) for name in names for t in tensors_of(self.bound[name])]
        covered = {ref.storage for ref in unread if recorder.storages[ref.storage].covers(ref)}
        # Another argument may read the memory that is written, as in torch.exp(x, out=x).
        others = tensors_of([self.bound[name] for name in self.bound if name not in names])
        covered -= {recorder.ref(t).storage for t in others if recorder.is_recorded(t)}
        return Entry(
            self.func,
            args,
            kwargs,
            outs=outs,
            reads=reads,
            writes=writes,
            creates=creates,
            overwrites=creates | covered,
        )

    def _call(self, recorder: Recorder, targets: list[Ref]) -> _ops.Call:
        bound = {
            name: map_leaves(self.stand_ins.describe_original, argument)
            for name, argument in self.bound.items()
        }
        unread = set(self._unread())
        inputs = leaves([argument for name, argument in bound.items() if name not in unread])
        return _ops.Call(
            name=self.name,
            bound=bound,
            targets=targets,
            inputs=[leaf for leaf in inputs if isinstance(leaf, (Ref, torch.Tensor))],
            read=recorder.read,
            number=lambda ref: float(recorder.evaluate(ref)),
            new_source=recorder.new_source,
        )


class _StandIns:
    """Meta tensors in place of tensors with data that an operation takes with recorded ones."""

    def __init__(self, recorder: Recorder, changed: Sequence[torch.Tensor]) -> None:
        self.recorder = recorder
        self.changed = {id(tensor) for tensor in changed}
        # The id of a stand-in -> it, and what it stands for.
        self.of: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}
        self.data: dict[int, torch.Tensor] = {}  # the id of a tensor with data -> a copy

    def meta(self, leaf: Any) -> Any:
        """Returns a tensor of the same shape on the meta device."""
        if not isinstance(leaf, torch.Tensor) or _is_meta(leaf):
            return leaf
        if id(leaf) in self.changed:
            self.recorder.ref(leaf)  # Its values are recorded from here on.
        stand_in = _meta_like(leaf)
        self.of[id(stand_in)] = (stand_in, leaf)
        return stand_in

    def original(self, leaf: Any) -> Any:
        """Returns the tensor that a stand-in stands for."""
        return self.of[id(leaf)][1] if id(leaf) in self.of else leaf

    def describe(self, leaf: Any) -> Any:
        """Returns the view that an argument on the meta device is, or a copy of its data."""
        return self.describe_original(self.original(leaf))

    def describe_original(self, leaf: Any) -> Any:
        """Returns the view that an argument is, or a copy of its data."""
        if not isinstance(leaf, torch.Tensor):
            return leaf
        if self.recorder.is_recorded(leaf):
            return self.recorder.ref(leaf)
        if id(leaf) not in self.data:
            with plain_torch():
                self.data[id(leaf)] = leaf.detach().cpu().clone()
        return self.data[id(leaf)]

    def real(self, leaf: Any) -> Any:
        """Returns the values of an argument."""
        described = self.describe(leaf)
        return self.recorder.evaluate(described) if isinstance(described, Ref) else described


def _is_flagged(tensor: torch.Tensor) -> bool:
    return tensor.is_neg() or (tensor.dtype.is_complex and tensor.is_conj())


def _selects(name: str, args: Sequence[Any]) -> bool:
    """Returns true if the shape of the result depends on a mask or on counts."""
    if name == "index":
        return any(index.dtype in (torch.bool, torch.uint8) for index in tensors_of(args[1:]))
    return name == "repeat_interleave" and len(args) == 1


def _meta_like(leaf: Any) -> Any:
    if not isinstance(leaf, torch.Tensor):
        return leaf
    return torch.empty_strided(leaf.size(), leaf.stride(), dtype=leaf.dtype, device=_META)


def _check_draw(func: OpOverload, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
    """Raises torch's error for numbers that a random operation refuses, by a draw of one element.

    The meta device does not look at them all.
    """
    target, *rest = args
    if tensors_of((rest, kwargs)):
        return
    with plain_torch():
        element = torch.empty(1, dtype=target.dtype)
        try:
            func(element, *rest, **{**kwargs, "generator": torch.Generator()})
        except NotImplementedError:
            # torch draws no floats of 8 bits, but fanin does.
            if not (target.dtype.is_floating_point and target.dtype.itemsize == 1):
                raise


def _check_form(form: Form, dtype: torch.dtype) -> None:
    """Checks that fanin can draw a form, where the line of the model's code is known."""
    try:
        _draws.drawable(form, dtype)
    except ValueError as error:
        raise RecordError(f"{error}{place()}") from None


def _check_supported(tensor: torch.Tensor) -> None:
    what = unsupported(tensor)
    if what is not None:
        raise RecordError(f"record does not support tensors of {what}{place()}: use dense tensors")
