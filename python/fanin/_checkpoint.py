"""Checks of stored weights: verification, statistics and comparison."""

from __future__ import annotations

import json
import os
from typing import SupportsIndex

from fanin import _arrays, _native
from fanin._errors import ArgumentError
from fanin._paths import path_of
from fanin._progress import Progress, ProgressLike
from fanin._recipe import Recipe, RecipeLike, recipe_of
from fanin._results import Diff, TensorStats, Verification
from fanin._tensors import TensorsLike, listed


def verify(
    path: str | os.PathLike[str],
    recipe: RecipeLike,
    seed: SupportsIndex | None = None,
    tensors: TensorsLike | None = None,
    *,
    threads: SupportsIndex | None = None,
    progress: ProgressLike = None,
) -> Verification:
    """Compares stored weights with those that a recipe and a seed give, to the bit.

    Orthogonal matrices are compared within a tolerance, because they are made in floating point.
    Weights that differ are no exception: they are in the result.

    Args:
        path: A .safetensors file, an index, or a folder that holds one of these or the files of all
            ranks. The file of a rank is compared with the parts that it holds.
        recipe: A recipe, the name of a preset, or a .toml file.
        seed: A whole number from 0 to 2^64 - 1, by default that of the recipe.
        tensors: The tensors of the whole model, as for `Recipe.plan`, if the file holds only some
            of them. By default those that the recipe names, else those of the file.
        threads: The number of threads, by default that of the cores.
        progress: As for `fanin.fill`.

    Raises:
        FileError: A file cannot be read.
        FormatError: A file is damaged, has a tensor of another shape, or has nothing that could be
            compared.
        RecipeError: The recipe does not fit the tensors.
    """
    with Progress(progress, "verify") as report:
        native = recipe_of(recipe)._recipe
        found, files = _native.verify(
            path_of("path", path),
            native,
            seed,
            listed(tensors),
            threads=threads,
            progress=report.callback,
        )
    return Verification._of(json.loads(found), files)


def stats(
    path: str | os.PathLike[str],
    recipe: RecipeLike | None = None,
    *,
    threads: SupportsIndex | None = None,
    progress: ProgressLike = None,
) -> list[TensorStats]:
    """Computes statistics of stored weights, and flags values that cannot be chance.

    With a recipe, the statistics are compared with those that it gives. They do not depend on the
    seed. One file in a million has a flag by chance.

    Args:
        path: A .safetensors or .npy file, an index, or a folder that holds one of these or the
            files of all ranks.
        recipe: A recipe, the name of a preset, or a .toml file.
        threads: The number of threads, by default that of the cores.
        progress: As for `fanin.fill`.

    Returns:
        The statistics of each tensor, in the order of the file.

    Raises:
        FileError: A file cannot be read.
        FormatError: A file is damaged, or of another kind.
        RecipeError: The recipe does not fit the tensors.
    """
    with Progress(progress, "stats") as report:
        native = None if recipe is None else recipe_of(recipe)._recipe
        found = _native.stats(
            path_of("path", path), native, threads=threads, progress=report.callback
        )
    return [TensorStats._of(tensor) for tensor in json.loads(found)]


def diff(
    start: RecipeLike,
    trained: str | os.PathLike[str],
    seed: SupportsIndex | None = None,
    tensors: TensorsLike | None = None,
    *,
    dtype: object = None,
    threads: SupportsIndex | None = None,
    progress: ProgressLike = None,
) -> Diff:
    """Compares trained weights with those that training started from, tensor by tensor.

    Args:
        start: Stored weights, or a recipe, the name of a preset or a .toml file, whose weights are
            made in memory. A folder that has the name of a preset is given as a path, such as
            `./gpt2`.
        trained: The trained weights: a .safetensors file, an index, or a folder.
        seed: The seed of the recipe.
        tensors: The tensors of the recipe, as for `Recipe.plan`. By default those that the recipe
            names, else those of the trained weights.
        dtype: The dtype of the recipe's weights, as for `Recipe.plan`.
        threads: The number of threads, by default that of the cores.
        progress: As for `fanin.fill`.

    Raises:
        ArgumentError: `seed`, `tensors` or `dtype` is given for stored weights.
        FileError: A file cannot be read.
        FormatError: A file is damaged, or a tensor has another shape.
        RecipeError: The recipe does not fit the tensors.
    """
    recipe = recipe_of(start) if _is_recipe(start) else None
    if recipe is None:
        given = {"seed": seed, "tensors": tensors, "dtype": dtype}
        named = [name for name, value in given.items() if value is not None]
        if named:
            raise ArgumentError(
                f"{named[0]} is given, but {_path(start)!r} is a file of weights: "
                "leave it out, or give a recipe"
            )
    begin = _path(start) if recipe is None else recipe._recipe
    known = None if dtype is None else _arrays.name(dtype)
    with Progress(progress, "diff") as report:
        found = _native.diff(
            begin,
            path_of("trained", trained),
            seed,
            listed(tensors),
            known,
            threads=threads,
            progress=report.callback,
        )
    return Diff._of(json.loads(found))


def _path(start: RecipeLike) -> str:
    if isinstance(start, Recipe):
        raise TypeError("start is a Recipe, not a path")
    return path_of("start", start)


def _is_recipe(start: RecipeLike) -> bool:
    """Returns true for a recipe, a .toml file, and a text that is or may be meant as a preset.

    The command line has the same rule. A text that neither exists nor looks like a path counts as a
    misspelled preset, so that the error lists the presets.
    """
    if isinstance(start, Recipe):
        return True
    text = path_of("start", start)
    if text.endswith(".toml"):
        return True
    # pathlib drops the "./" of a path, but it still is one.
    if isinstance(start, os.PathLike):
        return False
    looks_like_path = any(mark in text for mark in "/\\.")
    return text in Recipe.presets() or not (looks_like_path or os.path.exists(text))
