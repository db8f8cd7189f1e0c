"""Recipes: rules that give each tensor of a model its initializer."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Union

from fanin import _arrays, _native
from fanin._errors import ArgumentError
from fanin._progress import Progress, ProgressLike
from fanin._slices import SliceLike, ranges
from fanin._tensors import TensorsLike, listed
from fanin._toml import document

if TYPE_CHECKING:
    import numpy as np

RecipeLike = Union["Recipe", str, "os.PathLike[str]"]
"""A recipe, the name of a preset, or the path of a .toml file."""


class Recipe:
    """Rules that give each tensor of a model its initializer.

    `Recipe.preset`, `Recipe.load`, `Recipe.from_toml` and `Recipe.from_rules` make one.

    Examples:
        >>> import fanin
        >>> recipe = fanin.Recipe.preset("kaiming")
        >>> plan = recipe.plan({"fc.weight": (512, 784), "fc.bias": (512,)}, seed=42)
        >>> plan["fc.bias"].init
        'zeros'
        >>> plan.fill("fc.weight", slice="0:2,0:3").shape
        (2, 3)
    """

    _recipe: _native.Recipe

    def __init__(self) -> None:
        """Refuses to make a recipe without a source.

        Raises:
            TypeError: Always.
        """
        raise TypeError("use Recipe.preset, Recipe.load, Recipe.from_toml or Recipe.from_rules")

    @classmethod
    def _of(cls, native: _native.Recipe) -> Recipe:
        """Wraps a recipe of the native module."""
        recipe = object.__new__(cls)
        recipe._recipe = native
        return recipe

    @classmethod
    def preset(cls, name: str) -> Recipe:
        """Returns the preset of a name, such as `"gpt2"` or `"llama"`.

        Raises:
            ArgumentError: There is no such preset. The message lists all of them.
        """
        return cls._of(_native.Recipe.preset(name))

    @staticmethod
    def presets() -> list[str]:
        """Returns the names of the presets.

        Examples:
            >>> "llama" in Recipe.presets()
            True
        """
        return _native.Recipe.presets()

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Recipe:
        """Reads a recipe from a .toml file, and the recipes that it extends.

        Raises:
            FileError: The file cannot be read.
            RecipeError: It is not a recipe. The message has line and column.
        """
        return cls._of(_native.Recipe.load(os.fspath(path)))

    @classmethod
    def from_toml(cls, text: str) -> Recipe:
        """Reads a recipe from TOML. It can extend a preset, but name no file.

        Raises:
            RecipeError: It is not a recipe. The message has line and column.
        """
        return cls._of(_native.Recipe.from_toml(text))

    @classmethod
    def from_rules(
        cls,
        rules: Iterable[Mapping[str, Any]],
        *,
        seed: int | None = None,
        dtype: str | None = None,
        layout: str | None = None,
        extends: str | None = None,
    ) -> Recipe:
        """Makes a recipe of rules. The first rule that matches a tensor applies.

        Args:
            rules: The rules, with the keys that a [[rule]] has in a file: `match`, a glob or a list
                of globs, and `init`, `tied_to`, `values`, `skip` and so on.
            seed: The seed of the recipe.
            dtype: The dtype of the recipe.
            layout: The layout of the recipe, `"out_in"` or `"in_out"`.
            extends: The preset whose rules follow.

        Raises:
            RecipeError: A rule has an unknown key, a malformed glob or initializer, and so on.
            TypeError: A rule has a value that TOML has no form for.

        Examples:
            >>> recipe = Recipe.from_rules([{"match": "*.bias", "init": "ones"}], extends="kaiming")
            >>> print(recipe.text)
            extends = "kaiming"
            <BLANKLINE>
            [[rule]]
            match = "*.bias"
            init = "ones"
            <BLANKLINE>
        """
        keys = {"seed": seed, "dtype": dtype, "layout": layout, "extends": extends}
        given = {key: value for key, value in keys.items() if value is not None}
        return cls.from_toml(document(given, "rule", rules))

    @property
    def name(self) -> str:
        """The name of the preset or of the file."""
        return self._recipe.name

    @property
    def text(self) -> str:
        """The TOML text, without the recipes that it extends."""
        return self._recipe.text

    @property
    def sha256(self) -> str:
        """The SHA-256 of the recipe and of all that it extends or keeps, in hexadecimal."""
        return self._recipe.sha256

    @property
    def seed(self) -> int | None:
        """The seed that the recipe gives, or None."""
        return self._recipe.seed

    @property
    def tensors(self) -> Path | None:
        """The path of the list of tensors that the recipe names, or None."""
        return self._recipe.tensors

    def plan(
        self,
        tensors: TensorsLike | None = None,
        seed: int | None = None,
        dtype: object = None,
    ) -> Plan:
        """Returns the plan that gives each tensor its initializer, resolved to numbers.

        Args:
            tensors: The tensors of the model: a path, a mapping of names to shapes or to anything
                with a shape and a dtype (a state dict, arrays, `jax.ShapeDtypeStruct`), or tuples
                (name, shape) or (name, shape, dtype). By default those that the recipe names.
            seed: A whole number from 0 to 2^64 - 1, by default that of the recipe.
            dtype: The dtype of all tensors of floats. By default it is that of the rule, of the
                recipe or of the tensor, else float32.

        Raises:
            RecipeError: A tensor has no rule, or a rule cannot initialize it, or there is no seed.
            FormatError: The list of tensors is damaged, or has a name twice.
        """
        given = None if dtype is None else _arrays.name(dtype)
        return Plan._of(self._recipe.plan(listed(tensors), seed, given))

    def __repr__(self) -> str:
        """Returns the name and the beginning of the hash."""
        return f"<fanin.Recipe {self.name!r}, sha256 {self.sha256[:12]}>"


def recipe_of(recipe: RecipeLike) -> Recipe:
    """Returns a recipe, the preset of a name, or the recipe of a .toml file.

    Raises:
        TypeError: The argument is none of them.
        ArgumentError: There is no such preset.
    """
    if isinstance(recipe, Recipe):
        return recipe
    if not isinstance(recipe, (str, os.PathLike)):
        raise TypeError(
            f"recipe is a {type(recipe).__name__}: use a Recipe, a preset's name, or a .toml file"
        )
    text = os.fspath(recipe)
    if text.endswith(".toml"):
        return Recipe.load(text)
    try:
        return Recipe.preset(text)
    except ArgumentError as error:
        raise ArgumentError(f"{error}, or a .toml file") from None


@dataclass(frozen=True)
class PlanPart:
    """A part of a tensor with an initializer of its own."""

    slice: tuple[tuple[int, int], ...]
    """The start and the end of each dimension."""
    init: str
    """The initializer, as in a recipe."""


@dataclass(frozen=True)
class PlanEntry:
    """One tensor of a plan."""

    name: str
    """The tensor's name."""
    shape: tuple[int, ...]
    """Its shape."""
    dtype: str
    """Its dtype, in fanin's words: f32, bf16, i64 and so on."""
    init: str
    """The initializer with the numbers from the list, or `values(N)`, `keep` or `parts`."""
    parts: tuple[PlanPart, ...]
    """The parts with initializers of their own. The first one that holds an element applies."""
    fan_in: int | None
    """The number of inputs of a unit, if the initializer depends on the fans."""
    fan_out: int | None
    """The number of outputs of an input, if the initializer depends on the fans."""
    tied_to: str | None
    """The tensor whose weights this one has, if its rule ties it."""
    same_as: str | None
    """The tensor whose initial weights this one has, if its rule says so."""
    is_kept: bool
    """True if the elements are copied from a file."""
    seed: int
    """The seed of the tensor."""
    stream: int
    """The id of its random stream."""
    rule: tuple[str, int, int] | None
    """The recipe, the line and the column of its rule, or None without a rule."""


