"""Probability distributions of the initializers in recordings, from their definitions."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

#: Initializers whose values follow from a tensor's shape alone.
_KNOWN = frozenset(
    "zeros ones constant eye identity dirac arange causal_mask mamba_a_log sinusoids sinusoidal "
    "values".split()
)
#: Initializers that give the same number to many elements.
_REPEATS = {"sparse", "mamba_dt_bias"}


@functools.cache
def parse(init: str) -> tuple[str, dict[str, float]]:
    """Returns the name and the numbers of an initializer such as "normal(mean=0,std=0.02)"."""
    name, _, rest = init.partition("(")
    if name == "values":
        return name, {}
    pairs = (pair.partition("=") for pair in rest.rstrip(")").split(",") if pair)
    return name, {key.strip(): float(value) for key, _, value in pairs}


def known(init: str | None) -> bool:
    """Returns whether an initializer gives the same values at every seed."""
    return init is None or parse(init)[0] in _KNOWN or parse(init)[0].startswith("inv_freq")


def repeats(init: str | None) -> bool:
    """Returns whether two seeds give the same number at many elements."""
    return init is not None and parse(init)[0] in _REPEATS


@dataclass(frozen=True)
class Law:
    """The distribution of an element.

    Attributes:
        cdf: Maps values to [0, 1]. Of values with this distribution it gives uniform numbers.
        low: The least value, as a float32 may round it.
        high: The largest value, the same.
        moments: The mean and the central moments 2, 4 and 8; None where only `cdf` is compared.
    """

    cdf: Callable[[np.ndarray], np.ndarray]
    low: float
    high: float
    moments: tuple[float, float, float, float] | None


@functools.cache
def law(init: str) -> Law | None:
    """Returns the distribution of an initializer, or None if its elements depend on each other.

    Raises:
        KeyError: The initializer has no distribution here.
    """
    name, n = parse(init)
    if name == "normal":
        return _of(stats.norm(), n.get("mean", 0.0), n.get("std", 1.0))
    if name == "uniform":
        low, high = n.get("low", 0.0), n.get("high", 1.0)
        return _of(stats.uniform(), low, high - low)
    if name == "trunc_normal":
        mean, std = n.get("mean", 0.0), n.get("std", 1.0)
        a, b = (n.get("a", -2.0) - mean) / std, (n.get("b", 2.0) - mean) / std
        return _of(stats.truncnorm(a, b), mean, std)
    if name == "mamba2_a_log":
        return _log_uniform(n["low"], n["high"])
    if name == "mamba_dt_bias":
        return _time_step(n["min"], n["max"], n["floor"])
    return {"orthogonal": None, "sparse": None}[name]


def _of(distribution: Any, mean: float, scale: float) -> Law:
    """Returns a distribution that is scaled and shifted."""
    low, high = (mean + scale * bound for bound in distribution.support())
    center = float(distribution.mean())
    second, fourth, eighth = (
        scale**order * float(distribution.expect(lambda x, order=order: (x - center) ** order))
        for order in (2, 4, 8)
    )
    return Law(
        lambda x: distribution.cdf((x - mean) / scale),
        _down(low),
        -_down(-high),
        (mean + scale * center, second, fourth, eighth),
    )


def _down(value: float) -> float:
    """Returns a bound that float32 arithmetic around this value does not pass."""
    return value - 4e-7 * abs(value)


def _log_uniform(low: float, high: float) -> Law:
    """The logarithm of a uniform number, as Mamba-2's A_log."""

    def cdf(x: np.ndarray) -> np.ndarray:
        return np.clip((np.exp(x) - low) / (high - low), 0, 1)

    return Law(cdf, _down(math.log(low)) - 1e-7, -_down(-math.log(high)), None)


def _time_step(low: float, high: float, floor: float) -> Law:
    """Mamba's bias of dt: softplus of it is exp(uniform(log low, log high)), at least floor."""

    def cdf(x: np.ndarray) -> np.ndarray:
        # softplus(x), without the cancellation of log1p(exp(x)) for large x.
        step = np.logaddexp(0, x)
        return np.clip((np.log(step) - math.log(low)) / (math.log(high) - math.log(low)), 0, 1)

    def inverse(step: float) -> float:
        return step + math.log(-math.expm1(-step))

    return Law(cdf, inverse(max(low, floor)) - 1e-4, inverse(high) + 1e-4, None)
