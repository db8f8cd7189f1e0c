"""Results of `fanin.verify`, `fanin.stats` and `fanin.diff`."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class StoredValue:
    """An element with its bits."""

    value: float | None
    """The number, or None if it is not finite or only the bits are shown."""
    bits: str
    """The bits, such as `0x3e800000`."""

    @classmethod
    def _of(cls, found: Mapping[str, Any], dtype: str) -> StoredValue:
        value = found["value"]
        if isinstance(value, float) and dtype != "f64":
            # The native module writes the fewest digits that give the same float32.
            [value] = struct.unpack("f", struct.pack("f", value))
        return cls(value, found["bits"])


@dataclass(frozen=True)
class Difference:
    """An element of a file that differs from the expected one."""

    file: Path
    """The file that holds the element."""
    index: tuple[int, ...]
    """The element's index, a number for each dimension."""
    flat: int
    """The element's index in the tensor's row-major order."""
    stored: StoredValue
    """The element in the file."""
    expected: StoredValue
    """The element that the recipe and the seed give."""

    @classmethod
    def _of(cls, found: Mapping[str, Any], dtype: str) -> Difference:
        return cls(
            Path(found["file"]),
            tuple(found["index"]),
            found["flat"],
            StoredValue._of(found["stored"], dtype),
            StoredValue._of(found["expected"], dtype),
        )


@dataclass(frozen=True)
class VerifiedTensor:
    """One tensor of a `Verification`."""

    name: str
    """The tensor's name."""
    shape: tuple[int, ...]
    """Its shape in the file, or that of the whole tensor in a folder of files of ranks."""
    dtype: str
    """Its dtype in the file."""
    elements: int
    """The number of elements that were compared."""
    differing: int
    """The number of elements that differ in any bit, or by more than `tolerance`."""
    close: int
    """The number of elements of an orthogonal matrix that differ by no more than `tolerance`."""
    tolerance: float | None
    """The largest accepted difference in an orthogonal matrix, or None for other tensors."""
    first: Difference | None
    """The first element that differs."""

    @classmethod
    def _of(cls, found: Mapping[str, Any]) -> VerifiedTensor:
        first = found["first"] and Difference._of(found["first"], found["dtype"])
        return cls(**{**found, "shape": tuple(found["shape"]), "first": first})


@dataclass(frozen=True)
class Verification:
    """The result of `fanin.verify`."""

    recipe: str
    """The name of the recipe."""
    seed: int
    """The seed."""
    same: bool
    """True if no element differs. Tensors that the file lacks do not count."""
    hints: list[str]
    """Differences between the metadata of the file and the arguments."""
    tensors: list[VerifiedTensor]
    """The tensors that were compared, in the order of the file."""
    missing: list[str]
    """The tensors of the recipe that the file lacks."""
    passed_over: list[str]
    """The tensors that were not compared: skipped ones, and those kept from an unknown file."""
    bytes: int
    """The number of bytes that were compared."""

    @classmethod
    def _of(cls, found: Mapping[str, Any]) -> Verification:
        tensors = [VerifiedTensor._of(tensor) for tensor in found["tensors"]]
        return cls(**{**found, "tensors": tensors})

    @property
    def differing(self) -> list[VerifiedTensor]:
        """The tensors with an element that differs."""
        return [tensor for tensor in self.tensors if tensor.differing > 0]

    def to_dict(self) -> dict[str, Any]:
        """Returns the result as dicts and lists, for JSON."""
        found = asdict(self)
        for tensor in found["tensors"]:
            if tensor["first"]:
                tensor["first"]["file"] = str(tensor["first"]["file"])
        return found

    def __repr__(self) -> str:
        """Returns the verdict."""
        verdict = "same" if self.same else f"{len(self.differing)} differ"
        lacks = f", {len(self.missing)} missing" if self.missing else ""
        passed_over = f", {len(self.passed_over)} passed over" if self.passed_over else ""
        tensors = f"{len(self.tensors)} tensors{lacks}{passed_over}"
        return f"<fanin.Verification of {tensors} by {self.recipe!r}, seed {self.seed}: {verdict}>"


@dataclass(frozen=True)
class Bounds:
    """The expected value of a statistic, and bounds that chance does not exceed.

    A number that is not finite is None.
    """

    expected: float | None
    """The expected value."""
    low: float | None
    """The lower bound."""
    high: float | None
    """The upper bound."""


