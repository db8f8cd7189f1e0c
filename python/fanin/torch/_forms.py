"""Closed forms: the distributions that a recorded computation on random numbers can have.

A form describes every element of a tensor. Operations on tensors map forms to forms: `affine` and
`unary` fold arithmetic into the numbers of a distribution, and keep an expression where no
distribution is known yet. `initializer` writes a form as a recipe does. All numbers are binary64,
as in Python.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Union

import numpy as np
import torch

# `flipped` tells two tensors of one draw apart: an element is large where the draw is small. The
# distribution is the same.


@dataclass(frozen=True)
class Normal:
    """Independent elements of N(mean, std^2)."""

    mean: float
    std: float
    flipped: bool = False


@dataclass(frozen=True)
class Uniform:
    """Independent elements, uniform between two numbers."""

    low: float
    high: float
    flipped: bool = False


@dataclass(frozen=True)
class TruncNormal:
    """Independent elements of N(mean, std^2), truncated to [a, b]."""

    mean: float
    std: float
    a: float
    b: float
    flipped: bool = False


@dataclass(frozen=True)
class LogUniform:
    """Logarithms of independent numbers that are uniform on [low, high): Mamba-2's A_log."""

    low: float
    high: float
    flipped: bool = False


@dataclass(frozen=True)
class TimeStep:
    """Mamba's dt bias: the inverse softplus of log-uniform steps on [min, max), at least floor."""

    min: float
    max: float
    floor: float


@dataclass(frozen=True)
class Constant:
    """The same number everywhere."""

    value: float


@dataclass(frozen=True)
class Sparse:
    """A matrix of N(0, std^2) with a share of zeros in each column: torch.nn.init.sparse_."""

    sparsity: float
    std: float
    rows: int
    columns: int
    flipped: bool = False


@dataclass(frozen=True)
class Orthogonal:
    """A matrix of orthonormal rows or columns times gain, distributed by Haar's measure."""

    gain: float
    rows: int
    columns: int
    flipped: bool = False


@dataclass(frozen=True)
class QrFactor:
    """A part of the QR decomposition of a matrix of independent normal elements.

    `part` is "q", "r", the "diagonal" of r, or the "sign" of the diagonal.
    """

    part: str
    rows: int
    columns: int


@dataclass(frozen=True)
class Affine:
    """`of * scale + shift`, for a form whose products are not of its own kind."""

    of: Form
    scale: float
    shift: float


@dataclass(frozen=True)
class Op:
    """An elementwise operation, of forms of the same draw and of numbers."""

    name: str
    args: tuple[Form | float, ...]


Form = Union[
    Normal,
    Uniform,
    TruncNormal,
    LogUniform,
    TimeStep,
    Constant,
    Sparse,
    Orthogonal,
    QrFactor,
    Affine,
    Op,
]

#: Forms of whole matrices. A part of one, or its elements in another order, has no closed form.
STRUCTURED = (Sparse, Orthogonal, QrFactor)

# fanin's normal numbers are within 6.67 standard deviations of the mean (docs/STREAM.md), and a
# normal number is farther away with a probability of 3e-11. Wider bounds change no value.
_WIDEST = 6.67
_F32_MAX = float(np.finfo(np.float32).max)
_F32_TINY = float(np.finfo(np.float32).tiny)


