"""The elements of a fill, from their coordinates."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from fanin.jax import _draw, _pattern
from fanin.jax._form import Arguments, Form, Numbers
from fanin.jax._orthogonal import orthogonal
from fanin.jax._philox import Words, philox
from fanin.jax._position import (
    Coordinates,
    block_and_lane,
    coordinates,
    element,
    row_and_column,
)
from fanin.jax._value import stored, value


def whole(form: Form, dtype: np.dtype[Any], arguments: Arguments, key: Words) -> jax.Array:
    """Returns all elements of a tensor."""
    at = coordinates(form.dims)
    return stored(elements(form, arguments, key, at, form.dims), dtype)


def elements(
    form: Form, arguments: Arguments, key: Words, at: Coordinates, shape: tuple[int, ...]
) -> jax.Array:
    """Returns the binary32 bits of elements.

    Every element is computed by itself, though four elements share a block of random words. A
    compiler can so partition the tensor anywhere without a message. It is faster on the CPU, too:
    XLA computes a block four times when it interleaves its words.

    Args:
        form: The constants of the fill.
        arguments: Its other numbers.
        key: The words of the seed.
        at: The coordinates of the elements, in the whole tensor.
        shape: The shape of the coordinates and of the result.
    """
    bits = _of_one(_Fill.of(form, arguments, key), at, shape)
    for (ranges, origin, part), its in reversed(list(zip(form.parts, arguments.parts))):
        inside = jnp.ones(shape, bool)
        for coordinate, (start, end) in zip(at, ranges):
            inside &= (coordinate >= np.uint32(start)) & (coordinate < np.uint32(end))
        own = at
        if part.dims != form.dims:
            # Elements outside of the part get some value of it, which is not selected.
            own = [jnp.where(inside, c - np.uint32(start), 0) for c, start in zip(at, origin)]
        bits = jnp.where(inside, _of_one(_Fill.of(part, its, key), own, shape), bits)
    return bits


class _Fill(NamedTuple):
    """A tensor, or a part with an initializer of its own."""

    form: Form
    numbers: Numbers
    table: jax.Array
    key: Words

    @classmethod
    def of(cls, form: Form, arguments: Arguments, key: Words) -> _Fill:
        return cls(form, Numbers.of(arguments.numbers), jnp.asarray(arguments.table), key)

    def words(self, at: Coordinates) -> tuple[tuple[jax.Array, ...], jax.Array]:
        """Returns the words of the blocks of elements, and their lanes."""
        block, lane = block_and_lane(element(self.form.dims, at))
        return philox(block, 0, self.numbers.stream, self.key), lane

    def word(self, at: Coordinates) -> jax.Array:
        """Returns the word of each element."""
        (x0, x1, x2, x3), lane = self.words(at)
        is_odd = lane & 1 == 1
        return jnp.where(lane < 2, jnp.where(is_odd, x1, x0), jnp.where(is_odd, x3, x2))

    def row_and_column(self, at: Coordinates) -> tuple[jax.Array, jax.Array]:
        """Returns the row and the column of elements."""
        return row_and_column(self.form.dims, at, self.form.columns)


def _of_one(fill: _Fill, at: Coordinates, shape: tuple[int, ...]) -> jax.Array:
    """Returns the binary32 bits of the elements of one initializer."""
    bits = jnp.broadcast_to(_CORES[fill.form.core](fill, at), shape)
    if fill.form.is_held:
        low, high = lax.bitcast_convert_type(fill.numbers.bounds, np.float32)
        floats = lax.bitcast_convert_type(bits, np.float32)
        bits = lax.bitcast_convert_type(jnp.clip(floats, low, high), np.uint32)
    if fill.form.mask == "none":
        return bits
    return jnp.where(_MASKS[fill.form.mask](fill, at), 0, bits)


def _constant(fill: _Fill, at: Coordinates) -> jax.Array:
    return fill.numbers.constant


def _uniform(fill: _Fill, at: Coordinates) -> jax.Array:
    numbers = fill.numbers
    p = _draw.uniform(fill.word(at), numbers.multiplier, numbers.offset)
    return value(p, numbers.exponent)


def _normal(fill: _Fill, at: Coordinates) -> jax.Array:
    (x0, x1, x2, x3), lane = fill.words(at)
    is_first = lane < 2
    pair = jnp.where(is_first, x0, x2), jnp.where(is_first, x1, x3)
    numbers = fill.numbers
    scaling = (numbers.multiplier, numbers.shift, numbers.offset)
    p = _draw.normal(pair, lane & 1 == 1, fill.table, *scaling)
    return value(_draw.cut(p), numbers.exponent)


def _quantile(fill: _Fill, at: Coordinates) -> jax.Array:
    numbers = fill.numbers
    scaling = (numbers.multiplier, numbers.shift, numbers.offset)
    p = _draw.quantile(fill.word(at), fill.table, *scaling)
    # Not jnp.clip: the bounds can cross where a dtype has no number between them.
    p = jnp.minimum(jnp.maximum(p, numbers.lowest), numbers.highest)
    return value(_draw.cut(p), numbers.exponent)


def _sine(fill: _Fill, at: Coordinates) -> jax.Array:
    return _pattern.sine_of(*fill.row_and_column(at), fill.table)


def _columns(fill: _Fill, at: Coordinates) -> jax.Array:
    numbers: jax.Array = fill.table.reshape(-1)
    return numbers.at[fill.row_and_column(at)[1]].get(mode="clip")


def _matrix(fill: _Fill, at: Coordinates) -> jax.Array:
    """Returns elements of an orthogonal matrix, which each device makes whole."""
    assert fill.form.matrix is not None
    rows, columns, taps, middle, taps_last = fill.form.matrix
    tall = (max(rows, columns), min(rows, columns))
    gaussian = fill._replace(form=replace(fill.form, dims=tall))
    drawn = lax.bitcast_convert_type(_normal(gaussian, coordinates(tall)), np.float32)
    gain = lax.bitcast_convert_type(fill.numbers.constant, np.float32)
    matrix = orthogonal(drawn) * gain
    matrix = matrix if rows >= columns else matrix.T
    tap, index = fill.row_and_column(at)
    if taps_last and taps > 1:
        tap, index = index, tap
    found = matrix.reshape(-1).at[index].get(mode="clip")
    return jnp.where(tap == middle, lax.bitcast_convert_type(found, np.uint32), 0)


_CORES: dict[str, Callable[[_Fill, Coordinates], jax.Array]] = {
    "constant": _constant,
    "uniform": _uniform,
    "normal": _normal,
    "quantile": _quantile,
    "sine": _sine,
    "columns": _columns,
    "matrix": _matrix,
}


def _off_diagonal(fill: _Fill, at: Coordinates) -> jax.Array:
    return ~_pattern.on_diagonal(*fill.row_and_column(at), fill.numbers.pattern)


def _above_diagonal(fill: _Fill, at: Coordinates) -> jax.Array:
    return ~_pattern.in_lower_triangle(*fill.row_and_column(at), fill.numbers.pattern[0])


def _in_range(fill: _Fill, at: Coordinates) -> jax.Array:
    return _pattern.in_range(element(fill.form.dims, at), fill.numbers.pattern)


def _sparse_zeros(fill: _Fill, at: Coordinates) -> jax.Array:
    row, column = fill.row_and_column(at)
    numbers, halves = fill.numbers, fill.form.halves
    return _pattern.is_sparse_zero(row, column, numbers.pattern, halves, numbers.stream, fill.key)


_MASKS: dict[str, Callable[[_Fill, Coordinates], jax.Array]] = {
    "diagonal": _off_diagonal,
    "lower": _above_diagonal,
    "range": _in_range,
    "sparse": _sparse_zeros,
}
