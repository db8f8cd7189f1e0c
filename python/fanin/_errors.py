"""The exceptions of fanin."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


class FaninError(Exception):
    """The base of all exceptions that fanin raises.

    Arguments of a wrong type raise `TypeError`, arrays that do not fit into memory `MemoryError`,
    and Ctrl-C `KeyboardInterrupt`, as everywhere in Python.
    """

    _tensors: Sequence[str] = ()
    """The names of the tensors that an error of `Recipe.plan` is about, the first ones of many."""


class ArgumentError(FaninError, ValueError):
    """An argument that is out of range, or a text that is not an initializer, a dtype and so on."""


class RecipeError(FaninError, ValueError):
    """A recipe or a shard spec that cannot be read, or that does not fit the tensors of a model."""


class FormatError(FaninError, ValueError):
    """A file or a list of tensors with invalid contents, or a tensor that a file cannot hold."""


class FileError(FaninError, OSError):
    """A file that the operating system cannot read or write.

    `filename` and `errno` are set as those of `OSError`.
    """

    def __str__(self) -> str:
        """Returns the message. `OSError` would return errno and filename instead."""
        return str(self.args[0]) if self.args else ""

    def __reduce__(self) -> tuple[Any, ...]:
        """Returns the parts of a copy, which has the same `errno` and `filename`."""
        state = {**self.__dict__, "errno": self.errno, "filename": self.filename}
        return type(self), self.args, state


class MissingFileError(FileError, FileNotFoundError):
    """A file that does not exist."""


class UnknownTensorError(FaninError, KeyError):
    """A name that no tensor of a plan has."""

    def __str__(self) -> str:
        """Returns the message. `KeyError` would return it in quotes."""
        return str(self.args[0]) if self.args else ""


def shown(value: object) -> str:
    """Returns a value for a message, as Python shows it, on one line and shortened."""
    try:
        text = " ".join(repr(value).split())
    except Exception:
        # Python refuses to show ints of thousands of digits, and other classes can refuse, too.
        return f"of type {type(value).__name__}"
    return text if len(text) <= 100 else f"{text[:100]}..."
