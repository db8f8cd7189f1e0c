"""The numbers of a fill, split into constants of a compiled function and its arguments."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import numpy as np

from fanin.jax._mul import signed


@dataclass(frozen=True)
class Form:
    """The constants of a compiled function. Tensors with equal forms share one."""

    core: str
    """The way in which elements get their values, a key of `_CORES` in `_elements.py`."""
    mask: str
    """The elements that are zero, a key of `_MASKS` in `_elements.py`."""
    dims: tuple[int, ...]
    """The shape that the indices of elements refer to."""
    columns: int
    """The elements of a row, if rows and columns matter."""
    pattern: tuple[int, int, int, int]
    """The numbers of the mask or of the matrix, if loops or shapes depend on them; else zeros."""
    box: tuple[tuple[int, int], ...] | None
    """The ranges of a part with an initializer of its own."""
    is_apart: bool
    """True for a part whose elements are numbered by themselves."""
    is_held: bool
    """True if values are held within the numbers of a float of 8 bits."""
    parts: tuple[Form, ...]
    """The parts with initializers of their own. The first one that holds an element applies."""


class Arguments(NamedTuple):
    """The arguments of a compiled function beside the key. They are arrays of numpy or traced."""

    numbers: Any
    """The fields of `Numbers`, as uint32."""
    table: Any
    """The lookup table of the core, of shape (entries, 2)."""
    parts: tuple[Arguments, ...]
    """The arguments of the parts."""


class Program(NamedTuple):
    """A fill as a compiled function takes it."""

    form: Form
    arguments: Arguments


class Numbers(NamedTuple):
    """The numbers that scale what is drawn, on a device."""

    exponent: jax.Array
    multiplier: jax.Array
    shift: jax.Array
    offset: jax.Array
    lowest: jax.Array
    highest: jax.Array
    constant: jax.Array
    pattern: jax.Array
    stream: tuple[jax.Array, jax.Array]
    bounds: jax.Array

    @classmethod
    def of(cls, numbers: jax.Array) -> Numbers:
        """Takes the fields out of one array, which is one transfer to a device."""
        scaling = [signed(numbers[k]) for k in range(6)]
        scaling[1] = numbers[1]
        return cls(
            *scaling,
            constant=numbers[6],
            pattern=numbers[7:11],
            stream=(numbers[11], numbers[12]),
            bounds=numbers[13:15],
        )