def affine(form: Form, scale: float, shift: float) -> Form:
    """Returns the form of `form * scale + shift`."""
    if scale == 1 and shift == 0:
        return form
    if scale == 0:
        return Constant(shift)
    if isinstance(form, Constant):
        return Constant(form.value * scale + shift)
    if isinstance(form, Affine):
        return affine(form.of, form.scale * scale, form.shift * scale + shift)
    if isinstance(form, (Normal, Uniform, TruncNormal, Orthogonal, Sparse)):
        flipped = form.flipped != (scale < 0)
        if isinstance(form, Normal):
            return Normal(form.mean * scale + shift, form.std * abs(scale), flipped)
        if isinstance(form, Uniform):
            low, high = sorted((form.low * scale + shift, form.high * scale + shift))
            return Uniform(low, high, flipped)
        if isinstance(form, TruncNormal):
            a, b = sorted((form.a * scale + shift, form.b * scale + shift))
            return TruncNormal(form.mean * scale + shift, form.std * abs(scale), a, b, flipped)
        if shift == 0 and isinstance(form, Orthogonal):
            # The distribution of an orthogonal matrix does not change with its sign.
            return replace(form, gain=form.gain * abs(scale), flipped=flipped)
        if shift == 0 and isinstance(form, Sparse):
            return replace(form, std=form.std * abs(scale), flipped=flipped)
    return Affine(form, scale, shift)


def unary(name: str, form: Form) -> Form:
    """Returns the form of an elementwise function of a form, by the name of its torch operation."""
    if name == "neg":
        return affine(form, -1.0, 0.0)
    if name == "log" and isinstance(form, Uniform) and 0 < form.low < form.high:
        return LogUniform(form.low, form.high, form.flipped)
    return Op(name, (form,))


def clamp(form: Form, low: float, high: float) -> Form:
    """Returns the form of a form that is clamped to bounds, which can be infinite."""
    if isinstance(form, (Uniform, TruncNormal)):
        a, b = (form.low, form.high) if isinstance(form, Uniform) else (form.a, form.b)
        # Clamps that only guard against rounding, as in timm's trunc_normal_, change nothing.
        slack = 1e-12 * max(abs(a), abs(b))
        if low <= a + slack and high >= b - slack:
            return form
    truncated = _truncated(form)
    if truncated is not None:
        a, b = max(low, truncated.a), min(high, truncated.b)
        if _mass_between(truncated, truncated.a, a) and _mass_between(truncated, truncated.b, b):
            # The clamps are the bounds that the model's author wrote.
            a, b = (low if math.isfinite(low) else a), (high if math.isfinite(high) else b)
            return replace(truncated, a=a, b=b)
    return Op("clamp", (form, low, high))


def power(form: Form, exponent: float) -> Form:
    """Returns the form of a power of a form."""
    return form if exponent == 1 else Op("pow", (form, exponent))


def _erfinv(x: float) -> float:
    if abs(x) >= 1:
        return math.copysign(math.inf, x)
    return float(torch.special.erfinv(torch.tensor(x, dtype=torch.float64)))


def _truncated(form: Form) -> TruncNormal | None:
    """Returns the truncated normal that `mean + std * sqrt(2) * erfinv(uniform)` is, or None."""
    if isinstance(form, Op) and form.name == "erfinv":
        form = Affine(form, 1.0, 0.0)
    if not (isinstance(form, Affine) and isinstance(form.of, Op) and form.of.name == "erfinv"):
        return None
    inner = form.of.args[0]
    if not (isinstance(inner, Uniform) and -1 <= inner.low < inner.high <= 1):
        return None
    a, b = sorted(form.shift + form.scale * _erfinv(end) for end in (inner.low, inner.high))
    flipped = inner.flipped != (form.scale < 0)
    return TruncNormal(form.shift, abs(form.scale) / math.sqrt(2), a, b, flipped)


def _mass_between(form: TruncNormal, one: float, other: float) -> bool:
    """Returns true if practically no number lies between two bounds of a normal distribution."""

    def below(bound: float) -> float:
        return 0.5 * math.erf((bound - form.mean) / form.std / math.sqrt(2))

    return abs(below(one) - below(other)) < 1e-9


