"""`build`: makes a model whose tensors have fanin's values, without torch's own initialization."""

from __future__ import annotations

import gc
import logging
import time
from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import nn

from fanin._errors import ArgumentError
from fanin.torch._fill import Means, check_seed, write
from fanin.torch._live import attribute_paths, has_storage, live_tensors
from fanin.torch._problems import RecordError
from fanin.torch._recorded import Recorded, recorded_from
from fanin.torch._report import Report
from fanin.torch._storage import Ref
from fanin.torch._swap import swap, view_of
from fanin.torch._values import Values

_log = logging.getLogger("fanin")
M = TypeVar("M", bound=nn.Module)


def build(
    make: Callable[..., M],
    *args: Any,
    seed: int,
    device: torch.device | str | int = "cpu",
    dtype: torch.dtype | None = None,
    **kwargs: Any,
) -> M:
    """Returns the model that a function makes, with fanin's values in place of torch's random ones.

    The function runs once, as `record` runs it: without memory for its tensors. Then each tensor
    gets memory on `device`, and its values. All references to a tensor follow: ties, lists,
    closures and plain attributes. The bits depend on the seed alone. They are those that `init_`
    gives the shards of the model, and those that `fanin init` writes for its saved recipe.

    Args:
        make: A class or a function that returns a `torch.nn.Module`.
        *args: Its arguments.
        seed: From 0 to 2^64 - 1. Another seed gives other weights.
        device: Where the tensors are, plain attributes included. The CPU makes the values, and one
            copy moves each tensor.
        dtype: The dtype of the floating-point parameters and buffers, as in `model.to(dtype)`: they
            hold the float32 values, rounded. None keeps the dtypes that the function chooses.
        **kwargs: The function's keyword arguments.

    Returns:
        The model, ready to train. torch's random number generators are as they were.

    Raises:
        TypeError: If `make` does not make a module, and for quantized and sparse tensors.
        ValueError: For a seed out of range, or a device without memory.
        RecordError: For lazy parameters, and for random numbers in tensors that no attribute of the
            model reaches.

    Warns:
        RecordWarning: As `record`, for example for tensors that the model does not initialize.

    Example:
        >>> from fanin.torch import build
        >>> model = build(torch.nn.Linear, 784, 512, seed=42)
    """
    started = time.perf_counter()
    seed, device = check_seed(seed), checked_device(device)
    check_dtype(dtype)
    recorded = recorded_from(make, args, kwargs)
    report = Report()
    for message in recorded.warnings:
        report.warn(message)
    materialize(recorded, seed, device, dtype, report)
    log_built(recorded.model, report, started)
    return recorded.model  # type: ignore[return-value]


def log_built(model: nn.Module, report: Report, started: float) -> None:
    """Logs what was made since a time of `time.perf_counter`."""
    report.seconds = time.perf_counter() - started
    _log.info("built %s: %s", type(model).__name__, report)


def checked_device(device: torch.device | str | int) -> torch.device:
    """Returns a device that has memory.

    Raises:
        ValueError: For the meta device.
        RuntimeError: For a device that torch does not have here.
    """
    found = torch.empty(0, device=device).device
    if found.type == "meta":
        raise ArgumentError(
            "device 'meta' has no memory for values; use record for a model without values"
        )
    return found


def check_dtype(dtype: object) -> None:
    """Checks that floating-point tensors can have a dtype.

    Raises:
        TypeError: If not.
    """
    if dtype is None or (isinstance(dtype, torch.dtype) and dtype.is_floating_point):
        return
    raise TypeError(
        f"dtype {dtype!r} is not a floating-point dtype; use one such as torch.bfloat16"
    )


class _Memory:
    """The memory that takes the place of a storage of a recording."""

    def __init__(self) -> None:
        self.live: list[tuple[torch.Tensor, Ref]] = []
        self.named: dict[str, Ref] = {}
        self.dtype: torch.dtype | None = None  # of the floating-point tensors, if it changes
        self.path = ""

    def dtype_of(self, ref: Ref) -> torch.dtype:
        return self.dtype or ref.dtype

    @property
    def has_rest(self) -> bool:
        """Whether a live tensor has elements that no named tensor has."""
        covered = [ref for ref in self.named.values() if _is_dense(ref)]
        return any(
            not any(_contains(named, ref) for named in covered) for _, ref in self.live if ref.numel
        )


def _is_dense(ref: Ref) -> bool:
    start, end = ref.geometry.bounds
    return ref.numel == end - start


def _contains(outer: Ref, inner: Ref) -> bool:
    (start, end), size = outer.geometry.bounds, outer.dtype.itemsize
    (low, high), inner_size = inner.geometry.bounds, inner.dtype.itemsize
    return start * size <= low * inner_size and high * inner_size <= end * size


