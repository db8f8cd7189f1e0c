"""Initializers with the signature of `jax.nn.initializers`, for the layers of any framework of JAX.

Each function has the arguments of its namesake in `jax.nn.initializers`, and draws from the same
distribution. An initializer takes a key, a shape and a dtype. Its seed is the number whose high
word is the first word of the key, and whose low word is the second one. So `jax.random.key(42)`
is the seed 42, and the array is that of `fanin.fill` with this seed and the initializer's name.

>>> import jax
>>> import fanin
>>> from fanin.jax import initializers
>>> weight = initializers.normal(0.02)(jax.random.key(42), (8, 4))
>>> same = fanin.fill("normal(std=0.02)", (8, 4), name="param", seed=42)
>>> bool((weight == same).all())
True

Frameworks derive another key for each parameter, so one name serves for all of them. With `seed`
and a `name` for each parameter, an initializer ignores its key.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Union

import jax

from fanin._errors import ArgumentError
from fanin._recipe import Recipe
from fanin.jax._init import init as init_tree
from fanin.jax._seed import SeedLike
from fanin.jax._tree import ShardingLike

Initializer = Callable[..., jax.Array]
"""A function of a key, a shape, a dtype and a sharding. The last two can be left out."""

Axes = Union[int, Sequence[int]]
"""The number of a dimension, or several of them."""

_NAME = "param"


def initializer(
    init: str,
    dtype: object = None,
    *,
    name: str = _NAME,
    seed: int | None = None,
    in_axis: Axes = -2,
    out_axis: Axes = -1,
    batch_axis: Axes = (),
) -> Initializer:
    """Returns the initializer of a text, such as `"siren_first"`.

    Args:
        init: The initializer, as for `fanin.fill`. Names have the meaning that they have there.
        dtype: The dtype of calls without one, by default JAX's default float.
        name: The name of the tensor, which determines the random stream.
        seed: The seed, instead of the key.
        in_axis: The dimensions of the inputs, from which the fans follow.
        out_axis: The dimensions of the outputs.
        batch_axis: The dimensions of independent tensors.

    Returns:
        A function of `key, shape, dtype=None, out_sharding=None`. A call raises `RecipeError` if
        the initializer does not fit the shape.

    Raises:
        RecipeError: The text is not an initializer.

    Examples:
        >>> make = initializer("siren_first", name="layers.0.weight")
        >>> make(jax.random.key(1), (2, 64)).shape
        (2, 64)
    """
    axes = {"in_axis": in_axis, "out_axis": out_axis, "batch_axis": batch_axis}
    rule = {key: axis if isinstance(axis, int) else list(axis) for key, axis in axes.items()}
    recipe = Recipe.from_rules([{"match": "*", "init": init, **rule}], layout="in_out")
    default = dtype

    def make(
        key: SeedLike,
        shape: Sequence[int],
        dtype: object = None,
        out_sharding: ShardingLike = None,
    ) -> jax.Array:
        known = next(one for one in (dtype, default, float) if one is not None)
        canonical = jax.dtypes.canonicalize_dtype(known)
        tensor = jax.ShapeDtypeStruct(tuple(shape), canonical)  # type: ignore[no-untyped-call]
        chosen = key if seed is None else seed
        made: dict[str, jax.Array] = init_tree(
            recipe, {name: tensor}, chosen, sharding=out_sharding
        )
        return made[name]

    return make


def constant(
    value: float, dtype: object = None, *, name: str = _NAME, seed: int | None = None
) -> Initializer:
    """Returns an initializer that gives every element a value."""
    return initializer(f"constant(value={float(value)!r})", dtype, name=name, seed=seed)


zeros = constant(0)
"""Gives every element the value 0. It is an initializer itself."""

ones = constant(1)
"""Gives every element the value 1. It is an initializer itself."""


def uniform(
    scale: float = 0.01, dtype: object = None, *, name: str = _NAME, seed: int | None = None
) -> Initializer:
    """Returns an initializer for the uniform distribution on [0, scale)."""
    return initializer(f"uniform(low=0,high={float(scale)!r})", dtype, name=name, seed=seed)


def normal(
    stddev: float = 0.01, dtype: object = None, *, name: str = _NAME, seed: int | None = None
) -> Initializer:
    """Returns an initializer for the normal distribution with mean 0."""
    return initializer(f"normal(mean=0,std={float(stddev)!r})", dtype, name=name, seed=seed)


def truncated_normal(
    stddev: float = 0.01,
    dtype: object = None,
    lower: float = -2.0,
    upper: float = 2.0,
    *,
    name: str = _NAME,
    seed: int | None = None,
) -> Initializer:
    """Returns an initializer for the normal distribution with mean 0, truncated.

    Args:
        stddev: The standard deviation before the truncation.
        dtype: The dtype of calls without one.
        lower: The lower bound, in standard deviations.
        upper: The upper bound, in standard deviations.
        name: The name of the tensor.
        seed: The seed, instead of the key.
    """
    bounds = f"lower={float(lower)!r},upper={float(upper)!r}"
    text = f"truncated_normal(mean=0,std={float(stddev)!r},{bounds})"
    return initializer(text, dtype, name=name, seed=seed)


def variance_scaling(
    scale: float,
    mode: str,
    distribution: str,
    in_axis: Axes = -2,
    out_axis: Axes = -1,
    batch_axis: Axes = (),
    dtype: object = None,
    *,
    name: str = _NAME,
    seed: int | None = None,
) -> Initializer:
    """Returns an initializer with the variance `scale / fan`.

    Args:
        scale: The numerator of the variance.
        mode: The fan: `"fan_in"`, `"fan_out"`, or `"fan_avg"` for their mean.
        distribution: `"truncated_normal"` (at two standard deviations), `"normal"` or `"uniform"`.
        in_axis: The dimensions of the inputs.
        out_axis: The dimensions of the outputs.
        batch_axis: The dimensions of independent tensors.
        dtype: The dtype of calls without one.
        name: The name of the tensor.
        seed: The seed, instead of the key.

    Raises:
        RecipeError: There is no such mode or distribution.
    """
    return initializer(
        f"variance_scaling(scale={float(scale)!r},mode={mode},distribution={distribution})",
        dtype,
        name=name,
        seed=seed,
        in_axis=in_axis,
        out_axis=out_axis,
        batch_axis=batch_axis,
    )


glorot_uniform = xavier_uniform = partial(variance_scaling, 1.0, "fan_avg", "uniform")
"""Returns an initializer for U(±sqrt(3 / fan_avg)): `variance_scaling` with these arguments."""

glorot_normal = xavier_normal = partial(variance_scaling, 1.0, "fan_avg", "truncated_normal")
"""Returns an initializer with variance 1 / fan_avg, truncated as in `jax.nn.initializers`."""

lecun_uniform = partial(variance_scaling, 1.0, "fan_in", "uniform")
"""Returns an initializer for U(±sqrt(3 / fan_in))."""

lecun_normal = partial(variance_scaling, 1.0, "fan_in", "truncated_normal")
"""Returns an initializer with variance 1 / fan_in, truncated as in `jax.nn.initializers`."""

he_uniform = kaiming_uniform = partial(variance_scaling, 2.0, "fan_in", "uniform")
"""Returns an initializer for U(±sqrt(6 / fan_in))."""

he_normal = kaiming_normal = partial(variance_scaling, 2.0, "fan_in", "truncated_normal")
"""Returns an initializer with variance 2 / fan_in, truncated as in `jax.nn.initializers`."""


def orthogonal(
    scale: float = 1.0,
    column_axis: int = -1,
    dtype: object = None,
    *,
    name: str = _NAME,
    seed: int | None = None,
) -> Initializer:
    """Returns an initializer for matrices with orthogonal rows or columns.

    Args:
        scale: The length of rows or columns.
        column_axis: The dimension of the columns. It must be the last one, -1.
        dtype: The dtype of calls without one.
        name: The name of the tensor.
        seed: The seed, instead of the key.

    Raises:
        ArgumentError: Columns are another dimension.
    """
    _check_column_axis(column_axis)
    return initializer(f"orthogonal(gain={float(scale)!r})", dtype, name=name, seed=seed)


def delta_orthogonal(
    scale: float = 1.0,
    column_axis: int = -1,
    dtype: object = None,
    *,
    name: str = _NAME,
    seed: int | None = None,
) -> Initializer:
    """Returns an initializer for convolutions: an orthogonal matrix in the middle tap, else 0.

    The arguments are those of `orthogonal`.

    Raises:
        ArgumentError: Columns are another dimension.
    """
    _check_column_axis(column_axis)
    return initializer(f"delta_orthogonal(gain={float(scale)!r})", dtype, name=name, seed=seed)


def _check_column_axis(column_axis: int) -> None:
    if column_axis != -1:
        raise ArgumentError(f"column_axis {column_axis} is not supported: use -1")