def _time_step(form: Form) -> TimeStep | None:
    """Returns Mamba's dt bias for `dt + log(-expm1(-dt))`, or None.

    dt is `exp(uniform)`, perhaps clamped from below.
    """
    if not (isinstance(form, Op) and form.name == "add" and len(form.args) == 2):
        return None
    for step, rest in (form.args, form.args[::-1]):
        if not isinstance(step, Op):
            continue
        inner = affine(Op("expm1", (affine(step, -1.0, 0.0),)), -1.0, 0.0)
        if rest != Op("log", (inner,)):
            continue
        floor: float | None = None
        if step.name == "clamp" and step.args[2] == math.inf and isinstance(step.args[0], Op):
            floor = step.args[1] if isinstance(step.args[1], float) else None
            step = step.args[0]
        exponent = step.args[0]
        if step.name == "exp" and isinstance(exponent, Uniform):
            low, high = tidy(math.exp(exponent.low)), tidy(math.exp(exponent.high))
            return TimeStep(low, high, low if floor is None else floor)
    return None


def is_coarse(form: Form, dtype: torch.dtype) -> bool:
    """Returns true if a floating-point dtype rounds the numbers of a form noticeably.

    So are `1e8 + uniform` in float32, which has multiples of 8 only, and numbers below the smallest
    one of the dtype. Such numbers have their form as long as nothing is computed from them: then
    the result would lack the rounding, as in `1e8 + uniform - 1e8`.
    """
    if isinstance(form, Normal):
        spread, largest = form.std, abs(form.mean) + 4 * form.std
    elif isinstance(form, Uniform):
        spread, largest = form.high - form.low, max(abs(form.low), abs(form.high))
    elif isinstance(form, TruncNormal):
        low, high = max(form.a, form.mean - 4 * form.std), min(form.b, form.mean + 4 * form.std)
        spread, largest = min(form.b - form.a, form.std), max(abs(low), abs(high))
    elif isinstance(form, LogUniform) and 0 < form.low < form.high:
        low, high = math.log(form.low), math.log(form.high)
        spread, largest = high - low, max(abs(low), abs(high))
    elif isinstance(form, Affine):
        # Its inner form, such as erfinv(uniform), has numbers of about 1.
        spread, largest = abs(form.scale), abs(form.scale) + abs(form.shift)
    elif isinstance(form, (Orthogonal, Sparse)):
        spread = largest = abs(form.gain if isinstance(form, Orthogonal) else form.std)
    else:
        return False
    kind = torch.finfo(dtype)
    step = max(kind.eps * largest, kind.smallest_normal * kind.eps)
    return spread > 0 and (largest > kind.max or step > max(2.0**-8, 16 * kind.eps) * spread)


def standard(form: Form) -> tuple[Form, float, float]:
    """Returns the form, the scale and the shift that together are a form: `of * scale + shift`.

    The numbers of the form are near 1 if it is normal, truncated or uniform. Others are returned
    as they are.
    """
    if isinstance(form, Normal):
        return Normal(0.0, 1.0), form.std, form.mean
    if isinstance(form, Uniform):
        return Uniform(0.0, 1.0), form.high - form.low, form.low
    if isinstance(form, TruncNormal):
        a, b = ((bound - form.mean) / form.std for bound in (form.a, form.b))
        return TruncNormal(0.0, 1.0, a, b), form.std, form.mean
    return form, 1.0, 0.0


def closed(form: Form) -> Form | None:
    """Returns the distribution that a form is, or None if it has none that a recipe can name."""
    if isinstance(form, (Affine, Op)):
        found = _truncated(form) or _time_step(form)
        return found and closed(found)
    if isinstance(form, QrFactor):
        return None
    if isinstance(form, Normal):
        if form.std < 0:
            return None
        return Constant(form.mean) if _single(form.std) == 0 else _finite(form)
    if isinstance(form, Uniform):
        return Constant(form.low) if _single(form.low) == _single(form.high) else _finite(form)
    if isinstance(form, TruncNormal):
        return _closed_truncated(form)
    if isinstance(form, LogUniform):
        return form if _F32_TINY <= form.low < form.high <= _F32_MAX else None
    if isinstance(form, TimeStep):
        floor = max(form.floor, form.min)
        usable = _F32_TINY <= form.min < form.max <= 500 and floor < form.max
        return replace(form, floor=form.floor if form.floor > 0 else form.min) if usable else None
    if isinstance(form, Sparse):
        return _closed_sparse(form)
    return form


