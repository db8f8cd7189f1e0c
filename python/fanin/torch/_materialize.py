"""Gives the tensors of a recording memory and values, in place."""

from __future__ import annotations

import gc

import torch
from torch import nn

from fanin.torch._device import together
from fanin.torch._fill import Means, write
from fanin.torch._geometry import part_of
from fanin.torch._live import attribute_paths, has_storage, live_tensors
from fanin.torch._problems import RecordError
from fanin.torch._recorded import Recorded
from fanin.torch._report import Report
from fanin.torch._storage import Ref
from fanin.torch._swap import swap, view_of
from fanin.torch._values import Values


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
        """True if a live tensor has elements that no named tensor has."""
        covered = [ref for ref in self.named.values() if _is_dense(ref)]
        return any(
            not any(_contains(named, ref) for named in covered) for _, ref in self.live if ref.numel
        )


def _is_dense(ref: Ref) -> bool:
    start, end = ref.geometry.bounds
    return ref.geometry.is_injective and ref.numel == end - start


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
    cut = _give_memory(recorded, seed, memories, device, report)
    _warn_of_cut(recorded.model, cut, report)
    _check_model(recorded.model)


def materialize_attributes(recorded: Recorded, seed: int, device: torch.device) -> None:
    """Gives memory and values to tensors that are neither parameters nor buffers of the model.

    They are those that attributes of the model reach. Code that initializes a model can leave them.

    Raises:
        RecordError: If such a tensor is, or views, a parameter or buffer that the code had.
    """
    memories = {}
    for storage, memory in _memories(recorded, device, None).items():
        if memory.named and memory.path:
            raise RecordError(
                f"the code keeps {next(iter(memory.named))!r} in the attribute {memory.path!r}, "
                "but the model gets its own tensors back; keep a copy"
            )
        if memory.path:
            memories[storage] = memory
    _give_memory(recorded, seed, memories, device, Report())


def _give_memory(
    recorded: Recorded,
    seed: int,
    memories: dict[int, _Memory],
    device: torch.device,
    report: Report,
) -> list[torch.Tensor]:
    """Gives live tensors memory and values. Returns those that autograd computed from others."""
    values = Values.of_recording(recorded, seed)
    pairs = []
    # Tensors of inference mode could not be trained.
    with torch.inference_mode(False), together():
        for storage, memory in memories.items():
            real = _fill(recorded, values, storage, memory, device, report)
            for tensor, ref in memory.live:
                pairs.append((tensor, view_of(real, ref, memory.dtype_of(ref))))
        return swap(pairs)


def _memories(
    recorded: Recorded, device: torch.device, dtype: torch.dtype | None
) -> dict[int, _Memory]:
    """Returns the live tensors by storage."""
    _load_given(recorded, device, dtype)
    storages = recorded._storages
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
            if not memory.path:
                memory.path = path
                if memory.has_rest:
                    storages.name_draws(memory.live[0][1].storage, path)
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
    storages = recorded._storages
    return [
        memory.live[0][1]
        for storage, memory in memories.items()
        if memory.has_rest and not storages.has_names(storage)
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
    storages = recorded._storages
    # Several dtypes can view memory whose dtype stays.
    before = torch.uint8 if memory.dtype is None else memory.live[0][1].dtype
    count = storages.nbytes(storage) // before.itemsize
    make = torch.zeros if memory.has_rest or len(memory.named) != 1 else torch.empty
    flat = make(count, dtype=memory.dtype or torch.uint8, device=device)
    if memory.has_rest:
        flat.copy_(storages.value(storage, values.seed).view(before))
    real = flat.untyped_storage()
    for name, ref in memory.named.items():
        view = view_of(real, ref, memory.dtype_of(ref))
        part = part_of(view, name)
        # Elements that share memory have their values already.
        if ref.geometry.is_injective:
            part = write(values.source(name), view, part, Means())
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
