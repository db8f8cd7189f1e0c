"""Arrays of numpy for fills.

numpy and ml_dtypes are imported on first use, so that the command line starts without them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Callable, Protocol

from fanin import _native
from fanin._errors import ArgumentError, shown
from fanin._progress import Progress, ProgressLike
from fanin._slices import SliceLike, ranges

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


def full_name(short: str) -> str:
    """Returns the name that numpy and fanin share, `"uint8"` for fanin's own name `"u8"`."""
    return _NUMPY.get(short, short)


def name(dtype: object) -> str:
    """Returns fanin's name of a dtype, as in `dtypes`."""
    _check_native(dtype)
    return _native.dtype(dtype)[0]


def _check_native(dtype: object) -> None:
    """Refuses a dtype of numpy in the byte order of another processor."""
    is_text = isinstance(dtype, str) and dtype.startswith(">")
    if is_text or getattr(dtype, "isnative", True) is False:
        import numpy as np

        try:
            order = np.dtype(dtype)  # type: ignore[call-overload]
        except TypeError:
            return
        if not order.isnative:
            raise ArgumentError(
                f"dtype {order} is in the byte order of another processor: use {order.name}"
            )


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
    _check_native(dtype)
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


class FillAt(Protocol):
    """Fills memory at an address with a tensor, or with a part of it."""

    def __call__(
        self,
        address: int,
        nbytes: int,
        /,
        *,
        dtype: str,
        slice: list[tuple[int, int]],
        progress: Callable[[int, int], object] | None,
    ) -> None:
        """Fills contiguous memory, which the part fits exactly."""
        ...


def filled(
    fill_at: FillAt,
    name: str,
    shape: Sequence[int],
    default: str,
    *,
    dtype: object,
    slice: SliceLike | None,
    out: np.ndarray[Any, Any] | None,
    progress: ProgressLike,
) -> np.ndarray[Any, Any]:
    """Returns an array that a function of the native module has filled.

    Args:
        fill_at: The function.
        name: The name of the tensor.
        shape: The shape of the whole tensor.
        default: The dtype if neither `dtype` nor `out` gives one.
        dtype: The dtype of the elements, as for `fanin.fill`.
        slice: The part to fill, as for `fanin.fill`.
        out: The array to fill, or None for a new one.
        progress: As for `fanin.fill`.

    Raises:
        ArgumentError: An argument is out of range, numpy has no array of the shape, or `out` has
            another shape, dtype or byte order, is read-only, or has elements that overlap.
        TypeError: `out` is not an array of numpy.
    """
    import numpy as np

    what = f"tensor {shown(name)}"
    if out is not None:
        _check_order(out, what)
    if dtype is None:
        dtype = default if out is None else out.dtype
    dtype_name, array_dtype = dtypes(dtype)
    part = ranges(slice, shape)
    part_shape = tuple(end - start for start, end in part)
    if out is None:
        array = _new(part_shape, array_dtype, what)
    else:
        _check(out, part_shape, array_dtype, what)
        is_direct = out.flags.c_contiguous and out.flags.aligned
        array = out if is_direct else _new(part_shape, array_dtype, what)
    with Progress(progress, "fill", name) as report:
        address = array.__array_interface__["data"][0]
        fill_at(address, array.nbytes, dtype=dtype_name, slice=part, progress=report.callback)
    if out is not None and array is not out:
        np.copyto(out, array)
    return array if out is None else out


def _new(shape: tuple[int, ...], dtype: np.dtype[Any], what: str) -> np.ndarray[Any, Any]:
    import numpy as np

    try:
        return np.empty(shape, dtype)
    except ValueError as error:
        # Too many dimensions or elements.
        raise ArgumentError(f"{what}: numpy has no array of its shape: {error}") from None


def _check_order(out: object, what: str) -> None:
    import numpy as np

    if not isinstance(out, np.ndarray):
        raise TypeError(
            f"{what}: out is a {type(out).__name__}: use an array of numpy "
            "(fanin.torch.fill_ fills tensors of PyTorch)"
        )
    if not out.dtype.isnative:
        raise ArgumentError(
            f"{what}: out has dtype {out.dtype} in the byte order of another processor: "
            f"use {out.dtype.name}"
        )


def _check(
    out: np.ndarray[Any, Any], shape: tuple[int, ...], dtype: np.dtype[Any], what: str
) -> None:
    if out.shape != shape:
        raise ArgumentError(f"{what}: out has shape {out.shape}, not {shape}")
    if out.dtype != dtype:
        raise ArgumentError(f"{what}: out has dtype {out.dtype}, not {dtype}")
    if not out.flags.writeable:
        raise ArgumentError(f"{what}: out is read-only")
    if overlap(out.strides, out.shape, out.itemsize):
        raise ArgumentError(f"{what}: out has elements that overlap in memory")


def overlap(strides: Sequence[int], shape: Sequence[int], itemsize: int) -> bool:
    """Returns true if two elements of an array share memory. Strides are in bytes."""
    import numpy as np

    if 0 in shape:
        return False
    axes = [(abs(stride), dim) for stride, dim in zip(strides, shape) if dim > 1]
    extent = itemsize
    for stride, dim in sorted(axes):
        if stride < extent:
            break
        extent += stride * (dim - 1)
    else:
        # Each axis steps over all that the smaller strides reach, as in all views by slices and
        # transpositions.
        return False
    offsets = np.zeros(1, "int64")
    for stride, dim in axes:
        offsets = np.add.outer(offsets, stride * np.arange(dim)).reshape(-1)
    return bool((np.diff(np.sort(offsets)) < itemsize).any())
