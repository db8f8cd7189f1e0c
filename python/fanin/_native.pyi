"""The native module. The modules of the package wrap it, and document it for users."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

_Path = str | os.PathLike[str]
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
        self, tensors: _Tensors = None, seed: int | None = None, dtype: object = None
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
        address: int,
        nbytes: int,
        *,
        dtype: object = None,
        slice: _Slice = None,
        threads: int | None = None,
        progress: _Progress = None,
    ) -> None: ...

def fill_at(
    init: str,
    shape: int | Sequence[int],
    address: int,
    nbytes: int,
    *,
    name: str,
    seed: int,
    dtype: object,
    layout: str | None = None,
    slice: _Slice = None,
    threads: int | None = None,
    stream: int | None = None,
    progress: _Progress = None,
) -> None: ...
def program(
    init: str,
    shape: int | Sequence[int],
    *,
    name: str,
    seed: int,
    dtype: object,
    layout: str | None = None,
    stream: int | None = None,
) -> list[dict[str, Any]]: ...
def local_indices(
    shape: int | Sequence[int],
    mesh: int | Sequence[int],
    placements: Sequence[str],
    rank: int,
) -> list[list[tuple[int, int]]]: ...
def shape(shape: int | Sequence[int]) -> tuple[int, ...]: ...
def dtype(dtype: object) -> tuple[str, int]: ...
def init_model(
    recipe: Recipe,
    tensors: _Tensors,
    seed: int | None,
    out: _Path,
    *,
    dtype: object = None,
    max_shard_size: int | str | None = None,
    shard_spec: _Path | None = None,
    rank: int | None = None,
    world_size: int | None = None,
    memory: int | str | None = None,
    resume: bool = False,
    overwrite: bool = False,
    strict: bool = False,
    threads: int | None = None,
    progress: _Progress = None,
) -> dict[str, Any]: ...
def verify(
    path: _Path,
    recipe: Recipe,
    seed: int | None = None,
    tensors: _Tensors = None,
    *,
    threads: int | None = None,
    progress: _Progress = None,
) -> str: ...
def stats(
    path: _Path,
    recipe: Recipe | None = None,
    *,
    threads: int | None = None,
    progress: _Progress = None,
) -> str: ...
def diff(
    start: Recipe | _Path,
    trained: _Path,
    seed: int | None = None,
    tensors: _Tensors = None,
    dtype: object = None,
    *,
    threads: int | None = None,
    progress: _Progress = None,
) -> str: ...
def command(arguments: Sequence[str]) -> int: ...
