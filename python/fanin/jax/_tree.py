"""Names, shapes, dtypes and shardings of the leaves of a pytree."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Union

import jax
import jax.numpy as jnp
from jax import tree_util
from jax.sharding import AbstractMesh, NamedSharding, PartitionSpec, Sharding

from fanin._errors import ArgumentError

ShardingLike = Union[Sharding, PartitionSpec, None]
"""A sharding, or a spec for the mesh of `jax.set_mesh`."""


@dataclass(frozen=True)
class Leaf:
    """A leaf of a pytree."""

    name: str
    """Its path: names, keys and numbers, joined by dots."""
    given: Any
    """The leaf itself."""
    sharding: ShardingLike
    """The sharding of the array to make."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Its shape."""
        return tuple(self.given.shape)


def leaves(shapes: Any, sharding: Any) -> tuple[list[Leaf], Any]:
    """Returns the leaves of a tree and its structure.

    Args:
        shapes: A pytree of arrays or of `jax.ShapeDtypeStruct`.
        sharding: The sharding of all leaves, a tree of shardings whose structure is a prefix of
            that of the shapes, or None for the shardings that the leaves have.

    Raises:
        ArgumentError: A leaf has no shape, or holds keys.
        ValueError: The tree of shardings does not fit.
    """
    paths, tree = tree_util.tree_flatten_with_path(shapes)
    shardings: list[ShardingLike]
    if sharding is None:
        shardings = [_own_sharding(leaf) for _, leaf in paths]
    else:
        shardings = _of_each(sharding, shapes)
    found = [
        Leaf(_checked_name(path, leaf), leaf, one)
        for (path, leaf), one in zip(paths, shardings, strict=True)
    ]
    return found, tree


@dataclass(frozen=True)
class _Given:
    """The sharding of a leaf. Unlike None, it is a leaf itself."""

    sharding: ShardingLike


def _of_each(sharding: Any, shapes: Any) -> list[ShardingLike]:
    """Returns the sharding of each leaf. None among the shapes is no leaf, and has none."""

    def of_branch(one: ShardingLike, branch: Any) -> Any:
        return jax.tree.map(lambda _: _Given(one), branch)

    given = jax.tree.map(of_branch, sharding, shapes, is_leaf=_is_sharding)
    return [each.sharding for each in jax.tree.leaves(given)]


def _is_sharding(node: object) -> bool:
    return node is None or isinstance(node, (Sharding, PartitionSpec))


def on_mesh(sharding: ShardingLike) -> Sharding | None:
    """Returns a sharding, with the context's mesh if it is a spec or has an abstract mesh.

    `jax.eval_shape` gives abstract meshes to shapes.

    Raises:
        ArgumentError: There is no mesh.
    """
    if isinstance(sharding, NamedSharding) and isinstance(sharding.mesh, AbstractMesh):
        sharding = sharding.spec
    if not isinstance(sharding, PartitionSpec):
        return sharding
    mesh = jax.sharding.get_mesh()
    if mesh.empty:
        raise ArgumentError(
            f"sharding {sharding} has no mesh: use jax.sharding.NamedSharding(mesh, spec), or call "
            "within jax.set_mesh(mesh)"
        )
    return NamedSharding(mesh, sharding)


def _own_sharding(leaf: Any) -> Sharding | None:
    """Returns the sharding that a shape names, or an array is committed to."""
    is_array = isinstance(leaf, jax.Array)
    if is_array and (isinstance(leaf, jax.core.Tracer) or not leaf.committed):
        return None
    sharding = getattr(leaf, "sharding", None)
    return sharding if isinstance(sharding, Sharding) else None


def _checked_name(path: tuple[Any, ...], leaf: Any) -> str:
    # The variables of Flax hold their array in an attribute `value`, which is not part of the name.
    last = path[-1] if path else None
    if len(path) > 1 and isinstance(last, tree_util.GetAttrKey) and last.name == "value":
        path = path[:-1]
    name = tree_util.keystr(path, simple=True, separator=".")
    if not hasattr(leaf, "shape") or not hasattr(leaf, "dtype"):
        raise ArgumentError(
            f"tensor {name!r} is a {type(leaf).__name__}, which has no shape and dtype: "
            "use jax.eval_shape"
        )
    if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        raise ArgumentError(
            f"tensor {name!r} holds keys of jax.random, which are no weights: leave it out, "
            "as nnx.state(model, nnx.Param) does"
        )
    return name
