"""The native module. The modules of the package wrap it, and document it for users."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, SupportsIndex

_Path = str | os.PathLike[str]
_Axes = SupportsIndex | Sequence[SupportsIndex]
# Or an array of numpy.
_Shape = SupportsIndex | Sequence[SupportsIndex] | Any
_Tensors = _Path | list[tuple[str, Any, Any]] | None
_Slice = str | Sequence[tuple[int, int]] | None
_Progress = Callable[[int, int], object] | None

STREAM_VERSION: int
__version__: str

class Recipe:
    @staticmethod
    def preset(name: str) -> Recipe: ...
    @staticmethod
    def presets() -> list[str]: ...
    @staticmethod
    def from_toml(text: str) -> Recipe: ...
    @staticmethod
    def load(path: _Path) -> Recipe: ...
    @property
    def name(self) -> str: ...
    @property
    def text(self) -> str: ...
    @property
    def sha256(self) -> str: ...
    @property
    def seed(self) -> int | None: ...
    @property
    def tensors(self) -> Path | None: ...
    def plan(
        self, tensors: _Tensors = None, seed: SupportsIndex | None = None, dtype: object = None
    ) -> Plan: ...

class Plan:
    @property
    def names(self) -> list[str]: ...
    @property
    def seed(self) -> int: ...
    @property
    def elements(self) -> int: ...
    @property
    def bytes(self) -> int: ...
    @property
    def skipped(self) -> list[str]: ...
    @property
    def unused(self) -> list[str]: ...
    def __len__(self) -> int: ...
    def __contains__(self, name: str, /) -> bool: ...
    def entry(self, name: str) -> dict[str, Any]: ...
    def program(self, name: str, dtype: object = None) -> list[dict[str, Any]]: ...
    def fill_at(
        self,
        name: str,
        address: SupportsIndex,
        nbytes: SupportsIndex,
        *,
        dtype: object = None,
        slice: _Slice = None,
        threads: SupportsIndex | None = None,
        progress: _Progress = None,
    ) -> None: ...

def fill_at(
    init: str,
    shape: _Shape,
    address: SupportsIndex,
    nbytes: SupportsIndex,
    *,
    name: str,
    seed: SupportsIndex,
    dtype: object,
    layout: str | None = None,
    groups: SupportsIndex = 1,
    in_axis: _Axes | None = None,
    out_axis: _Axes | None = None,
    batch_axis: _Axes | None = None,
    slice: _Slice = None,
    threads: SupportsIndex | None = None,
    stream: SupportsIndex | None = None,
    progress: _Progress = None,
) -> None: ...
def program(
    init: str,
    shape: _Shape,
    *,
    name: str,
    seed: SupportsIndex,
    dtype: object,
    layout: str | None = None,
    groups: SupportsIndex = 1,
    in_axis: _Axes | None = None,
    out_axis: _Axes | None = None,
    batch_axis: _Axes | None = None,
    stream: SupportsIndex | None = None,
) -> list[dict[str, Any]]: ...
def local_indices(
    shape: _Shape,
    mesh: SupportsIndex | Sequence[SupportsIndex],
    placements: Sequence[str],
    rank: SupportsIndex,
) -> list[list[tuple[int, int]]]: ...
def shape(shape: _Shape) -> tuple[int, ...]: ...
def dtype(dtype: object) -> tuple[str, int]: ...
def init_model(
    recipe: Recipe,
    tensors: _Tensors,
    seed: SupportsIndex | None,
    out: _Path,
    *,
    dtype: object = None,
    max_shard_size: SupportsIndex | str | None = None,
    shard_spec: _Path | None = None,
    rank: SupportsIndex | None = None,
    world_size: SupportsIndex | None = None,
    memory: SupportsIndex | str | None = None,
    resume: bool = False,
    overwrite: bool = False,
    strict: bool = False,
    threads: SupportsIndex | None = None,
    progress: _Progress = None,
) -> dict[str, Any]: ...
def verify(
    path: _Path,
    recipe: Recipe,
    seed: SupportsIndex | None = None,
    tensors: _Tensors = None,
    *,
    threads: SupportsIndex | None = None,
    progress: _Progress = None,
) -> tuple[str, list[Path | None]]: ...
def stats(
    path: _Path,
    recipe: Recipe | None = None,
    *,
    threads: SupportsIndex | None = None,
    progress: _Progress = None,
) -> str: ...
def diff(
    start: Recipe | _Path,
    trained: _Path,
    seed: SupportsIndex | None = None,
    tensors: _Tensors = None,
    dtype: object = None,
    *,
    threads: SupportsIndex | None = None,
    progress: _Progress = None,
) -> str: ...
def command(arguments: Sequence[str]) -> int: ...