class Plan:
    """A recipe resolved against the tensors of a model, by `Recipe.plan`. It holds no weights.

    It is a container of the names of the tensors, in the order of the list: `len(plan)`, `name in
    plan` and
    `for name in plan`. `plan[name]` is the entry of a tensor.
    """

    _plan: _native.Plan

    def __init__(self) -> None:
        """Refuses to make a plan without a recipe.

        Raises:
            TypeError: Always.
        """
        raise TypeError("use Recipe.plan")

    @classmethod
    def _of(cls, native: _native.Plan) -> Plan:
        """Wraps a plan of the native module."""
        plan = object.__new__(cls)
        plan._plan = native
        return plan

    @property
    def names(self) -> list[str]:
        """The names of the tensors, in the order of the list."""
        return self._plan.names

    @property
    def entries(self) -> list[PlanEntry]:
        """The entries of all tensors, in the order of the list."""
        return [self[name] for name in self.names]

    @property
    def seed(self) -> int:
        """The seed of all tensors whose rules have no seed."""
        return self._plan.seed

    @property
    def elements(self) -> int:
        """The number of elements of all tensors together."""
        return self._plan.elements

    @property
    def bytes(self) -> int:
        """The number of bytes of all tensors together."""
        return self._plan.bytes

    @property
    def skipped(self) -> list[str]:
        """The names of the tensors that a rule leaves out."""
        return self._plan.skipped

    @property
    def unused(self) -> list[str]:
        """A message for each rule that applies to no tensor, which is often a mistake in a glob.

        Rules of presets do not count.
        """
        return self._plan.unused

    def fill(
        self,
        name: str,
        slice: SliceLike | None = None,
        *,
        out: np.ndarray[Any, Any] | None = None,
        dtype: object = None,
        threads: int | None = None,
        progress: ProgressLike = None,
    ) -> np.ndarray[Any, Any]:
        """Fills a tensor of the plan, or a slice of it, and returns the array.

        Args:
            name: The name of the tensor.
            slice: The part to fill, as for `fanin.fill`.
            out: The array to fill, as for `fanin.fill`.
            dtype: The dtype of the elements, as for `fanin.fill`. By default it is that of `out`,
                else that of the entry.
            threads: The number of threads, by default that of the cores.
            progress: As for `fanin.fill`.

        Raises:
            UnknownTensorError: The plan has no tensor of this name.
            RecipeError: The tensor is kept from a file that is not known.
            ArgumentError: Another argument is out of range.
        """
        entry = self[name]
        if dtype is None:
            dtype = getattr(out, "dtype", entry.dtype)
        dtype_name, array_dtype = _arrays.dtypes(dtype)
        part = ranges(slice, entry.shape)
        title = f"fill {name}"

        def fill_at(address: int, nbytes: int) -> None:
            with Progress(progress, title) as report:
                self._plan.fill_at(
                    name,
                    address,
                    nbytes,
                    dtype=dtype_name,
                    slice=part,
                    threads=threads,
                    progress=report.callback,
                )

        part_shape = [end - start for start, end in part]
        return _arrays.filled(out, part_shape, array_dtype, f"tensor {name!r}", fill_at)

    def fill_at(
        self,
        name: str,
        address: int,
        nbytes: int,
        *,
        dtype: object = None,
        slice: SliceLike | None = None,
        threads: int | None = None,
    ) -> None:
        """Fills the memory at an address with a tensor of the plan, or with a slice of it.

        It is for arrays of other packages than numpy. The elements are little-endian, in C order.
        The memory must be writable and contiguous, and nothing else may use it until the function
        returns. A wrong address ends the process.

        Args:
            name: The name of the tensor.
            address: The address of the first byte.
            nbytes: The number of bytes. It must be exactly that of the part.
            dtype: The dtype of the elements, by default that of the entry.
            slice: The part to fill, as for `fanin.fill`.
            threads: The number of threads, by default that of the cores.

        Raises:
            UnknownTensorError: The plan has no tensor of this name.
            ArgumentError: The number of bytes is another one, or another argument is out of range.
        """
        given = None if dtype is None else _arrays.name(dtype)
        part = None if slice is None else ranges(slice, self[name].shape)
        self._plan.fill_at(name, address, nbytes, dtype=given, slice=part, threads=threads)

    def __len__(self) -> int:
        """Returns the number of tensors."""
        return len(self._plan)

    def __iter__(self) -> Iterator[str]:
        """Returns an iterator over the names."""
        return iter(self.names)

    def __contains__(self, name: object) -> bool:
        """Returns true if a tensor has this name."""
        return isinstance(name, str) and name in self._plan

    def __getitem__(self, name: str) -> PlanEntry:
        """Returns the entry of a tensor.

        Raises:
            UnknownTensorError: The plan has no tensor of this name.
        """
        entry = self._plan.entry(name)
        entry["shape"] = tuple(entry["shape"])
        entry["parts"] = tuple(PlanPart(tuple(slice), init) for slice, init in entry["parts"])
        return PlanEntry(**entry)

    def __repr__(self) -> str:
        """Returns the numbers of tensors and elements, and the seed."""
        return f"<fanin.Plan of {len(self)} tensors, {self.elements} elements, seed {self.seed}>"
