"""All weights of a model of Keras."""

from __future__ import annotations

import warnings
from typing import Any

import keras  # type: ignore[import-untyped]
import numpy as np

from fanin._errors import ArgumentError
from fanin._recipe import Recipe, RecipeLike, recipe_of
from fanin._warnings import levels_to_caller

Variables = dict[str, Any]
"""The variables of a model by their paths."""


def init(model: keras.Layer, recipe: RecipeLike = "keras", seed: int | None = None) -> None:
    """Sets the weights of a model or layer.

    The names of the tensors are the paths of the variables, such as `sequential/dense/kernel`, so
    give names to models and layers: Keras numbers those without one. The weights are those of
    `fanin.init_model` with the same recipe, names, shapes and seed, bit for bit, on every backend.
    On the backend of JAX, each device makes its own part of a variable that is distributed.

    Args:
        model: A model or a layer that is built.
        recipe: A recipe, the name of a preset, or a .toml file.
        seed: A whole number from 0 to 2^64 - 1, by default that of the recipe.

    Raises:
        ArgumentError: The model is not built, or two of its variables have one path.
        RecipeError: A tensor has no rule, or a rule cannot initialize it, or there is no seed.

    Examples:
        >>> import keras
        >>> dense = keras.layers.Dense(3, name="dense")
        >>> dense.build((None, 5))
        >>> init(dense, seed=42)
    """
    if not model.built:
        raise ArgumentError(f"model {model.name!r} is not built: call it, or build(), first")
    make = _on_devices if keras.backend.backend() == "jax" else _on_host
    # Without the states of random generators and metrics, which no initializer makes.
    variables = {variable.path: variable for variable in model.weights}
    if len(variables) < len(model.weights):
        paths = [variable.path for variable in model.weights]
        twice = next(path for path in paths if paths.count(path) > 1)
        raise ArgumentError(f"two variables have the path {twice!r}: give their layers names")
    for path, value in make(recipe_of(recipe), variables, seed).items():
        variables[path].assign(value)


def _on_host(recipe: Recipe, variables: Variables, seed: int | None) -> dict[str, Any]:
    """Returns arrays of numpy by path, without those that the recipe skips."""
    listed = [(path, tuple(one.shape), str(one.dtype)) for path, one in variables.items()]
    plan = recipe.plan(listed, seed)
    for message in plan.unused:
        warnings.warn(message, stacklevel=levels_to_caller())
    return {path: widened(plan.fill(path, progress=False)) for path in plan}


def _on_devices(recipe: Recipe, variables: Variables, seed: int | None) -> dict[str, Any]:
    """Returns arrays of JAX by path, with the shardings that the variables have."""
    import jax

    import fanin.jax

    def shape(variable: Any) -> jax.ShapeDtypeStruct:
        sharding = variable.value.sharding
        return jax.ShapeDtypeStruct(  # type: ignore[no-untyped-call]
            variable.shape, variable.dtype, sharding=sharding
        )

    shapes = {path: shape(variable) for path, variable in variables.items()}
    made = fanin.jax.init(recipe, shapes, seed)
    return {path: value for path, value in made.items() if isinstance(value, jax.Array)}


def widened(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Returns an array as one that every backend takes: numpy itself has no bfloat16."""
    return array if array.dtype.kind in "fiub" else array.astype(np.float32)
