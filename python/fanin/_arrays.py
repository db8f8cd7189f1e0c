"""Arrays of numpy for fills.

numpy and ml_dtypes are imported on first use, so that the command line starts without them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Callable

from fanin import _native
from fanin._errors import ArgumentError

if TYPE_CHECKING:
    import numpy as np

_NUMPY = {
    "bool": "bool",
    "u8": "uint8",
    "i8": "int8",
    "i16": "int16",
    "u16": "uint16",
    "f16": "float16",
    "i32": "int32",
    "u32": "uint32",
    "f32": "float32",
    "c64": "complex64",
    "f64": "float64",
    "i64": "int64",
    "u64": "uint64",
}
_ML_DTYPES = {
    "bf16": "bfloat16",
    "f8_e4m3": "float8_e4m3fn",
    "f8_e5m2": "float8_e5m2",
    "f8_e8m0": "float8_e8m0fnu",
    "f8_e4m3fnuz": "float8_e4m3fnuz",
    "f8_e5m2fnuz": "float8_e5m2fnuz",
}

_BITS = "_bits"
"""The end of the name of a dtype whose bits are asked for."""


def name(dtype: object) -> str:
    """Returns fanin's name of a dtype, as in `dtypes`."""
    return _native.dtype(dtype)[0]


def dtypes(dtype: object) -> tuple[str, np.dtype[Any]]:
    """Returns fanin's name of a dtype, and the dtype of the array that holds it.

    Args:
        dtype: A name, such as `"float32"`, `"bf16"` or `"bfloat16_bits"`, or a dtype of numpy,
            torch, JAX or ml_dtypes. `_bits` after a name asks for the bits as unsigned whole
            numbers.

    Raises:
        ArgumentError: The dtype is unknown or ambiguous, has less than 8 bits, or needs ml_dtypes,
            which is missing.
    """
    import numpy as np

    as_bits = False
    if isinstance(dtype, str) and dtype.endswith(_BITS):
        as_bits, dtype = True, dtype[: -len(_BITS)]
    if isinstance(dtype, str) and dtype in ("i8", "u8"):
        sign = "u" * (dtype == "u8") + "int"
        raise ArgumentError(
            f"dtype {dtype!r} is {sign}64 for numpy and {sign}8 in safetensors files: use one"
        )
    known, bits = _native.dtype(dtype)
    if bits % 8 != 0:
        raise ArgumentError(
            f"dtype {dtype} has {bits} bits, and no array holds it (numpy's f4 is float32)"
        )
    if as_bits:
        return known, np.dtype(f"uint{bits}")
    if known in _NUMPY:
        return known, np.dtype(_NUMPY[known])
    try:
        import ml_dtypes
    except ImportError:
        bits_name = _ML_DTYPES[known] + _BITS
        raise ArgumentError(
            f"dtype {known} is not one of numpy's: install ml_dtypes, or ask for the bits as "
            f"uint{bits} with dtype={bits_name!r}"
        ) from None
    return known, np.dtype(getattr(ml_dtypes, _ML_DTYPES[known]))


def filled(
    out: np.ndarray[Any, Any] | None,
    shape: Sequence[int],
    dtype: np.dtype[Any],
    what: str,
    fill_at: Callable[[int, int], None],
) -> np.ndarray[Any, Any]:
    """Returns an array that a function has filled.

    Args:
        out: The array to fill, or None for a new one.
        shape: The shape that the array must have.
        dtype: The dtype that the array must have.
        what: A description of the tensor for messages.
        fill_at: Fills memory that is contiguous, given its address and its number of bytes.

    Raises:
        ArgumentError: `out` has another shape, dtype or byte order, or is read-only.
        TypeError: `out` is not an array of numpy.
    """
    import numpy as np

    if out is None:
        array = np.empty(tuple(shape), dtype)
    else:
        _check(out, shape, dtype, what)
        is_direct = out.flags.c_contiguous and out.flags.aligned
        array = out if is_direct else np.empty(out.shape, dtype)
    fill_at(array.__array_interface__["data"][0], array.nbytes)
    if out is not None and array is not out:
        np.copyto(out, array)
    return array if out is None else out


def _check(out: object, shape: Sequence[int], dtype: np.dtype[Any], what: str) -> None:
    import numpy as np

    if not isinstance(out, np.ndarray):
        raise TypeError(
            f"{what}: out is a {type(out).__name__}: use an array of numpy "
            "(fanin.torch.fill_ fills tensors of PyTorch)"
        )
    if out.shape != tuple(shape):
        raise ArgumentError(f"{what}: out has shape {out.shape}, not {tuple(shape)}")
    if out.dtype != dtype:
        order = "" if out.dtype.isnative else " in the byte order of another processor"
        raise ArgumentError(f"{what}: out has dtype {out.dtype}{order}, not {dtype}")
    if not out.flags.writeable:
        raise ArgumentError(f"{what}: out is read-only")
