"""Writes the values of a whole tensor, or the part that this process holds, to a torch tensor."""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch.nn.parameter import is_lazy

import fanin
from fanin import _native
from fanin._arrays import overlap
from fanin._errors import ArgumentError
from fanin._program import Program
from fanin.torch import _device
from fanin.torch._geometry import Box, Part, as_dtensor, part_of


@dataclass(frozen=True)
class Means:
    """The means of making values. They do not change the values."""

    threads: int | None = None
    """The number of threads. All cores by default."""
    progress: Callable[[int, int], None] | None = None
    """Called with the bytes that are made since the last call, and the bytes of the tensor."""


class Source(Protocol):
    """The values of a tensor, of which any box can be had without the rest."""

    def write(self, out: torch.Tensor, box: Box, means: Means) -> None:
        """Writes a box of the tensor, converted to the dtype of `out`.

        Args:
            out: A contiguous tensor on the CPU, of the shape of the box.
            box: Ranges of indices of the whole tensor.
            means: Threads, and progress.
        """

    def programs(self, dtype: torch.dtype) -> list[Program] | None:
        """Returns the numbers of the tensor and its parts, or None if values are not drawn."""


@dataclass(frozen=True)
class Drawn:
    """The values of an initializer."""

    init: str
    shape: tuple[int, ...]
    name: str
    seed: int
    layout: str

    def write(self, out: torch.Tensor, box: Box, means: Means) -> None:
        """Fills `out` in place. See `Source.write`."""
        _native.fill_at(
            self.init,
            list(self.shape),
            out.data_ptr(),
            out.nbytes,
            name=self.name,
            seed=self.seed,
            dtype=str(out.dtype),
            layout=self.layout,
            slice=list(box),
            threads=means.threads,
            progress=means.progress,
        )

    def programs(self, dtype: torch.dtype) -> list[Program] | None:
        """Returns the numbers of the tensor. See `Source.programs`."""
        numbers = _native.program(
            self.init,
            list(self.shape),
            name=self.name,
            seed=self.seed,
            dtype=str(dtype),
            layout=self.layout,
        )
        return [Program.of(each) for each in numbers]


@dataclass(frozen=True)
class Planned:
    """The values of a tensor of a plan."""

    plan: fanin.Plan
    name: str

    def check(self, dtype: torch.dtype) -> None:
        """Checks that the tensor can be filled in a dtype.

        Raises:
            ValueError: If not.
        """
        dims = len(self.plan[self.name].shape)
        if dims == 0:
            self.programs(dtype)
        else:
            # A fill of no elements is checked like any other.
            self.plan._plan.fill_at(self.name, 0, 0, dtype=str(dtype), slice=[(0, 0)] * dims)

    def write(self, out: torch.Tensor, box: Box, means: Means) -> None:
        """Fills `out` in place. See `Source.write`."""
        self.plan._plan.fill_at(
            self.name,
            out.data_ptr(),
            out.nbytes,
            dtype=str(out.dtype),
            slice=list(box),
            threads=means.threads,
            progress=means.progress,
        )

    def programs(self, dtype: torch.dtype) -> list[Program] | None:
        """Returns the numbers of the tensor. See `Source.programs`."""
        if self.plan[self.name].is_kept:
            return None
        return [Program.of(each) for each in self.plan._plan.program(self.name, str(dtype))]


@dataclass(frozen=True)
class Known:
    """Values that are a tensor already."""

    value: torch.Tensor

    def write(self, out: torch.Tensor, box: Box, means: Means) -> None:
        """Copies the box. See `Source.write`."""
        out.copy_(self.value[_index(box)])
        if means.progress is not None:
            means.progress(out.nbytes, out.nbytes)

    def programs(self, dtype: torch.dtype) -> list[Program] | None:
        """Returns None: the values are not drawn."""
        return None


def checked_part(tensor: torch.Tensor, name: str) -> Part:
    """Returns the part of a tensor that this process holds, which can be written.

    Args:
        tensor: A plain tensor or a DTensor, on any device, of any strides.
        name: The tensor's name, for errors.

    Raises:
        TypeError: For a kind of tensor that has no memory of its elements, such as a sparse one.
        ValueError: For a tensor on the meta device, and as `part_of`.
    """
    check_writable(tensor, name)
    part = part_of(tensor, name)
    check_writable(part.memory, name)
    return part


