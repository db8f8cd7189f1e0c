"""Progress of long work."""

from __future__ import annotations

import time
from typing import Any, Callable, Union

from fanin._errors import shown

ProgressLike = Union[bool, Callable[[int, int], object], None]
"""None for a bar on a terminal, a bool, or a function of the bytes done and those of all."""

_DELAY = 1.0
"""The seconds before a bar appears. Work that takes less needs none, nor the import of tqdm."""


class Progress:
    """Reports the progress of work on a number of bytes.

    With None, a bar of tqdm appears after a second, if tqdm is installed and standard error is a
    terminal. With True, it appears on anything else as well. A function is called with the bytes
    that are done and the bytes of all.
    """

    def __init__(self, progress: ProgressLike, *title: object) -> None:
        """Takes the argument `progress` of a function, and the words of the title of the bar.

        Raises:
            TypeError: `progress` is neither None, nor a bool, nor a function.
        """
        if not (progress is None or isinstance(progress, bool) or callable(progress)):
            raise TypeError(
                f"progress {shown(progress)}: use None, a bool, or a function of two numbers"
            )
        self._progress = progress
        self._title = title
        self._start = time.monotonic()
        self._done = 0
        self._bar: Any | None = None

    @property
    def callback(self) -> Callable[[int, int], None] | None:
        """The function for the native module, or None if nothing is to be reported."""
        return None if self._progress is False else self._report

    def _report(self, made: int, total: int) -> None:
        self._done += made
        if callable(self._progress):
            self._progress(self._done, total)
        elif self._bar is not None:
            self._bar.update(made)
        elif time.monotonic() - self._start >= _DELAY:
            self._bar = self._new_bar(total)

    def _new_bar(self, total: int) -> Any:
        try:
            from tqdm.auto import tqdm  # type: ignore[import-untyped, unused-ignore]
        except ImportError:
            self._progress = False
            return None
        # None hides the bar unless standard error is a terminal.
        disable = False if self._progress else None
        return tqdm(
            total=total,
            initial=self._done,
            desc=" ".join(map(str, self._title)),
            unit="B",
            unit_scale=True,
            disable=disable,
        )

    def __enter__(self) -> Progress:
        """Returns itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Closes the bar."""
        if self._bar is not None:
            self._bar.close()