def materialize(
    recorded: Recorded,
    seed: int,
    device: torch.device,
    dtype: torch.dtype | None,
    report: Report,
) -> None:
    """Gives the tensors of a recording memory and values. The objects stay the same.

    Args:
        recorded: The recording, whose model has its tensors on the meta device.
        seed: The seed.
        device: Where the memory is.
        dtype: The dtype of the floating-point parameters and buffers. None keeps theirs.
        report: Gets the counts and warnings.

    Raises:
        RecordError: If a tensor that no attribute of the model reaches holds random numbers, or if
            `dtype` cannot be given to a tensor whose memory has tensors of several dtypes.
    """
    memories = _memories(recorded, device, dtype)
    if _without_path(recorded, memories):
        # Garbage in cycles needs no values.
        del memories
        gc.collect()
        memories = _memories(recorded, device, dtype)
        for ref in _without_path(recorded, memories):
            raise RecordError(
                f"a tensor of shape {ref.size}, which no attribute of the model reaches, holds "
                "random numbers, but has no name for their stream; make it an attribute"
            )
    values = Values.of_recording(recorded, seed)
    pairs = []
    with torch.inference_mode(False):  # whose tensors could not be trained
        for storage, memory in memories.items():
            real = _fill(recorded, values, storage, memory, device, report)
            for tensor, ref in memory.live:
                pairs.append((tensor, view_of(real, ref, memory.dtype_of(ref))))
        cut = swap(pairs)
    _warn_of_cut(recorded.model, cut, report)
    _check_model(recorded.model)


def _memories(
    recorded: Recorded, device: torch.device, dtype: torch.dtype | None
) -> dict[int, _Memory]:
    """Returns the live tensors by storage."""
    _load_given(recorded, device, dtype)
    storages = recorded._storages()
    memories: dict[int, _Memory] = {}
    for tensor, ref in live_tensors(recorded):
        memories.setdefault(ref.storage, _Memory()).live.append((tensor, ref))
    for name, named in recorded._named.items():
        found = storages.ref(named.tensor)
        if found is None:
            continue
        memory = memories[found.storage]
        if named.origin != "tied":
            memory.named[name] = found
        if _changes(named.tensor, dtype):
            memory.dtype = dtype
            if any(ref.dtype != found.dtype for _, ref in memory.live):
                raise RecordError(
                    f"tensor {name!r} cannot become {dtype}: other dtypes view its memory"
                )
    by_tensor = {id(tensor): memory for memory in memories.values() for tensor, _ in memory.live}
    for path, tensor in attribute_paths(recorded.model):
        if id(tensor) in by_tensor:
            memory = by_tensor[id(tensor)]
            memory.path = memory.path or path
    return memories


def _load_given(recorded: Recorded, device: torch.device, dtype: torch.dtype | None) -> None:
    """Gives the recording a copy of data that the model was given, if it moves or gets a dtype."""
    named = [tensor.tensor for tensor in recorded._named.values() if tensor.ref is None]
    given = [tensor for tensor in named if _changes(tensor, dtype)]
    if device.type != "cpu":
        given += named + [tensor for _, tensor in attribute_paths(recorded.model)]
    for tensor in given:
        if has_storage(tensor) and tensor.device.type == "cpu":
            recorded._recorder.ref(tensor)


def _changes(tensor: torch.Tensor, dtype: torch.dtype | None) -> bool:
    return dtype is not None and tensor.dtype.is_floating_point and tensor.dtype != dtype


def _without_path(recorded: Recorded, memories: dict[int, _Memory]) -> list[Ref]:
    """Returns a tensor of each memory with random numbers whose stream would have no name."""
    storages = recorded._storages()
    return [
        memory.live[0][1]
        for storage, memory in memories.items()
        if not memory.path
        and memory.has_rest
        and any(name.startswith("//") for name in storages.streams(storage, "").values())
    ]


def _fill(
    recorded: Recorded,
    values: Values,
    storage: int,
    memory: _Memory,
    device: torch.device,
    report: Report,
) -> torch.UntypedStorage:
    """Returns memory that holds the values of a storage."""
    storages = recorded._storages()
    # Several dtypes can view memory whose dtype stays.
    before = torch.uint8 if memory.dtype is None else memory.live[0][1].dtype
    count = storages.nbytes(storage) // before.itemsize
    make = torch.zeros if memory.has_rest or len(memory.named) != 1 else torch.empty
    flat = make(count, dtype=memory.dtype or torch.uint8, device=device)
    if memory.has_rest:
        flat.copy_(storages.value(storage, values.seed, memory.path).view(before))
    real = flat.untyped_storage()
    for name, ref in memory.named.items():
        part = write(values.source(name), view_of(real, ref, memory.dtype_of(ref)), name, Means())
        report.add(values.origin(name), part)
    return real


def _warn_of_cut(model: nn.Module, cut: list[torch.Tensor], report: Report) -> None:
    """Warns of tensors that the constructor computed from parameters with gradients."""
    ids = {id(tensor) for tensor in cut}
    names = [path for path, tensor in attribute_paths(model) if id(tensor) in ids]
    if names:
        report.warn(
            f"the constructor computed {', '.join(names[:10])} from parameters, with gradients: no "
            "gradient reaches the parameters through these values"
        )


def _check_model(model: nn.Module) -> None:
    """Checks that no tensor of a model is without memory, such as one that only C++ code holds."""
    for name, tensor in (*model.named_parameters(), *model.named_buffers()):
        if tensor.is_meta:
            raise RecordError(
                f"tensor {name!r} could not be given memory; it is still on the meta device"
            )