def write(source: Source, tensor: torch.Tensor, part: Part, means: Means) -> Part:
    """Writes the values of a tensor, or those of its part that this process holds.

    Args:
        source: The values of the whole tensor.
        tensor: The tensor.
        part: Its part, from `checked_part`.
        means: Threads, and progress.

    Returns:
        The part with the way in which it was written.
    """
    with torch.no_grad():
        how = _write_part(source, part, means)
    if as_dtensor(tensor) is not None:
        _mark_modified(tensor)
    return replace(part, how=how)


def _write_part(source: Source, part: Part, means: Means) -> str:
    """Writes a part on any device. Returns how, for the report."""
    memory = part.memory
    writer = _device.writer_of(memory.device)
    programs = None if writer is None else source.programs(memory.dtype)
    if writer is not None and programs is not None:
        return _write_on_device(writer, programs, part, means)
    if _is_on_the_cpu(memory):
        for box, place in part.boxes():
            _write_box(source, memory[_index(place)], box, means)
        _mark_modified(memory)
        return "filled on the CPU"
    staged = torch.empty(memory.shape, dtype=memory.dtype, device="cpu")
    _write_part(source, Part(staged, part.ranges), means)
    memory.copy_(staged)
    return f"filled on the CPU, copied to {memory.device}"


def _write_on_device(
    writer: _device.Writer, programs: list[Program], part: Part, means: Means
) -> str:
    """Writes a part where its memory is. Returns how."""
    memory = part.memory
    used = set()
    for box, place in part.boxes():
        used |= writer.write(programs, memory[_index(place)], box)
    _device.finish(writer)
    _mark_modified(memory)
    if means.progress is not None and memory.nbytes > 0:
        means.progress(memory.nbytes, memory.nbytes)
    return " by ".join(filter(None, [f"filled on {memory.device}", " and ".join(sorted(used))]))


def _is_on_the_cpu(memory: torch.Tensor) -> bool:
    return memory.device.type == "cpu"


def _write_box(source: Source, out: torch.Tensor, box: Box, means: Means) -> None:
    """Writes a box on the CPU: in place where its elements follow each other in memory."""
    if out.is_contiguous() and not out.is_neg():
        source.write(out, box, means)
    else:
        staged = torch.empty(out.shape, dtype=out.dtype, device="cpu")
        source.write(staged, box, means)
        out.copy_(staged)


def _index(box: Box) -> tuple[slice, ...]:
    return tuple(slice(start, end) for start, end in box)


def _mark_modified(tensor: torch.Tensor) -> None:
    """Tells autograd that memory has changed: backward passes that need old values are errors."""
    # Tensors made in inference mode count no versions.
    if not tensor.is_inference():
        torch.autograd.graph.increment_version(tensor)


def check_writable(tensor: torch.Tensor, name: str) -> None:
    """Checks that a tensor has memory with one place for each element.

    Raises:
        TypeError: For what is not a tensor, and for quantized, sparse, nested and fake tensors and
            other subclasses whose elements are not in their own memory.
        ValueError: For a tensor on the meta device, one that is lazy or expanded, or whose memory
            has been freed.
    """
    where = f"tensor {name!r}"
    if not isinstance(tensor, torch.Tensor):
        raise TypeError(f"{where} is a {type(tensor).__name__}; expected a torch.Tensor")
    if is_lazy(tensor):
        raise ArgumentError(f"{where} is lazy, so it has no shape yet; run the model once first")
    if as_dtensor(tensor) is not None:
        return
    if has_own_dispatch(tensor):
        raise TypeError(
            f"{where} is a {type(tensor).__name__}, which may not store its elements as they are; "
            "use a plain tensor or a DTensor"
        )
    if tensor.is_quantized:
        raise TypeError(f"{where} is quantized ({tensor.dtype}); initialize before quantizing")
    if tensor.layout is not torch.strided or tensor.is_nested:
        kind = "nested" if tensor.is_nested else str(tensor.layout)
        raise TypeError(f"{where} is {kind}; only dense strided tensors can be filled")
    if tensor.is_meta:
        raise ArgumentError(
            f'{where} is on the meta device; call model.to_empty(device="cpu") first'
        )
    if overlap(tensor.stride(), tensor.shape, 1):
        raise ArgumentError(
            f"{where} has elements that share memory, as after expand; fill a clone of it"
        )
    try:
        nbytes = tensor.untyped_storage().nbytes()
    except NotImplementedError:
        raise TypeError(f"{where} has no memory of its own inside torch.func transforms") from None
    if tensor.numel() > 0 and nbytes == 0:
        raise ArgumentError(f"{where}: its memory has been freed; fill it while it is allocated")


