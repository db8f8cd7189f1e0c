"""All weights of a model, as a pytree of arrays."""

from __future__ import annotations

import warnings
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from fanin import _arrays
from fanin._errors import ArgumentError
from fanin._recipe import Plan, RecipeLike, recipe_of
from fanin._warnings import levels_to_caller
from fanin.jax import _device, _host, _seed, _tree
from fanin.jax._form import form_of
from fanin.jax._philox import Words

_STAND_IN = 0x9D1C_5A4E_C3F7_2B86
"""The seed of a plan whose own seed is traced. A tensor with another one has it from its rule."""


def init(
    recipe: RecipeLike,
    shapes: Any,
    seed: _seed.SeedLike | None = None,
    *,
    sharding: Any = None,
    dtype: object = None,
) -> Any:
    """Returns the initial weights of a model, as a tree of arrays.

    The weights are those of `fanin.init_model` with the same recipe, names, shapes and seed, bit
    for bit, on every device and with every sharding. Each device makes its own part, and nothing
    is sent. The name of a tensor is its path in the tree: names, keys and numbers, joined by dots.
    The attribute `value`, in which variables of Flax hold an array, is not part of the name.

    Arrays on the CPU are filled by the crate, on all cores. Other devices compute their arrays
    themselves, by functions that XLA compiles once for tensors of one shape, sharding and kind of
    distribution. In a function that JAX traces, all devices do so.

    Orthogonal matrices differ by up to 1e-5 times their gain between the two ways.

    Args:
        recipe: A recipe, the name of a preset such as `"flax"`, or a .toml file.
        shapes: A pytree of anything with a shape and a dtype, such as the tree that
            `jax.eval_shape` returns.
        seed: A whole number from 0 to 2^64 - 1, a key of `jax.random`, or an array of no
            dimensions. It can be traced. The key `jax.random.key(n)` is the seed n. By default it
            is the seed of the recipe.
        sharding: The sharding of all arrays, or a tree of them whose structure is a prefix of that
            of `shapes`. A `PartitionSpec` is one on the mesh of `jax.set_mesh`. By default it is
            the sharding that a leaf has, else the default device.
        dtype: The dtype of all tensors of floats, as for `Recipe.plan`.

    Returns:
        A tree of the structure of `shapes`. Tensors that the recipe skips are left as they are.

    Raises:
        RecipeError: A tensor has no rule, or a rule cannot initialize it, or there is no seed.
        ArgumentError: An argument is out of range, or a leaf is not a tensor of weights.
        ValueError: JAX cannot shard a tensor so.

    Examples:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> shapes = {"fc": {"kernel": jax.ShapeDtypeStruct((784, 512), jnp.float32)}}
        >>> init("flax", shapes, seed=42)["fc"]["kernel"].shape
        (784, 512)
    """
    leaves, tree = _tree.leaves(shapes, sharding)
    number = None if seed is None else _seed.number(seed)
    traced = None if seed is None or number is not None else _seed.words(seed)
    listed = [(leaf.name, leaf.shape, leaf.given.dtype) for leaf in leaves]
    plan = recipe_of(recipe).plan(listed, number if traced is None else _STAND_IN, dtype)
    for message in plan.unused:
        warnings.warn(message, stacklevel=levels_to_caller())
    return tree.unflatten([_array(leaf, plan, traced) for leaf in leaves])


def _array(leaf: _tree.Leaf, plan: Plan, seed: Words | None) -> Any:
    """Returns the array of a leaf, from the words of a traced seed or the seed of the plan."""
    if leaf.name not in plan:
        return leaf.given
    entry = plan[leaf.name]
    dtype = _dtype(leaf.name, entry.dtype)
    # The rule of a tensor can have a seed of its own.
    own = seed if seed is not None and entry.seed == _STAND_IN else _seed.words(entry.seed)
    if _device.is_traced(*own):
        if entry.is_kept:
            return jnp.asarray(plan.fill(leaf.name, dtype=dtype, progress=False))
        return _device.made(*form_of(plan, leaf.name), dtype, own, leaf.sharding)
    sharding = _tree.on_mesh(leaf.sharding)
    if not entry.is_kept and not _host.is_host(sharding):
        form, arguments = form_of(plan, leaf.name)
        if not form.sends_messages:
            return _device.made(form, arguments, dtype, own, sharding)
    return _host.filled(plan, leaf.name, dtype, sharding)


def _dtype(name: str, known: str) -> np.dtype[Any]:
    """Returns the dtype of an array from fanin's name of it."""
    dtype = _arrays.dtypes(_arrays.full_name(known))[1]
    if jax.dtypes.canonicalize_dtype(dtype) != dtype:
        raise ArgumentError(
            f"tensor {name!r} has dtype {dtype}, and JAX has no such arrays: use another dtype, or "
            "jax.config.update('jax_enable_x64', True)"
        )
    return dtype
