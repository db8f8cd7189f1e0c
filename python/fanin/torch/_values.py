"""The values of a model's tensors: those of a plan, and the numbers that only a recording has."""

from __future__ import annotations

from dataclasses import dataclass

import torch

import fanin
from fanin.torch._fill import Known, Planned, Source
from fanin.torch._recorded import Recorded


@dataclass(frozen=True)
class Values:
    """The values of the tensors of a model."""

    plan: fanin.Plan
    recorded: Recorded | None
    seed: int

    @classmethod
    def of_recording(cls, recorded: Recorded, seed: int) -> Values:
        """Returns the values that a recording gives."""
        return cls(recorded._plan(seed), recorded, seed)

    def __contains__(self, name: str) -> bool:
        """Returns true for a tensor that has values here."""
        return name in self.plan or (self.recorded is not None and name in self.recorded.tensors)

    def source(self, name: str) -> Source:
        """Returns the values of a tensor. Those that no rule gives are computed now, as a whole."""
        if name in self.plan:
            return Planned(self.plan, name)
        assert self.recorded is not None
        return Known(self.recorded._value(name, self.seed))

    def check(self, name: str, dtype: torch.dtype) -> None:
        """Checks that the values of a tensor that come from a plan can be made in a dtype.

        Raises:
            ValueError: If not.
        """
        if name in self.plan:
            Planned(self.plan, name).check(dtype)

    def origin(self, name: str) -> str:
        """Returns the class of a tensor, as `RecordedTensor.origin`."""
        if self.recorded is not None:
            return self.recorded.tensors[name].origin
        entry = self.plan[name]
        if entry.tied_to is not None:
            return "tied"
        if entry.same_as is not None:
            return "same"
        if entry.is_kept:
            return "kept"
        return "parts" if entry.parts else "rule"

    def shape(self, name: str) -> tuple[int, ...]:
        """Returns the shape of a whole tensor."""
        if self.recorded is not None:
            return self.recorded.tensors[name].shape
        return self.plan[name].shape

    def dtype(self, name: str) -> str:
        """Returns the dtype that a tensor is recorded or planned with."""
        if self.recorded is not None:
            return str(self.recorded.tensors[name].dtype)
        return self.plan[name].dtype

    def is_complex(self, name: str) -> bool:
        """Returns true for complex numbers, which only a recording can have."""
        return self.recorded is not None and self.recorded.tensors[name].dtype.is_complex

    def owner(self, name: str) -> str:
        """Returns the name of the tensor that a name is tied to, or the name itself."""
        if self.recorded is not None:
            tensor = self.recorded.tensors[name]
            of = tensor.of if tensor.origin == "tied" else None
        else:
            of = self.plan[name].tied_to
        return name if of is None else of