def has_own_dispatch(tensor: torch.Tensor) -> bool:
    """Returns true for a subclass that computes operators itself, such as a FakeTensor."""
    plain = (torch.Tensor.__torch_dispatch__, torch._C._disabled_torch_dispatch_impl)
    return all(type(tensor).__torch_dispatch__ is not each for each in plain)


def check_seed(seed: object) -> int:
    """Returns a seed as an int.

    Raises:
        TypeError: For what is not a whole number.
        ValueError: For a number outside of 0 to 2^64 - 1.
    """
    if isinstance(seed, (bool, float)) or not hasattr(seed, "__index__"):
        raise TypeError(f"seed {seed!r} is not a whole number; use 0 to 2**64 - 1")
    number = operator.index(seed)
    if not 0 <= number < 2**64:
        raise ArgumentError(f"seed {number} is out of range; use 0 to 2**64 - 1")
    return number


def fill_(
    tensor: torch.Tensor,
    init: str,
    *,
    name: str,
    seed: int,
    layout: str = "out_in",
    threads: int | None = None,
) -> torch.Tensor:
    """Fills a tensor in place, as the functions of `torch.nn.init` do.

    The values depend on `init`, the whole tensor's shape, `name`, `seed` and `layout` alone: not on
    the device, the number of threads, or the ranks that share the tensor. Each dtype holds the
    float32 values, rounded. A DTensor gets the values of this rank's part, without messages.
    torch's generators are neither used nor changed.

    The values are made where the tensor is: by a Triton kernel on CUDA, ROCm and XPU devices, and
    by torch's own operations on others. They are the same bits, except that elements of orthogonal
    matrices are within 1e-5 |gain| of those of the CPU. A device that cannot do either gets a copy
    from the CPU. Neither CUDA graphs nor `torch.compile` can record the call.

    Args:
        tensor: A dense tensor of any device and strides, or a DTensor. `requires_grad` stays.
        init: An initializer, such as `"kaiming_normal"` or `"normal(std=0.02)"`.
        name: The name that selects the random stream, such as `"layers.0.weight"`.
        seed: From 0 to 2^64 - 1.
        layout: `"out_in"` for `torch.nn.Linear` and convolutions, or `"in_out"`. It decides which
            dimensions are the fans.
        threads: The number of threads. All cores by default.

    Returns:
        The same tensor.

    Raises:
        TypeError: For a quantized, sparse, nested, complex or fake tensor.
        ValueError: For a tensor on the meta device, an initializer that does not exist or cannot
            make this shape or dtype, a seed out of range, and a DTensor with a `Partial` placement.

    Example:
        >>> import torch
        >>> from fanin.torch import fill_
        >>> weight = torch.empty(64, 32)
        >>> _ = fill_(weight, "xavier_uniform", name="fc.weight", seed=1)
    """
    part = checked_part(tensor, name)
    seed = check_seed(seed)
    if tensor.is_complex():
        raise TypeError(f"tensor {name!r} is complex ({tensor.dtype}); fill its view_as_real")
    source = Drawn(init, tuple(tensor.shape), name, seed, layout)
    if part.memory.numel() == 0:
        # Without elements nothing is drawn, but a rank must report the errors of the other ranks.
        source.programs(part.memory.dtype)
    write(source, tensor, part, Means(threads))
    return tensor
