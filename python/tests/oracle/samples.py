"""Statistical tests of a model's tensors against the distributions that a recording gives."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy import stats
from torch import Tensor

from . import laws, real

#: Elements of a tensor that are tested, at most: sorting more is slow.
MOST = 1 << 16
#: The central limit theorem needs this many elements for a variance (z of 5 within a factor of 2 of
#: its probability, by simulation), and for a fourth moment.
FOR_VARIANCE, FOR_FOURTH = 10_000, 50_000
#: Truncation by the quantile function, as in timm, gives the lower bound for one of 2^24 uniform
#: numbers (pytorch#155588). For bounds far out, where the recorded distribution is the untruncated
#: normal, that is an outlier of many standard deviations, which fanin does not have. A normal
#: number passes 8 of them once in 10^15.
FAR = 8


@dataclass(frozen=True)
class Result:
    """A test of some elements: the probability that values of the distribution look so odd."""

    what: str
    p: float


def results(recorded: Any, tensors: dict[str, real.Listed]) -> Iterator[Result]:
    """Tests all random tensors that have a distribution, each by itself, and all together."""
    uniform = []
    for name, init, values in _random(recorded, tensors):
        law = laws.law(init)
        if law is None:
            continue
        numbers = values.detach().double().numpy().reshape(-1)
        if laws.parse(init)[0] == "normal":
            far = np.abs(numbers - law.moments[0]) > FAR * math.sqrt(law.moments[1])
            yield Result(
                f"{name}: {init}: {int(far.sum())} outliers",
                float(stats.binom.sf(far.sum() - 1, far.size, 2**-23)),
            )
            numbers = numbers[~far]
        if len(numbers) > MOST:
            numbers = np.random.default_rng(0).choice(numbers, MOST, replace=False)
        outside = (numbers < law.low) | (numbers > law.high)
        yield Result(
            f"{name}: {init}: {int(outside.sum())} out of bounds", 0.0 if outside.any() else 1.0
        )
        u = law.cdf(numbers)
        uniform.append(u)
        yield from _uniform(f"{name}: {init}", u)
        yield from _moments(f"{name}: {init}", numbers, law)
    if uniform:
        yield from _uniform("all tensors", np.concatenate(uniform))


def _random(recorded: Any, tensors: dict[str, real.Listed]) -> Iterator[tuple[str, str, Tensor]]:
    """Lists random elements: a tensor's name, an initializer and the elements that have it."""
    for name, entry in recorded.tensors.items():
        tensor = tensors[name].tensor
        if entry.origin not in ("rule", "parts") or not tensor.numel() or tensor.element_size() < 4:
            continue  # 16 bits round too much for a test of a continuous distribution.
        if not entry.parts:
            if not laws.known(entry.init):
                yield name, entry.init, tensor
            continue
        numbers = torch.full(tuple(entry.shape), -1)
        for i, part in reversed(list(enumerate(entry.parts))):
            numbers[tuple(slice(start, end) for start, end in part.slice)] = i
        of_init: dict[str, list[int]] = {entry.init: [-1]} if entry.init else {}
        for i, part in enumerate(entry.parts):
            of_init.setdefault(part.init, []).append(i)
        for init, parts in of_init.items():
            values = tensor.detach()[torch.isin(numbers, torch.tensor(parts))]
            if values.numel() and not laws.known(init):
                yield name, init, values


def _uniform(what: str, u: np.ndarray) -> Iterator[Result]:
    """Tests numbers that are uniform in [0, 1] if the distribution is right."""
    yield Result(
        f"{what}: Kolmogorov-Smirnov, {len(u)} elements",
        float(stats.ks_1samp(u, stats.uniform.cdf).pvalue),
    )
    # The variance of a mean of n uniform numbers is 1 / 12 n, of a mean of squares of centered ones
    # 1 / 180 n.
    yield _normal(f"{what}: mean of ranks", (u.mean() - 0.5) * math.sqrt(12 * len(u)))
    yield _normal(
        f"{what}: spread of ranks", (((u - 0.5) ** 2).mean() - 1 / 12) * math.sqrt(180 * len(u))
    )


def _moments(what: str, x: np.ndarray, law: laws.Law) -> Iterator[Result]:
    """Tests the mean, the variance and the fourth moment of values."""
    if law.moments is None or len(x) < FOR_VARIANCE:
        return
    mean, second, fourth, eighth = law.moments
    squares = (x - mean) ** 2
    yield _normal(f"{what}: mean", (x.mean() - mean) / math.sqrt(second / len(x)))
    yield _normal(
        f"{what}: variance", (squares.mean() - second) / math.sqrt((fourth - second**2) / len(x))
    )
    if len(x) >= FOR_FOURTH:
        yield _normal(
            f"{what}: fourth moment",
            ((squares**2).mean() - fourth) / math.sqrt((eighth - fourth**2) / len(x)),
        )


def _normal(what: str, z: float) -> Result:
    return Result(f"{what}: z = {z:.2f}", float(2 * stats.norm.sf(abs(z))))


def matrices(recorded: Any, tensors: dict[str, real.Listed]) -> Iterator[tuple[str, str, Tensor]]:
    """Lists orthogonal and sparse tensors: name, initializer, and a matrix of float64."""
    for name, entry in recorded.tensors.items():
        if entry.origin == "rule" and laws.parse(entry.init)[0] in ("orthogonal", "sparse"):
            yield name, entry.init, tensors[name].tensor.detach().double().flatten(1)