def _finite(form: Form) -> Form | None:
    numbers: Sequence[float] = list(vars(form).values())
    return form if all(abs(number) <= _F32_MAX for number in numbers) else None


def _closed_sparse(form: Sparse) -> Form | None:
    if not (0 <= form.sparsity <= 1 and 0 <= form.std <= _F32_MAX):
        return None
    return form if _single(form.std) > 0 else Constant(0.0)


def _closed_truncated(form: TruncNormal) -> Form | None:
    if not (form.a <= form.b and form.std > 0):
        return None
    if form.a == form.b or _single(form.std) == 0:
        return Constant(min(max(form.mean, form.a), form.b))
    if min(form.mean - form.a, form.b - form.mean) >= _WIDEST * form.std:
        return closed(Normal(form.mean, form.std))
    # The recipe's grammar has no infinite numbers. A bound this far away changes no value.
    far = 100 * form.std
    a, b = max(form.a, min(form.mean, form.b) - far), min(form.b, max(form.mean, form.a) + far)
    return _finite(replace(form, a=a, b=b))


def describe(form: Form | float) -> str:
    """Returns an expression for people, such as `log(uniform(low=0,high=1))`."""
    if isinstance(form, Affine):
        factor = f" * {form.scale:g}" if form.scale != 1 else ""
        return describe(form.of) + factor + (f" {form.shift:+g}" if form.shift else "")
    if isinstance(form, Op):
        return f"{form.name}({', '.join(map(describe, form.args))})"
    if isinstance(form, QrFactor):
        return f"the factor {form.part} of a QR decomposition"
    if isinstance(form, (int, float)):
        return f"{form:g}"
    return initializer(form) or str(form)


def tidy(number: float) -> float:
    """Returns the number with the fewest digits within a few roundings of a computed one."""
    for digits in (6, 12, 15):
        near = float(f"{number:.{digits}g}")
        if abs(near - number) <= 4 * math.ulp(number):
            return near
    return number


def text(number: float) -> str:
    """Writes a number with the fewest digits that give the same binary64."""
    short = repr(float(number))
    return short[:-2] if short.endswith(".0") else short


def single(number: float) -> str:
    """Writes a number with the fewest digits that give the same binary32.

    It is for numbers that a recipe rounds to binary32.
    """
    near = _single(number)
    short = text(float(str(near)))
    return short if _single(float(short)) == near else text(number)


def _single(number: float) -> np.float32:
    with np.errstate(over="ignore"):
        return np.float32(number)


def constant(number: float) -> str:
    """Returns the initializer of a constant."""
    if number == 0 and math.copysign(1, number) > 0:
        return "zeros"
    return "ones" if number == 1 else f"constant(value={single(number)})"


def initializer(form: Form) -> str | None:
    """Returns a form as in a recipe, such as `normal(mean=0,std=0.02)`, or None."""
    law = closed(form)
    if isinstance(law, Constant):
        return constant(law.value)
    if isinstance(law, Normal):
        return f"normal(mean={single(law.mean)},std={single(law.std)})"
    if isinstance(law, Uniform):
        return f"uniform(low={single(law.low)},high={single(law.high)})"
    if isinstance(law, TruncNormal):
        bounds = f"a={text(law.a)},b={text(law.b)}"
        return f"trunc_normal(mean={single(law.mean)},std={single(law.std)},{bounds})"
    if isinstance(law, LogUniform):
        return f"mamba2_a_log(low={text(law.low)},high={text(law.high)})"
    if isinstance(law, TimeStep):
        return f"mamba_dt_bias(min={text(law.min)},max={text(law.max)},floor={text(law.floor)})"
    if isinstance(law, Sparse):
        return f"sparse(sparsity={text(law.sparsity)},std={single(law.std)})"
    if isinstance(law, Orthogonal):
        return "orthogonal" if law.gain == 1 else f"orthogonal(gain={single(law.gain)})"
    return None
