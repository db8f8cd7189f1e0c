"""Recipes: rules that give each tensor of a model its initializer."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, SupportsIndex, Union

from fanin import _arrays, _native
from fanin._errors import ArgumentError, RecipeError
from fanin._paths import path_of
from fanin._progress import ProgressLike
from fanin._slices import SliceLike, ranges
from fanin._tensors import Listed, TensorsLike, listed, plain
from fanin._toml import document

if TYPE_CHECKING:
    import numpy as np

RecipeLike = Union["Recipe", str, "os.PathLike[str]"]
"""A recipe, the name of a preset, or the path of a .toml file."""


class Recipe:
    """Rules that give each tensor of a model its initializer.

    `Recipe.preset`, `Recipe.load`, `Recipe.from_toml` and `Recipe.from_rules` make one. Recipes do
    not change. They are equal if their names, their contents and their lists of tensors are. A
    recipe that was loaded is pickled as the path of its file, which must be the same later.

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
    _source: tuple[str, str]
    """The name of the class method that made it, and its argument."""

    def __init__(self) -> None:
        """Refuses to make a recipe without a source.

        Raises:
            TypeError: Always.
        """
        raise TypeError("use Recipe.preset, Recipe.load, Recipe.from_toml or Recipe.from_rules")

    @classmethod
    def _of(cls, native: _native.Recipe, method: str, argument: str) -> Recipe:
        """Wraps a recipe of the native module, which a class method has made."""
        recipe = object.__new__(cls)
        recipe._recipe = native
        recipe._source = (method, argument)
        return recipe

    @classmethod
    def preset(cls, name: str) -> Recipe:
        """Returns the preset of a name, such as `"gpt2"` or `"llama"`.

        Raises:
            ArgumentError: There is no such preset. The message lists all of them.
        """
        return cls._of(_native.Recipe.preset(name), "preset", name)

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
        text = path_of("path", path)
        return cls._of(_native.Recipe.load(text), "load", os.path.abspath(text))

    @classmethod
    def from_toml(cls, text: str) -> Recipe:
        """Reads a recipe from TOML. It can extend a preset, but name no file.

        Raises:
            RecipeError: It is not a recipe. The message has line and column.
        """
        return cls._of(_native.Recipe.from_toml(text), "from_toml", text)

    @classmethod
    def from_rules(
        cls,
        rules: Iterable[Mapping[str, Any]],
        *,
        seed: SupportsIndex | None = None,
        dtype: object = None,
        layout: str | None = None,
        extends: str | None = None,
    ) -> Recipe:
        """Makes a recipe of rules. The first rule that matches a tensor applies.

        Args:
            rules: The rules, with the keys that a [[rule]] has in a file: `match`, a glob or a list
                of globs, and `init`, `tied_to`, `values`, `skip` and so on.
            seed: The seed of the recipe.
            dtype: The dtype of the recipe, as for `fanin.fill`.
            layout: The layout of the recipe, `"out_in"` or `"in_out"`.
            extends: The preset whose rules follow.

        Raises:
            RecipeError: A rule has an unknown key, a malformed glob or initializer, and so on.
            ArgumentError: A text cannot be encoded, or the dtype is unknown.
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
        if dtype is not None and not isinstance(dtype, str):
            dtype = _arrays.name(dtype)
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
        seed: SupportsIndex | None = None,
        dtype: object = None,
    ) -> Plan:
        """Returns the plan that gives each tensor its initializer, resolved to numbers.

        Args:
            tensors: The tensors of the model: a path, a mapping of names to shapes or to anything
                with a shape and a dtype (a state dict, arrays, `jax.ShapeDtypeStruct`), or tuples
                (name, shape) or (name, shape, dtype). Mappings, lists and tuples nest:
                `{"layers": [{"weight": array}]}` has a tensor `layers.0.weight`. By default those
                that the recipe names.
            seed: A whole number from 0 to 2^64 - 1, by default that of the recipe.
            dtype: The dtype of all tensors of floats. By default it is that of the rule, of the
                recipe or of the tensor, else float32.

        Raises:
            RecipeError: A tensor has no rule, or a rule cannot initialize it, or there is no seed.
            FormatError: The list of tensors is damaged, or has a name twice.
            FileError: A file cannot be read.
            ArgumentError: The seed, a dtype or a shape is out of range or unknown.
            TypeError: An argument has a wrong type.
        """
        given = None if dtype is None else _arrays.name(dtype)
        list_of_tensors = listed(tensors)
        native = self._recipe.plan(list_of_tensors, seed, given)
        return Plan._of(native, (self, plain(list_of_tensors), native.seed, given))

    def _key(self) -> tuple[str, str, Path | None]:
        return self.name, self.sha256, self.tensors and self.tensors.absolute()

    def __eq__(self, other: object) -> bool:
        """Returns true for a recipe of the same name, contents and list of tensors."""
        return self._key() == other._key() if isinstance(other, Recipe) else NotImplemented

    def __hash__(self) -> int:
        """Returns a hash of the contents."""
        return hash(self.sha256)

    def __copy__(self) -> Recipe:
        """Returns the recipe itself, which does not change."""
        return self

    def __deepcopy__(self, memo: object) -> Recipe:
        """Returns the recipe itself, which does not change."""
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        """Returns the call that makes it again."""
        return _made_again, (type(self), *self._source, self.sha256)

    def __repr__(self) -> str:
        """Returns the name and the beginning of the hash."""
        return f"<fanin.Recipe {self.name!r}, sha256 {self.sha256[:12]}>"


def _made_again(cls: type[Recipe], method: str, argument: str, sha256: str) -> Recipe:
    """Makes a recipe by a class method.

    Raises:
        RecipeError: Its SHA-256 is another one, because a file or a preset has changed.
    """
    recipe: Recipe = getattr(cls, method)(argument)
    if recipe.sha256 != sha256:
        raise RecipeError(
            f"recipe {recipe.name!r} has changed since it was pickled: its SHA-256 is "
            f"{recipe.sha256}, not {sha256}"
        )
    return recipe


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
    text = path_of("recipe", recipe)
    if text.endswith(".toml"):
        return Recipe.load(text)
    try:
        return Recipe.preset(text)
    except ArgumentError as error:
        raise ArgumentError(f"{error}, or a .toml file") from None


@dataclass(frozen=True)
class PlanPart:
    """A part of a tensor with an initializer of its own.

    Attributes:
        slice: The start and the end of each dimension.
        init: The initializer, as in a recipe.
    """

    slice: tuple[tuple[int, int], ...]
    init: str


@dataclass(frozen=True)
class PlanEntry:
    """One tensor of a plan.

    Attributes:
        name: The tensor's name.
        shape: Its shape.
        dtype: Its dtype, in fanin's words: f32, bf16, i64 and so on.
        init: The initializer with the numbers from the list, or `values(N)`, `keep` or `parts`.
        parts: The parts with initializers of their own. The first one that holds an element
            applies.
        fan_in: The number of inputs of a unit, if the initializer depends on the fans.
        fan_out: The number of outputs of an input, if the initializer depends on the fans.
        tied_to: The tensor whose weights this one has, if its rule ties it.
        same_as: The tensor whose initial weights this one has, if its rule says so.
        is_kept: True if the elements are copied from a file.
        seed: The seed of the tensor.
        stream: The id of its random stream.
        rule: The recipe, the line and the column of its rule, or None without a rule.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    init: str
    parts: tuple[PlanPart, ...]
    fan_in: int | None
    fan_out: int | None
    tied_to: str | None
    same_as: str | None
    is_kept: bool
    seed: int
    stream: int
    rule: tuple[str, int, int] | None


