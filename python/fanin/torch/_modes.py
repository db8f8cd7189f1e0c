"""Begins and ends recordings.

Two modes work together: `Recorder` sees every torch operation, and `CpuFacade` what Python code
asks about its tensors.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

from fanin.torch._facade import CpuFacade
from fanin.torch._recorder import Recorder
from fanin.torch._replaced import (
    SEEDS_TORCH,
    activate,
    current,
    replace_functions,
    restore_functions,
)
from fanin.torch._replay import plain_torch


@contextmanager
def recording() -> Iterator[Recorder]:
    """Records what the calling thread, and the threads that it starts, do with torch.

    Other threads are not affected. torch's random number generator stays as it was.

    Raises:
        RuntimeError: The thread is recording already.
    """
    if current() is not None:
        raise RuntimeError(
            "a recording cannot begin within a recording: do it outside of the model's constructor"
        )
    recorder = Recorder()
    with _generators(recorder):
        replace_functions()
        activate(recorder)
        try:
            # In inference mode torch decomposes operations before the modes see them. An optimized
            # TorchScript function would keep constants that it has made within the recording.
            unoptimized = torch.jit.optimized_execution(False)  # type: ignore[attr-defined]
            with torch.inference_mode(False), unoptimized, recorder, CpuFacade(recorder):
                yield recorder
        finally:
            recorder.has_ended = True
            activate(None)
            restore_functions()


@contextmanager
def _generators(recorder: Recorder) -> Iterator[None]:
    """Warns at the end if another generator than torch's was used, or torch's was seeded."""
    generator = torch.default_generator
    with plain_torch():
        seed, state = generator.initial_seed(), generator.get_state()
    of_python, of_numpy = random.getstate(), np.random.get_state()
    try:
        yield
    finally:
        # A recording draws nothing from it. Its state is not compared, because other threads draw.
        if generator.initial_seed() != seed:
            recorder.warn(SEEDS_TORCH)
            with plain_torch():
                generator.set_state(state)
        if of_python != random.getstate():
            _warn_of(recorder, "Python's random")
        if any(not np.array_equal(a, b) for a, b in zip(of_numpy, np.random.get_state())):
            _warn_of(recorder, "numpy.random")


def _warn_of(recorder: Recorder, generator: str) -> None:
    recorder.warn(
        f"the model draws from {generator}: its numbers are recorded, and do not follow the seed"
    )
