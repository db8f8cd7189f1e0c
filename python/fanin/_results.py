"""Results of `fanin.verify`, `fanin.stats` and `fanin.diff`."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class StoredValue:
    """An element with its bits.

    Attributes:
        value: The number, or None if it is not finite or only the bits are shown.
        bits: The bits, such as `0x3e800000`.
    """

    value: float | None
    bits: str

    @classmethod
    def _of(cls, found: Mapping[str, Any], dtype: str) -> StoredValue:
        value = found["value"]
        if isinstance(value, float) and dtype != "f64":
            # The native module writes the fewest digits that give the same float32.
            [value] = struct.unpack("f", struct.pack("f", value))
        return cls(value, found["bits"])


@dataclass(frozen=True)
class Difference:
    """An element of a file that differs from the expected one.

    Attributes:
        file: The file that holds the element.
        index: The element's index, a number for each dimension.
        flat: The element's index in the tensor's row-major order.
        stored: The element in the file.
        expected: The element that the recipe and the seed give.
    """

    file: Path
    index: tuple[int, ...]
    flat: int
    stored: StoredValue
    expected: StoredValue

    @classmethod
    def _of(cls, found: Mapping[str, Any], dtype: str, file: Path) -> Difference:
        return cls(
            file,
            tuple(found["index"]),
            found["flat"],
            StoredValue._of(found["stored"], dtype),
            StoredValue._of(found["expected"], dtype),
        )


@dataclass(frozen=True)
class VerifiedTensor:
    """One tensor of a `Verification`.

    Attributes:
        name: The tensor's name.
        shape: Its shape in the file, or that of the whole tensor in a folder of files of ranks.
        dtype: Its dtype in the file.
        elements: The number of elements that were compared.
        differing: The number of elements that differ in any bit, or by more than `tolerance`.
        close: The number of elements of an orthogonal matrix that differ by no more than
            `tolerance`.
        tolerance: The largest accepted difference in an orthogonal matrix, or None for other
            tensors.
        first: The first element that differs.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    elements: int
    differing: int
    close: int
    tolerance: float | None
    first: Difference | None

    @classmethod
    def _of(cls, found: Mapping[str, Any], file: Path | None) -> VerifiedTensor:
        first = file and Difference._of(found["first"], found["dtype"], file)
        return cls(**{**found, "shape": tuple(found["shape"]), "first": first})


@dataclass(frozen=True)
class Verification:
    """The result of `fanin.verify`.

    Attributes:
        recipe: The name of the recipe.
        seed: The seed.
        same: True if no element differs and `header` is empty. Tensors that the file lacks do not
            count.
        hints: Differences between the metadata of the file and the arguments.
        header: Damage of a header or an index that fanin wrote, such as a flipped bit.
        tensors: The tensors that were compared, in the order of the file.
        missing: The tensors of the recipe that the file lacks.
        passed_over: The tensors that were not compared: skipped ones, and those kept from an
            unknown file.
        bytes: The number of bytes that were compared.
    """

    recipe: str
    seed: int
    same: bool
    hints: list[str]
    header: list[str]
    tensors: list[VerifiedTensor]
    missing: list[str]
    passed_over: list[str]
    bytes: int

    @classmethod
    def _of(cls, found: Mapping[str, Any], files: Iterable[Path | None]) -> Verification:
        tensors = map(VerifiedTensor._of, found["tensors"], files)
        return cls(**{**found, "tensors": list(tensors)})

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

    Attributes:
        expected: The expected value.
        low: The lower bound.
        high: The upper bound.
    """

    expected: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Expected:
    """The expected statistics of a tensor.

    Attributes:
        distribution: The distribution of the elements.
        mean: The mean.
        std: The standard deviation.
        min: The smallest element. The median of its distribution is expected.
        max: The largest element. The median of its distribution is expected.
        kurtosis: The kurtosis.
        zeros: The number of zeros.
    """

    distribution: str
    mean: Bounds
    std: Bounds
    min: Bounds
    max: Bounds
    kurtosis: Bounds
    zeros: Bounds

    @classmethod
    def _of(cls, found: Mapping[str, Any]) -> Expected:
        bounds = {key: Bounds(**one) for key, one in found.items() if key != "distribution"}
        return cls(distribution=found["distribution"], **bounds)


@dataclass(frozen=True)
class Flag:
    """A property of a tensor that cannot be chance.

    Attributes:
        statistic: The statistic: `mean`, `std`, `min`, `max`, `kurtosis`, `zeros` or `values`.
        text: A short description.
    """

    statistic: str
    text: str


@dataclass(frozen=True)
class TensorStats:
    """The statistics of one tensor, by `fanin.stats`.

    The numbers are None for whole numbers and for floats that fanin does not fill, and if they are
    not finite.

    Attributes:
        name: The tensor's name. That of a .npy file is the file's name without its ending.
        shape: Its shape.
        dtype: Its dtype in the file.
        n: The number of elements.
        mean: The mean.
        std: The standard deviation, divided by n, as in `numpy.std`.
        min: The smallest element.
        max: The largest element.
        kurtosis: The kurtosis: 3 for a normal distribution, 1.8 for a uniform one.
        zeros: The number of elements that are 0.
        expected: The statistics that the recipe gives, or None without a recipe.
        flags: The differences that are too large for chance.
        parts: The parts that have initializers of their own, and the rest.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    n: int
    mean: float | None
    std: float | None
    min: float | None
    max: float | None
    kurtosis: float | None
    zeros: int | None
    expected: Expected | None
    flags: tuple[Flag, ...]
    parts: tuple[TensorStats, ...]

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
    """The change of a vector, in binary64. A number that is not finite is None.

    Attributes:
        elements: The number of elements.
        untouched: The number of elements whose value has the same bits.
        untouched_share: `untouched / elements`, from 0 to 1.
        start_norm: The L2 norm of the start.
        trained_norm: The L2 norm of the trained weights.
        change_norm: The L2 norm of the change, trained minus start.
        relative: `change_norm / start_norm`, or None if the start is all zeros.
        cosine: The cosine of the angle between start and trained weights, or None for zeros.
        max_change: The largest absolute change of an element.
    """

    elements: int
    untouched: int
    untouched_share: float | None
    start_norm: float | None
    trained_norm: float | None
    change_norm: float | None
    relative: float | None
    cosine: float | None
    max_change: float | None


@dataclass(frozen=True)
class TensorDiff(Change):
    """One tensor of a `Diff`.

    Attributes:
        name: The tensor's name.
        shape: Its shape.
        start_dtype: Its dtype at the start.
        dtype: Its dtype after training.
    """

    name: str
    shape: tuple[int, ...]
    start_dtype: str
    dtype: str

    @classmethod
    def _of(cls, found: Mapping[str, Any]) -> TensorDiff:
        return cls(**{**found, "shape": tuple(found["shape"])})


@dataclass(frozen=True)
class Diff:
    """The result of `fanin.diff`.

    Attributes:
        tensors: The tensors that are in both, in the order of the trained weights.
        total: All these tensors as one vector.
        only_in_start: The tensors that the trained weights lack.
        only_in_trained: The tensors that the start lacks.
        not_compared: The tensors that are in both, but are not floats, or are kept or skipped.
    """

    tensors: list[TensorDiff]
    total: Change
    only_in_start: list[str]
    only_in_trained: list[str]
    not_compared: list[str]

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
