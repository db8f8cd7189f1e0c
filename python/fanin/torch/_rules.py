"""Recipes as text: tensors with the same weights share a rule, whose globs match nothing else in the list."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Optional, Union

Slice = tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Part:
    """A part of a tensor with an initializer, or with values, of its own."""

    slice: Slice
    init: Optional[str] = None
    values: Optional[tuple[float, ...]] = None


@dataclass(frozen=True)
class Assignment:
    """What a rule gives a tensor: one of `init`, `values`, `tied_to`, `same_as`, `keep` and `skip`."""

    key: str
    value: Union[str, bool, tuple[float, ...]]
    parts: tuple[Part, ...] = ()
    comment: str = ""


@dataclass(frozen=True)
class Item:
    """A tensor of the list."""

    name: str
    shape: tuple[int, ...]
    assignment: Assignment


def escaped(name: str) -> str:
    """Returns a glob that matches one name only."""
    return "".join("\\" + c if c in "*?[]{}\\!" else c for c in name)


def quoted(text: str) -> str:
    """Returns a text as TOML writes it."""
    table = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t"}
    body = "".join(table.get(c, c if ord(c) >= 32 and ord(c) != 127 else f"\\u{ord(c):04x}") for c in text)
    return f'"{body}"'


def recipe_text(items: Sequence[Item], header: Sequence[str] = (), top: Sequence[str] = ()) -> str:
    """Returns the recipe that gives each tensor of a list its assignment.

    Args:
        items: The tensors, in the order of the list.
        header: Lines of a comment at the top.
        top: Lines of keys for the whole recipe, such as `seed = 1`.
    """
    lines = [f"# {line}".rstrip() for line in header]
    if top:
        lines += ["", *top]
    groups: dict[Assignment, list[str]] = {}
    for item in items:
        groups.setdefault(item.assignment, []).append(item.name)
    for assignment, names in groups.items():
        lines += ["", *_rule(assignment, [escaped(name) for name in names])]
    return "\n".join(lines).lstrip("\n") + "\n"


def _rule(assignment: Assignment, globs: Sequence[str]) -> list[str]:
    lines = ["[[rule]]"]
    if assignment.comment:
        lines.append(f"# {assignment.comment}")
    if len(globs) == 1:
        lines.append(f"match = {quoted(globs[0])}")
    else:
        lines += ["match = [", *(f"    {quoted(glob)}," for glob in globs), "]"]
    if assignment.value != "":
        lines.append(f"{assignment.key} = {_value(assignment.value)}")
    if assignment.parts:
        lines += ["parts = [", *(f"    {_part(part)}," for part in assignment.parts), "]"]
    return lines


def _value(value: Union[str, bool, tuple[float, ...]]) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return quoted(value) if isinstance(value, str) else _numbers(value)


def _numbers(values: Sequence[float]) -> str:
    return "[" + ", ".join(number(value) for value in values) + "]"


def number(value: float) -> str:
    """Returns a number as TOML writes it."""
    text = repr(float(value))
    return text[:-2] if text.endswith(".0") else text


def _part(part: Part) -> str:
    ranges = ", ".join(f"{start}" if end == start + 1 else f"{start}:{end}" for start, end in part.slice)
    content = f"init = {quoted(part.init)}" if part.init is not None else f"values = {_numbers(part.values or ())}"
    return f"{{ slice = {quoted(ranges)}, {content} }}"
