"""Known values as a recipe writes them: constants, patterns of positions, short lists of numbers."""

from __future__ import annotations

import numpy as np
import torch

from fanin.torch import _forms as forms

#: The dtypes that fanin draws.
DRAWN = frozenset(
    {
        torch.float32,
        torch.float16,
        torch.bfloat16,
        torch.float64,
        torch.float8_e4m3fn,
        torch.float8_e5m2,
    }
)
_WHOLE = frozenset({torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64})
#: The dtypes that an initializer without random numbers can have.
CONSTANT = DRAWN | _WHOLE
#: Longer tensors are stored in a file.
MAX_VALUES = 64
# The whole numbers below this magnitude are all exact in f32, from which they are made.
_MAX_WHOLE = 1 << 24


def constant(value: float, dtype: torch.dtype) -> str | None:
    """Returns the initializer of a constant, or None if the dtype or the number has none that is exact."""
    if dtype not in CONSTANT:
        return None
    stored = torch.tensor(value, dtype=torch.float64).to(dtype)
    return _exact_constant(stored)


def _exact_constant(stored: torch.Tensor) -> str | None:
    """Returns the initializer of a tensor of one element."""
    number = float(stored)
    if not np.isfinite(number) or (stored.dtype in _WHOLE and abs(number) >= _MAX_WHOLE):
        return None
    single = np.float32(number)
    # float8 and 16-bit numbers are binary32 numbers, too. Only binary64 can differ.
    if not np.isfinite(single) or float(single) != number:
        return None
    return forms.constant(number)


def initializer(values: torch.Tensor) -> str | None:
    """Returns the initializer without random numbers that gives exactly these values, or None."""
    if values.dtype not in CONSTANT:
        return None
    if values.numel() == 0:
        return "zeros"
    flat = values.reshape(-1)
    if _equal(flat, flat[:1].expand_as(flat)):
        return _exact_constant(flat[0])
    return _eye(values) or _dirac(values) or _arange(values) or _causal(values)


def _equal(a: torch.Tensor, b: torch.Tensor) -> bool:
    """Returns true if two tensors have the same bits, so that 0 and -0 differ and NaN is itself."""
    if a.dtype.is_floating_point:
        integers = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}[
            a.dtype.itemsize
        ]
        a, b = a.contiguous().view(integers), b.contiguous().view(integers)
    return torch.equal(a, b)


def _eye(values: torch.Tensor) -> str | None:
    if values.dim() != 2 or values.dtype.itemsize == 1:
        return None
    diagonal = values[0, 0]
    expected = torch.zeros(values.shape, dtype=values.dtype).fill_diagonal_(diagonal.item())
    if float(diagonal) == 0 or not _equal(values, expected):
        return None
    scale = _exact_constant(diagonal)
    if scale is None:
        return None
    return "eye" if float(diagonal) == 1 else f"identity(gain={forms.single(float(diagonal))})"


def _dirac(values: torch.Tensor) -> str | None:
    if (
        values.dim() not in (3, 4, 5)
        or not values.dtype.is_floating_point
        or values.dtype.itemsize == 1
    ):
        return None
    outputs, inputs = values.shape[:2]
    tap = tuple(size // 2 for size in values.shape[2:])
    ones = int(values.count_nonzero())
    if ones == 0:
        return None
    groups = next(
        (
            g
            for g in range(1, outputs + 1)
            if outputs % g == 0 and g * min(outputs // g, inputs) == ones
        ),
        0,
    )
    if groups == 0:
        return None
    expected = torch.zeros_like(values, memory_format=torch.contiguous_format)
    rows = outputs // groups
    for group in range(groups):
        for row in range(min(rows, inputs)):
            expected[(group * rows + row, row, *tap)] = 1
    return f"dirac(groups={groups})" if _equal(values, expected) else None


def _arange(values: torch.Tensor) -> str | None:
    """Returns `arange` for rows that all count in the same steps, such as position_ids."""
    columns = values.shape[-1] if values.dim() else 0
    if columns < 4 or values.dtype.itemsize < 2:
        return None
    row = values.reshape(-1, columns)[0].to(torch.float64)
    start, step = float(row[0]), float(row[1] - row[0])
    if not (start.is_integer() and step.is_integer() and step != 0):
        return None
    end = start + step * (columns - 1)
    if max(abs(start), abs(end)) >= _MAX_WHOLE:
        return None
    expected = (start + step * torch.arange(columns, dtype=torch.float64)).to(values.dtype)
    if not _equal(values, expected.expand_as(values)):
        return None
    return f"arange(start={forms.text(start)},step={forms.text(step)})"


def _causal(values: torch.Tensor) -> str | None:
    if (
        values.dim() < 2
        or min(values.shape[-2:]) < 2
        or values.is_floating_point()
        and values.dtype.itemsize == 1
    ):
        return None
    value = values.reshape(-1)[0]
    text = _exact_constant(value)
    if text is None or float(value) == 0:
        return None
    expected = torch.ones(values.shape[-2:], dtype=torch.bool).tril()
    expected = torch.where(expected, value, torch.zeros_like(value)).expand_as(values)
    if not _equal(values, expected):
        return None
    return (
        "causal_mask" if float(value) == 1 else f"causal_mask(value={forms.single(float(value))})"
    )


def numbers(values: torch.Tensor) -> tuple[float, ...] | None:
    """Returns the values as numbers for a recipe if they are few and exact in f32, or None."""
    if values.dtype not in CONSTANT or values.numel() > MAX_VALUES:
        return None
    wide = values.reshape(-1).to(torch.float64)
    if values.dtype in _WHOLE and bool((wide.abs() >= _MAX_WHOLE).any()):
        return None
    if not bool(wide.isfinite().all()) or not _equal(
        wide, wide.to(torch.float32).to(torch.float64)
    ):
        return None
    return tuple(float(str(np.float32(number))) for number in wide.tolist())