class Plan:
    """A recipe resolved against the tensors of a model, by `Recipe.plan`. It holds no weights.

    It is a container of the names of the tensors, in the order of the list: it has `len(plan)`,
    `name in plan` and `for name in plan`. `plan[name]` is the entry of a tensor.

    Plans do not change. A plan is pickled as its recipe, the tensors, the seed and the dtype. It
    is resolved again later, and files that it reads, such as a list of tensors, are read again
    from their paths.
    """

    _plan: _native.Plan
    _source: tuple[Recipe, str | list[Listed] | None, int, str | None]
    """The recipe, the tensors in plain form, the seed and the dtype."""

    def __init__(self) -> None:
        """Refuses to make a plan without a recipe.

        Raises:
            TypeError: Always.
        """
        raise TypeError("use Recipe.plan")

    @classmethod
    def _of(
        cls,
        native: _native.Plan,
        source: tuple[Recipe, str | list[Listed] | None, int, str | None],
    ) -> Plan:
        """Wraps a plan of the native module, and the arguments that it was made from."""
        plan = object.__new__(cls)
        plan._plan = native
        plan._source = source
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
        threads: SupportsIndex | None = None,
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
            MemoryError: There is no memory for the array.
            TypeError: An argument has a wrong type.
        """
        entry = self[name]
        return _arrays.filled(
            partial(self._plan.fill_at, name, threads=threads),
            name,
            entry.shape,
            _arrays.full_name(entry.dtype),
            dtype=dtype,
            slice=slice,
            out=out,
            progress=progress,
        )

    def fill_at(
        self,
        name: str,
        address: SupportsIndex,
        nbytes: SupportsIndex,
        *,
        dtype: object = None,
        slice: SliceLike | None = None,
        threads: SupportsIndex | None = None,
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

    def __copy__(self) -> Plan:
        """Returns the plan itself, which does not change."""
        return self

    def __deepcopy__(self, memo: object) -> Plan:
        """Returns the plan itself, which does not change."""
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        """Returns the call of `Recipe.plan` that makes it again."""
        return Recipe.plan, self._source

    def __repr__(self) -> str:
        """Returns the numbers of tensors and elements, and the seed."""
        return f"<fanin.Plan of {len(self)} tensors, {self.elements} elements, seed {self.seed}>"
