"""Texts of TOML."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from fanin._errors import RecipeError, shown


def document(keys: Mapping[str, Any], table: str, rows: Iterable[Mapping[str, Any]]) -> str:
    """Returns a document of keys, followed by an array of tables.

    Args:
        keys: The keys at the top.
        table: The name of the tables.
        rows: The keys of each table.

    Raises:
        RecipeError: A value contains itself.
        TypeError: TOML has no form for a value, or a row is not a mapping.
    """
    lines = [_line(key, one, "") for key, one in keys.items()]
    for number, row in enumerate(rows, 1):
        if not isinstance(row, Mapping):
            raise TypeError(f"a {table} is a {type(row).__name__}: use a dict")
        lines.append(f"\n[[{table}]]\n")
        lines.extend(_line(key, one, f"{table} {number}: ") for key, one in row.items())
    return "".join(lines)


def _line(key: object, one: object, place: str) -> str:
    """Returns a key with its value."""
    try:
        return f"{_key(key)} = {value(one)}\n"
    except RecursionError:
        raise RecipeError(f"{place}{shown(key)} contains itself, or is nested too deeply") from None
    except ValueError as error:
        raise RecipeError(f"{place}{shown(key)} cannot be written as TOML: {error}") from None


def value(one: object) -> str:
    """Returns a value as TOML.

    Raises:
        TypeError: TOML has no form for it.

    Examples:
        >>> value({"slice": "0:2", "values": [1, 0.5, float("inf")]})
        '{ slice = "0:2", values = [1, 0.5, inf] }'
    """
    if isinstance(one, bool):
        return "true" if one else "false"
    if isinstance(one, str):
        # A string of JSON is one of TOML, but for DEL, which TOML wants escaped.
        return json.dumps(one, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(one, Mapping):
        return (
            "{ " + ", ".join(f"{_key(key)} = {value(inner)}" for key, inner in one.items()) + " }"
        )
    if hasattr(one, "tolist") and not isinstance(one, type):
        # An array or a number of numpy.
        return value(one.tolist())
    if isinstance(one, Sequence):
        return "[" + ", ".join(value(item) for item in one) + "]"
    if isinstance(one, int):
        return str(one)
    if isinstance(one, float):
        return repr(one) if math.isfinite(one) else str(one)
    raise TypeError(f"{shown(one)} is a {type(one).__name__}, for which TOML has no form")


def _key(key: object) -> str:
    """Returns a key, quoted unless it is a bare one."""
    if not isinstance(key, str):
        raise TypeError(f"key {shown(key)} is a {type(key).__name__}: use a str")
    is_bare = key.isascii() and key.replace("_", "").replace("-", "").isalnum()
    return key if is_bare else value(key)
