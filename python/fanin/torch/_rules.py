"""Recipes as text: tensors with the same weights share a rule."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fanin.torch._globs import Names, escaped, with_beginning

#: The keys of rules that name another tensor.
OTHERS = ("tied_to", "same_as")


@dataclass(frozen=True)
class Part:
    """A part of a tensor with an initializer or values of its own. `slice` is text."""

    slice: str
    init: str | None = None
    values: tuple[float, ...] | None = None


@dataclass(frozen=True)
class Assignment:
    """The key of a recipe that a rule gives a tensor, and its value."""

    key: str
    value: str | bool | tuple[float, ...]
    parts: tuple[Part, ...] = ()
    comment: str = ""


@dataclass(frozen=True)
class Item:
    """A tensor of the list."""

    name: str
    assignment: Assignment


def quoted(text: str) -> str:
    """Returns a text as TOML writes it."""
    table = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t"}
    body = "".join(
        table.get(c, c if ord(c) >= 32 and ord(c) != 127 else f"\\u{ord(c):04x}") for c in text
    )
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
    if not items:
        # A recipe needs a rule. No tensor meets this one.
        lines += ["", *_rule(Assignment("skip", True), ["*"])]
    groups: dict[Assignment, list[str]] = {}
    for item in items:
        groups.setdefault(item.assignment, []).append(item.name)
    numbers = {assignment: number for number, assignment in enumerate(groups)}
    names = Names({item.name: numbers[item.assignment] for item in items})
    others = {assignment: group for assignment, group in groups.items() if assignment.key in OTHERS}
    for assignment, group in groups.items():
        if assignment not in others:
            lines += ["", *_rule(assignment, names.globs(group))]
    for assignment, globs in _copies(others):
        lines += ["", *_rule(assignment, globs)]
    return "\n".join(lines).lstrip("\n") + "\n"


def _copies(groups: Mapping[Assignment, list[str]]) -> list[tuple[Assignment, list[str]]]:
    """Returns rules for tensors with the weights of others, which come last.

    Every other tensor has an earlier rule, so a glob such as `layers.1.*` only meets the copies
    among its names. The star of `same_as = "layers.0.*"` stands for the same text.
    """
    pairs = [
        (assignment.key, name, str(assignment.value))
        for assignment, group in groups.items()
        for name in group
    ]
    blocks: dict[tuple[str, str], dict[str, list[str]]] = {}
    for key, name, other in pairs:
        shared = _shared_ending(name, other)
        block = blocks.setdefault((key, other[: len(other) - len(shared)]), {})
        block.setdefault(name[: len(name) - len(shared)], []).append(name)
    targets = {name: (key, other) for key, name, other in pairs}
    ordered = sorted(targets)
    rules: list[tuple[Assignment, list[str]]] = []
    plain: dict[Assignment, list[str]] = {}
    for (key, start), prefixes in blocks.items():
        globs = []
        for prefix, names in prefixes.items():
            first, end = with_beginning(ordered, prefix)
            matched = ordered[first:end]
            agree = all(targets[name] == (key, start + name[len(prefix) :]) for name in matched)
            if len(names) > 1 and agree and escaped(prefix + start) == prefix + start:
                globs.append(f"{prefix}*")
            else:
                for name in names:
                    plain.setdefault(Assignment(key, targets[name][1]), []).append(escaped(name))
        if globs:
            rules.append((Assignment(key, f"{start}*"), globs))
    # Names before globs: a glob must not take a name that another rule is for.
    return [*plain.items(), *rules]


def _shared_ending(name: str, other: str) -> str:
    """Returns the longest common ending of two names that begins at a part of both."""
    length = 0
    while length < min(len(name), len(other)) and name[-1 - length] == other[-1 - length]:
        length += 1
    ending = name[len(name) - length :]
    if length == len(name) or length == len(other):
        whole = length == len(name) and other[-length - 1 : -length] == "."
        whole = whole or (length == len(other) and name[-length - 1 : -length] == ".")
        if whole:
            return ending
    dot = ending.find(".")
    return ending[dot + 1 :] if dot >= 0 else ""


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


def _value(value: str | bool | tuple[float, ...]) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return quoted(value) if isinstance(value, str) else _numbers(value)


def _numbers(values: Sequence[float]) -> str:
    return "[" + ", ".join(number(value) for value in values) + "]"


def number(value: float) -> str:
    """Returns a number as TOML writes it."""
    text = repr(float(value))
    # A whole number of TOML has no minus zero.
    return text[:-2] if text.endswith(".0") and text != "-0.0" else text


def _part(part: Part) -> str:
    content = (
        f"init = {quoted(part.init)}"
        if part.init is not None
        else f"values = {_numbers(part.values or ())}"
    )
    return f"{{ slice = {quoted(part.slice)}, {content} }}"


def slice_text(ranges: Sequence[tuple[int, int]], shape: Sequence[int]) -> str:
    """Returns ranges of a shape as a recipe writes them, without whole dimensions at the end."""
    texts = []
    for (start, end), size in zip(ranges, shape):
        if (start, end) == (0, size):
            texts.append(":")
        else:
            texts.append(f"{start}" if end == start + 1 else f"{start}:{end}")
    while len(texts) > 1 and texts[-1] == ":":
        texts.pop()
    return ", ".join(texts) or ":"
