"""The account of a fill: how many tensors of each class, on which devices, in which time."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field

import torch

from fanin._warnings import levels_to_caller
from fanin.torch._geometry import Part
from fanin.torch._problems import RecordWarning


@dataclass
class Count:
    """Tensors, and their elements and bytes in this process."""

    tensors: int = 0
    elements: int = 0
    bytes: int = 0

    def add(self, memory: torch.Tensor) -> None:
        """Counts a tensor."""
        self.tensors += 1
        self.elements += memory.numel()
        self.bytes += memory.numel() * memory.element_size()


@dataclass
class Report:
    """The tensors that `init_` has written in this process.

    Elements and bytes of a sharded tensor are those of this rank's part. Tied tensors, which share
    memory, count once.
    """

    classes: dict[str, Count] = field(default_factory=dict)
    """The tensors of each class: `"rule"`, `"parts"`, `"kept"`, `"tied"`, `"same"`, `"derived"`,
    `"replay"` and `"uninit"`, as in `RecordedTensor.origin`."""
    devices: list[str] = field(default_factory=list)
    """The ways in which tensors were filled: `"filled on the CPU"`, `"filled on cuda:0 by Triton"`,
    `"filled on mps:0 by torch operations"` or `"filled on the CPU, copied to xla:0"`."""
    untouched: list[str] = field(default_factory=list)
    """The names of the tensors that keep their values, because `only` leaves them out or the recipe
    has `skip = true` for them."""
    warnings: list[str] = field(default_factory=list)
    """The warnings, which were also given by `warnings.warn`."""
    seconds: float = 0.0
    """The time from the call to the return."""

    @property
    def total(self) -> Count:
        """The sum over all classes."""
        counts = self.classes.values()
        return Count(
            sum(count.tensors for count in counts),
            sum(count.elements for count in counts),
            sum(count.bytes for count in counts),
        )

    def add(self, origin: str, part: Part) -> None:
        """Counts a tensor that was written."""
        self.classes.setdefault(origin, Count()).add(part.memory)
        if part.how not in self.devices:
            self.devices.append(part.how)

    def warn(self, message: str) -> None:
        """Adds a warning, and gives it to the caller of the public function."""
        self.warnings.append(message)
        warnings.warn(message, RecordWarning, stacklevel=levels_to_caller())

    def __str__(self) -> str:
        """Returns one line."""
        total = self.total
        classes = ", ".join(f"{name} {count.tensors}" for name, count in self.classes.items())
        parts = [
            f"{total.tensors} tensors ({classes})" if classes else "no tensors",
            f"{_with_unit(total.elements, '')} elements",
            f"{_with_unit(total.bytes, 'B')} in {self.seconds:.3g} s",
            *self.devices,
        ]
        if self.untouched:
            parts.append(f"{len(self.untouched)} untouched")
        if self.warnings:
            parts.append(f"{len(self.warnings)} warning{'s' * (len(self.warnings) > 1)}")
        return "; ".join(parts)


def _with_unit(number: int, unit: str) -> str:
    """Returns three digits with a decimal prefix: 8030261248 B is `8.03 GB`."""
    value = float(number)
    for prefix in ("", "k", "M", "G", "T"):
        if value < 999.5 or prefix == "T":
            break
        value /= 1000
    return f"{value:.3g} {prefix}{unit}".rstrip()