@dataclass(frozen=True)
class Expected:
    """The expected statistics of a tensor."""

    distribution: str
    """The distribution of the elements."""
    mean: Bounds
    """The mean."""
    std: Bounds
    """The standard deviation."""
    min: Bounds
    """The smallest element. The median of its distribution is expected."""
    max: Bounds
    """The largest element. The median of its distribution is expected."""
    kurtosis: Bounds
    """The kurtosis."""
    zeros: Bounds
    """The number of zeros."""

    @classmethod
    def _of(cls, found: Mapping[str, Any]) -> Expected:
        bounds = {key: Bounds(**one) for key, one in found.items() if key != "distribution"}
        return cls(distribution=found["distribution"], **bounds)


@dataclass(frozen=True)
class Flag:
    """A property of a tensor that cannot be chance."""

    statistic: str
    """The statistic: `mean`, `std`, `min`, `max`, `kurtosis`, `zeros` or `values`."""
    text: str
    """A short description."""


@dataclass(frozen=True)
class TensorStats:
    """The statistics of one tensor, by `fanin.stats`.

    The numbers are None for whole numbers and for floats that fanin does not fill, and if they are
    not finite.
    """

    name: str
    """The tensor's name. That of a .npy file is the file's name without its ending."""
    shape: tuple[int, ...]
    """Its shape."""
    dtype: str
    """Its dtype in the file."""
    n: int
    """The number of elements."""
    mean: float | None
    """The mean."""
    std: float | None
    """The standard deviation, divided by n, as in `numpy.std`."""
    min: float | None
    """The smallest element."""
    max: float | None
    """The largest element."""
    kurtosis: float | None
    """The kurtosis: 3 for a normal distribution, 1.8 for a uniform one."""
    zeros: int | None
    """The number of elements that are 0."""
    expected: Expected | None
    """The statistics that the recipe gives, or None without a recipe."""
    flags: tuple[Flag, ...]
    """The differences that are too large for chance."""
    parts: tuple[TensorStats, ...]
    """The parts that have initializers of their own, and the rest."""

    @classmethod
    def _of(cls, found: Mapping[str, Any]) -> TensorStats:
        expected = found.get("expected")
        nested = {
            "shape": tuple(found["shape"]),
            "expected": expected and Expected._of(expected),
            "flags": tuple(Flag(**flag) for flag in found["flags"]),
            "parts": tuple(cls._of(part) for part in found.get("parts", ())),
        }
        return cls(**{**found, **nested})

    def to_dict(self) -> dict[str, Any]:
        """Returns the statistics as dicts and lists, for JSON."""
        return asdict(self)


@dataclass(frozen=True)
class Change:
    """The change of a vector, in binary64. A number that is not finite is None."""

    elements: int
    """The number of elements."""
    untouched: int
    """The number of elements whose value has the same bits."""
    untouched_share: float | None
    """`untouched / elements`, from 0 to 1."""
    start_norm: float | None
    """The L2 norm of the start."""
    trained_norm: float | None
    """The L2 norm of the trained weights."""
    change_norm: float | None
    """The L2 norm of the change, trained minus start."""
    relative: float | None
    """`change_norm / start_norm`, or None if the start is all zeros."""
    cosine: float | None
    """The cosine of the angle between start and trained weights, or None for zeros."""
    max_change: float | None
    """The largest absolute change of an element."""


@dataclass(frozen=True)
class TensorDiff(Change):
    """One tensor of a `Diff`."""

    name: str
    """The tensor's name."""
    shape: tuple[int, ...]
    """Its shape."""
    start_dtype: str
    """Its dtype at the start."""
    dtype: str
    """Its dtype after training."""

    @classmethod
    def _of(cls, found: Mapping[str, Any]) -> TensorDiff:
        return cls(**{**found, "shape": tuple(found["shape"])})


@dataclass(frozen=True)
class Diff:
    """The result of `fanin.diff`."""

    tensors: list[TensorDiff]
    """The tensors that are in both, in the order of the trained weights."""
    total: Change
    """All these tensors as one vector."""
    only_in_start: list[str]
    """The tensors that the trained weights lack."""
    only_in_trained: list[str]
    """The tensors that the start lacks."""
    not_compared: list[str]
    """The tensors that are in both, but are not floats, or are kept or skipped."""

    @classmethod
    def _of(cls, found: Mapping[str, Any]) -> Diff:
        tensors = [TensorDiff._of(tensor) for tensor in found["tensors"]]
        return cls(**{**found, "tensors": tensors, "total": Change(**found["total"])})

    def to_dict(self) -> dict[str, Any]:
        """Returns the result as dicts and lists, for JSON."""
        return asdict(self)

    def __repr__(self) -> str:
        """Returns the number of tensors, and the relative change of all of them."""
        relative = "-" if self.total.relative is None else f"{self.total.relative:.6g}"
        return f"<fanin.Diff of {len(self.tensors)} tensors: relative change {relative}>"
