"""Fills of single tensors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from fanin import _arrays, _native
from fanin._progress import Progress, ProgressLike
from fanin._slices import SliceLike, ranges

if TYPE_CHECKING:
    import numpy as np


def fill(
    init: str,
    shape: int | Sequence[int],
    *,
    name: str,
    seed: int,
    dtype: object = None,
    layout: str = "out_in",
    slice: SliceLike | None = None,
    out: np.ndarray[Any, Any] | None = None,
    threads: int | None = None,
    stream: int | None = None,
    progress: ProgressLike = None,
) -> np.ndarray[Any, Any]:
    """Fills a tensor, or a slice of it, and returns the array.

    Equal arguments give equal bits on every machine. The bits do not depend on `slice`, `out` and
    `threads`: a slice has the bits that the whole tensor has there. All cores work without the
    interpreter's lock. Ctrl-C stops the fill within a fraction of a second, except for an
    orthogonal matrix, which is made as a whole.

    Args:
        init: The initializer, such as `"kaiming_normal(mode=fan_out)"` or
            `"normal(mean=0,std=0.02)"`. The command `fanin inits` lists all of them.
        shape: The shape of the whole tensor.
        name: The name of the tensor. Tensors of other names get other numbers.
        seed: A whole number from 0 to 2^64 - 1.
        dtype: The dtype of the elements: a name or a dtype of numpy, torch, JAX or ml_dtypes. The
            floats are float32, float16, bfloat16, float64, float8_e4m3fn and float8_e5m2. Whole
            numbers and bool are for initializers that give whole numbers only, such as `zeros`.
            bfloat16 and float8 need ml_dtypes. Without it, `"bfloat16_bits"` gives the bits as
            uint16. By default it is the dtype of `out`, else float32.
        layout: The order of the axes, from which the fans follow: `"out_in"` as in torch, or
            `"in_out"` as in Keras, JAX and numpy.
        slice: The part to fill: text such as `"0:10,:"`, a slice, or a tuple of slices or of pairs
            (start, end). Dimensions that are left out are whole.
        out: The array to fill, instead of a new one. It has the shape of the part. One that is not
            contiguous needs a temporary array of its size. After an exception, its contents are
            undefined.
        threads: The number of threads, by default that of the cores.
        stream: The id of the random stream, instead of the one that the name determines.
        progress: None for a bar on a terminal if it takes more than a second, True for a bar
            anywhere, False for none, or a function of the bytes that are done and the bytes of all.

    Returns:
        `out`, or a new array in C order with the shape of the part.

    Raises:
        ArgumentError: An argument is out of range, or the initializer cannot fill the shape or the
            dtype.
        TypeError: An argument has a wrong type.

    Examples:
        >>> import fanin
        >>> fanin.fill("normal(std=0.02)", (2, 3), name="w", seed=1).shape
        (2, 3)
        >>> fanin.fill("ones", 2, name="b", seed=1, dtype="int8")
        array([1, 1], dtype=int8)
    """
    if dtype is None:
        dtype = getattr(out, "dtype", "float32")
    dtype_name, array_dtype = _arrays.dtypes(dtype)
    part = ranges(slice, _native.shape(shape))
    title = f"fill {name}"

    def fill_at(address: int, nbytes: int) -> None:
        with Progress(progress, title) as report:
            _native.fill_at(
                init,
                shape,
                address,
                nbytes,
                name=name,
                seed=seed,
                dtype=dtype_name,
                layout=layout,
                slice=part,
                threads=threads,
                stream=stream,
                progress=report.callback,
            )

    part_shape = [end - start for start, end in part]
    return _arrays.filled(out, part_shape, array_dtype, f"tensor {name!r}", fill_at)
