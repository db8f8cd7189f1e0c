"""Models written to files."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import SupportsIndex, Union

from fanin import _arrays, _native
from fanin._paths import path_of
from fanin._progress import Progress, ProgressLike
from fanin._recipe import RecipeLike, recipe_of
from fanin._tensors import TensorsLike, listed

Size = Union[SupportsIndex, str]
"""A number of bytes, or text such as `"5GB"` or `"500MiB"`."""


@dataclass(frozen=True)
class ModelFiles:
    """The files that `fanin.init_model` has written.

    Attributes:
        out: The file or the folder.
        files: The paths of the files of this process, without the index.
        missing: The names of files that other processes have yet to write.
        tensors: The number of tensors of the model.
        elements: The number of elements of the model.
        bytes: The number of bytes of the weights that this process has written.
    """

    out: Path
    files: tuple[Path, ...]
    missing: tuple[str, ...]
    tensors: int
    elements: int
    bytes: int


def init_model(
    recipe: RecipeLike,
    tensors: TensorsLike | None = None,
    seed: SupportsIndex | None = None,
    *,
    out: str | os.PathLike[str],
    dtype: object = None,
    max_shard_size: Size | None = None,
    shard_spec: str | os.PathLike[str] | None = None,
    rank: SupportsIndex | None = None,
    world_size: SupportsIndex | None = None,
    memory: Size | None = None,
    resume: bool = False,
    overwrite: bool = False,
    strict: bool = False,
    threads: SupportsIndex | None = None,
    progress: ProgressLike = None,
) -> ModelFiles:
    """Initializes all tensors of a model and writes them to files, in bounded memory.

    The files are those of the command `fanin init`, byte for byte. A file appears complete, or not
    at all, also after Ctrl-C.

    Args:
        recipe: A recipe, the name of a preset, or a .toml file.
        tensors: The tensors of the model, as for `Recipe.plan`. By default those that the recipe
            names.
        seed: A whole number from 0 to 2^64 - 1, by default that of the recipe.
        out: A .safetensors file, or a folder of shards with the names of Hugging Face (a path
            without an extension, or with / at its end).
        dtype: The dtype of all tensors of floats, as for `Recipe.plan`.
        max_shard_size: The maximum size of a shard, by default `"5GB"`. A larger tensor gets a
            shard of its own.
        shard_spec: A .toml file with a mesh and placements, to write a file for each rank of a
            distributed training.
        rank: The rank of this process, if several processes share the files. With a shard spec it
            is the rank of the mesh, unless `world_size` is given. No process waits for another.
        world_size: The number of processes that share the files.
        memory: The memory for buffers of weights, by default `"256MiB"`. It does not depend on the
            model.
        resume: Continues an earlier run that was interrupted. Weights that are correct to the bit
            are kept. If the run fails, its incomplete files stay for the next one.
        overwrite: Takes the place of another model in the folder that has other files. They are
            removed once the new model is complete, if fanin wrote them.
        strict: Makes a rule that applies to no tensor an error, not a warning. Rules of presets do
            not count.
        threads: The number of threads, by default that of the cores.
        progress: As for `fanin.fill`.

    Raises:
        RecipeError: The recipe does not fit the tensors, or there is no seed or no list of tensors.
        ArgumentError: An argument is out of range, or two of them cannot be combined.
        FormatError: The list of tensors is damaged, or the folder holds another model.
        FileError: A file cannot be read or written, or the disk has less free space than the files
            need.
        TypeError: An argument has a wrong type.

    Examples:
        >>> import fanin, tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     files = fanin.init_model(
        ...         "kaiming", {"fc.weight": (8, 4)}, 42, out=f"{folder}/model.safetensors"
        ...     )
        ...     fanin.verify(files.out, "kaiming", 42).same
        True
    """
    with Progress(progress, "init") as report:
        written = _native.init_model(
            recipe_of(recipe)._recipe,
            listed(tensors),
            seed,
            path_of("out", out),
            dtype=None if dtype is None else _arrays.name(dtype),
            max_shard_size=max_shard_size,
            shard_spec=None if shard_spec is None else path_of("shard_spec", shard_spec),
            rank=rank,
            world_size=world_size,
            memory=memory,
            resume=resume,
            overwrite=overwrite,
            strict=strict,
            threads=threads,
            progress=report.callback,
        )
    written["files"] = tuple(written["files"])
    written["missing"] = tuple(written["missing"])
    return ModelFiles(**written)
