"""Paths of files, in the forms that Python code has them."""

from __future__ import annotations

import os

from fanin._errors import ArgumentError, shown


def path_of(what: str, path: str | os.PathLike[str]) -> str:
    """Returns a path as text.

    Args:
        what: The name of the argument, for messages.
        path: A path that is not bytes.

    Raises:
        ArgumentError: The file system cannot encode the path.
        TypeError: It is no path, or one of bytes.
    """
    text = path
    if isinstance(path, os.PathLike):
        text = path.__fspath__()
    if not isinstance(text, str):
        kind = type(path).__name__
        hint = ": use os.fsdecode" if isinstance(text, bytes) else ""
        of_bytes = " of bytes" if isinstance(text, bytes) and text is not path else ""
        raise TypeError(f"{what} is a {kind}{of_bytes}, not a str or a path of text{hint}")
    try:
        os.fsencode(text)
    except UnicodeEncodeError as error:
        raise ArgumentError(f"{what} {shown(text)} is not a path: {error.reason}") from None
    return text
