"""The numbers of a fill, split into constants of a compiled function and its arguments."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from fanin._errors import ArgumentError
from fanin._program import Program
from fanin._recipe import Plan
from fanin.jax._mul import signed

_WORD = 0xFFFF_FFFF

Ranges = tuple[tuple[int, int], ...]
"""The start and the end of each dimension."""


@dataclass(frozen=True)
class Form:
    """The constants of a compiled function. Tensors with equal forms share one."""

    dims: tuple[int, ...]
    """The shape that indices, rows and columns refer to."""
    core: str
    """The way in which elements get their values, as in `Program`."""
    mask: str
    """The elements that are 0, as in `Program`."""
    columns: int
    """The elements of a row, if rows and columns matter, else 0."""
    halves: tuple[int, int]
    """The bits of both halves of the numbers that a sparse mask permutes, else zeros."""
    matrix: tuple[int, int, int, int, bool] | None
    """The place of an orthogonal matrix, as in `Program`."""
    is_held: bool
    """True if values are held within the numbers of a float of 8 bits."""
    parts: tuple[tuple[Ranges, tuple[int, ...], Form], ...] = ()
    """The parts with initializers of their own: their ranges, the element that has index 0 in their
    dims, and their forms. The first one that holds an element applies."""

    @property
    def sends_messages(self) -> bool:
        """True if devices must agree on the end of a loop."""
        return self.mask == "sparse" or any(part.sends_messages for _, _, part in self.parts)


class Arguments(NamedTuple):
    """The arguments of a compiled function, beside the key."""

    numbers: Any
    """The fields of `Numbers` in one array of uint32, which is one transfer to a device."""
    table: Any
    """The lookup table, of shape (entries, 2)."""
    parts: tuple[Arguments, ...] = ()
    """The arguments of the parts."""


class Numbers(NamedTuple):
    """The numbers of a fill on a device, as in `Program`."""

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
    def of(cls, numbers: Any) -> Numbers:
        """Takes the fields out of an array that `_arguments` has made."""
        numbers = jnp.asarray(numbers)
        exponent, multiplier, shift, offset, lowest, highest, constant = numbers[:7]
        return cls(
            signed(exponent),
            multiplier,
            signed(shift),
            signed(offset),
            signed(lowest),
            signed(highest),
            constant,
            pattern=numbers[7:11],
            stream=(numbers[11], numbers[12]),
            bounds=numbers[13:15],
        )


def form_of(plan: Plan, name: str) -> tuple[Form, Arguments]:
    """Returns the constants and the arguments of a tensor's fill.

    Raises:
        ArgumentError: A dimension has more than 32 bits.
        RecipeError: The tensor is kept from a file.
    """
    longest = max(plan[name].shape, default=0)
    if longest > _WORD:
        raise ArgumentError(
            f"tensor {name!r} has a dimension of {longest}: use less than {_WORD + 1}"
        )
    own, *parts = (Program.of(numbers) for numbers in plan._plan.program(name))
    boxes = tuple((part.ranges, part.origin, _form(part)) for part in parts)
    return (
        _form(own, boxes),
        _arguments(own, tuple(_arguments(part) for part in parts)),
    )


def _form(program: Program, parts: tuple[tuple[Ranges, tuple[int, ...], Form], ...] = ()) -> Form:
    _, _, left, right = program.pattern
    return Form(
        dims=program.dims,
        core=program.core,
        mask=program.mask,
        columns=_columns(program),
        halves=(left, right) if program.mask == "sparse" else (0, 0),
        matrix=program.matrix,
        is_held=program.bounds is not None,
        parts=parts,
    )


def _columns(program: Program) -> int:
    """Returns the elements of a row: those of a tap, or one of each tap if the taps are last."""
    if program.matrix is None:
        return program.columns
    rows, columns, taps, _, taps_last = program.matrix
    return taps if taps_last and taps > 1 else rows * columns


def _arguments(program: Program, parts: tuple[Arguments, ...] = ()) -> Arguments:
    numbers = [
        program.exponent,
        program.multiplier,
        program.shift,
        program.offset,
        *(program.clamp or (0, 0)),
        program.constant,
        *program.pattern,
        *program.stream,
    ]
    words = np.array([number & _WORD for number in numbers], np.uint32)
    bounds = np.array(program.bounds or (0, 0), np.float32).view(np.uint32)
    table = np.frombuffer(program.table, "<u4").reshape(-1, 2)
    return Arguments(np.concatenate([words, bounds]), table, parts)
