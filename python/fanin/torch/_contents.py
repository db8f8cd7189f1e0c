"""Known values as a recipe writes them: constants, patterns of positions, short lists."""

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
# Below this magnitude all whole numbers are exact in f32, from which they are made.
_MAX_WHOLE = 1 << 24
# Two or three numbers that count are more readable as a list.
_MIN_COUNTING = 4
_INTEGERS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


def constant(value: float, dtype: torch.dtype) -> str | None:
    """Returns the initializer of a number that a dtype holds, or None if none is exact."""
    if dtype not in CONSTANT:
        return None
    return _exact(torch.tensor(value, dtype=torch.float64).to(dtype))


def _exact(stored: torch.Tensor) -> str | None:
    """Returns the initializer of a tensor of one element, or None if none is exact."""
    number = float(stored)
    if not np.isfinite(number) or (stored.dtype in _WHOLE and abs(number) >= _MAX_WHOLE):
        return None
    # Only binary64 has numbers that binary32 does not have.
    with np.errstate(over="ignore"):
        return forms.constant(number) if float(np.float32(number)) == number else None


def common_constant(values: torch.Tensor) -> str | None:
    """Returns the initializer of the number that all elements are, or None."""
    if values.dtype not in CONSTANT or values.numel() == 0:
        return None
    flat = values.reshape(-1)
    return _exact(flat[0]) if _equal(flat, flat[:1].expand_as(flat)) else None


def initializer(values: torch.Tensor) -> str | None:
    """Returns the initializer without random numbers that gives exactly these values, or None."""
    if values.dtype not in CONSTANT or values.numel() == 0:
        return None
    return (
        common_constant(values)
        or _eye(values)
        or _dirac(values)
        or _arange(values)
        or _causal(values)
    )


def numbers(values: torch.Tensor) -> tuple[float, ...] | None:
    """Returns values as the numbers of a recipe, or None if they are many or not exact in f32."""
    if values.dtype not in CONSTANT or values.numel() > MAX_VALUES:
        return None
    wide = values.reshape(-1).to(torch.float64)
    if values.dtype in _WHOLE and bool((wide.abs() >= _MAX_WHOLE).any()):
        return None
    if not bool(wide.isfinite().all()) or not _equal(wide, wide.float().double()):
        return None
    return tuple(float(forms.single(number)) for number in wide.tolist())


def _equal(a: torch.Tensor, b: torch.Tensor) -> bool:
    """Returns true if two tensors have the same bits, so 0 and -0 differ, and NaN is itself."""
    if a.dtype.is_floating_point:
        integers = _INTEGERS[a.dtype.itemsize]
        a, b = a.contiguous().view(integers), b.contiguous().view(integers)
    return torch.equal(a, b)


def _eye(values: torch.Tensor) -> str | None:
    if values.dim() != 2 or values.dtype.itemsize == 1:
        return None
    gain = float(values[0, 0])
    if gain == 0 or not np.isfinite(gain) or _exact(values[0, 0]) is None:
        return None
    expected = torch.zeros(values.shape, dtype=values.dtype).fill_diagonal_(gain)
    if not _equal(values, expected):
        return None
    return "eye" if gain == 1 else f"identity(gain={forms.single(gain)})"


def _dirac(values: torch.Tensor) -> str | None:
    """Returns the initializer of torch.nn.init.dirac_, with its number of groups."""
    if values.dim() not in (3, 4, 5) or values.dtype not in DRAWN or values.dtype.itemsize == 1:
        return None
    outputs, inputs = values.shape[:2]
    ones = int(values.count_nonzero())
    for groups in (g for g in range(1, outputs + 1) if outputs % g == 0):
        rows = outputs // groups
        diagonal = min(rows, inputs)
        if ones and groups * diagonal == ones:
            expected = torch.zeros(values.shape, dtype=values.dtype)
            taps = expected
            for size in values.shape[2:]:
                taps = taps.select(2, size // 2)
            for group in range(groups):
                taps[group * rows : group * rows + diagonal].fill_diagonal_(1)
            return f"dirac(groups={groups})" if _equal(values, expected) else None
    return None


def _arange(values: torch.Tensor) -> str | None:
    """Returns `arange` for rows that all count in the same steps, such as position_ids."""
    columns = values.shape[-1] if values.dim() else 0
    if columns < _MIN_COUNTING or values.dtype.itemsize == 1:
        return None
    row = values.reshape(-1, columns)[0].to(torch.float64)
    start, step = float(row[0]), float(row[1] - row[0])
    end = start + step * (columns - 1)
    if not (start.is_integer() and step.is_integer() and max(abs(start), abs(end)) < _MAX_WHOLE):
        return None
    expected = (start + step * torch.arange(columns, dtype=torch.float64)).to(values.dtype)
    if not _equal(values, expected.expand_as(values)):
        return None
    return f"arange(start={forms.text(start)},step={forms.text(step)})"


def _causal(values: torch.Tensor) -> str | None:
    """Returns `causal_mask` for lower triangles, such as the masks of GPT-2."""
    if values.dim() < 2 or min(values.shape[-2:]) < 2:
        return None
    if values.dtype.is_floating_point and values.dtype.itemsize == 1:
        return None
    corner = values.reshape(-1)[0]
    if float(corner) == 0 or _exact(corner) is None:
        return None
    triangle = torch.ones(values.shape[-2:], dtype=torch.bool).tril()
    expected = torch.where(triangle, corner, torch.zeros_like(corner))
    if not _equal(values, expected.expand_as(values)):
        return None
    value = float(corner)
    return "causal_mask" if value == 1 else f"causal_mask(value={forms.single(value)})"
