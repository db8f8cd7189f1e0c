"""Fills of single tensors."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, SupportsIndex, Union

from fanin import _arrays, _native
from fanin._progress import ProgressLike
from fanin._slices import SliceLike

if TYPE_CHECKING:
    import numpy as np

AxesLike = Union[SupportsIndex, Sequence[SupportsIndex]]
"""An axis, or several. Negative numbers count from the end."""


def fill(
    init: str,
    shape: SupportsIndex | Sequence[SupportsIndex] | np.ndarray[Any, Any],
    *,
    name: str,
    seed: SupportsIndex,
    dtype: object = None,
    layout: str = "out_in",
    groups: SupportsIndex = 1,
    in_axis: AxesLike | None = None,
    out_axis: AxesLike | None = None,
    batch_axis: AxesLike | None = None,
    slice: SliceLike | None = None,
    out: np.ndarray[Any, Any] | None = None,
    threads: SupportsIndex | None = None,
    stream: SupportsIndex | None = None,
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
        groups: The groups of a grouped convolution. They divide the outputs of the fans.
        in_axis: The axis of the inputs, or several, for the fans of weights that no layout
            describes. Negative numbers count from the end. The arguments are those of
            `jax.nn.initializers.variance_scaling`. If any of the three is given, `layout` does not
            count and `in_axis` is -2 by default.
        out_axis: The axis of the outputs, or several, by default -1 if another axis is given.
        batch_axis: The axis of independent weights, or several, such as the experts of a mixture.
            They belong to no fan.
        slice: The part to fill: text such as `"0:10,:"`, a slice, or a tuple of slices or of pairs
            (start, end). Dimensions that are left out are whole.
        out: The array to fill, instead of a new one. It has the shape of the part. One that is not
            contiguous needs a temporary array of its size. Its elements must not overlap. After an
            exception, its contents are undefined.
        threads: The number of threads, by default that of the cores.
        stream: The id of the random stream, instead of the one that the name determines.
        progress: None for a bar on a terminal if it takes more than a second, True for a bar
            anywhere, False for none, or a function of the bytes that are done and the bytes of all.
            An exception that the function raises stops the work and is raised. The last call comes
            after the work, so files can be complete in spite of an exception.

    Returns:
        `out`, or a new array in C order with the shape of the part.

    Raises:
        ArgumentError: An argument is out of range, or the initializer cannot fill the shape or the
            dtype.
        MemoryError: There is no memory for the array.
        TypeError: An argument has a wrong type.

    Examples:
        >>> import fanin
        >>> fanin.fill("normal(std=0.02)", (2, 3), name="w", seed=1).shape
        (2, 3)
        >>> fanin.fill("ones", 2, name="b", seed=1, dtype="int8")
        array([1, 1], dtype=int8)

        The query weights of 12 heads, which have 768 inputs each:

        >>> heads = {"in_axis": 0, "out_axis": (1, 2)}
        >>> fanin.fill("lecun_normal", (768, 12, 64), name="q", seed=1, **heads).shape
        (768, 12, 64)
    """
    fill_at = partial(
        _native.fill_at,
        init,
        shape,
        name=name,
        seed=seed,
        layout=layout,
        groups=groups,
        in_axis=in_axis,
        out_axis=out_axis,
        batch_axis=batch_axis,
        threads=threads,
        stream=stream,
    )
    return _arrays.filled(
        fill_at,
        name,
        _native.shape(shape),
        "float32",
        dtype=dtype,
        slice=slice,
        out=out,
        progress=progress,
    )
