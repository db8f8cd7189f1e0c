"""The place in the caller's code that a warning names."""

from __future__ import annotations

import sys


def levels_to_caller() -> int:
    """Returns the `stacklevel` that names the line outside of this package."""
    frame = sys._getframe(1)
    level = 1
    # `seeded` is called through contextlib.
    inner = ("fanin.", "contextlib")
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith(inner):
        frame = frame.f_back
        level += 1
    return level
