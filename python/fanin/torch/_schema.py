"""The parts of torch's operator schemas that a recording needs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch._ops import OpOverload


def base_name(func: OpOverload) -> str:
    """Returns the name of an operation: `normal` for `aten::normal_.default`."""
    name: str = func._schema.name.split("::")[1]
    return name[:-1] if name.endswith("_") and not name.endswith("__") else name


def bound_arguments(
    func: OpOverload, args: Sequence[Any], kwargs: Mapping[str, Any]
) -> dict[str, Any]:
    """Returns the arguments of an operation by name, with the defaults of its schema."""
    bound: dict[str, Any] = {}
    for position, argument in enumerate(func._schema.arguments):
        if position < len(args):
            bound[argument.name] = args[position]
        elif argument.name in kwargs:
            bound[argument.name] = kwargs[argument.name]
        elif argument.has_default_value():
            bound[argument.name] = argument.default_value
    return bound


#: Operations that change arguments in training, although their schemas do not say so.
_UPDATE_STATISTICS = frozenset(
    "batch_norm_update_stats cudnn_batch_norm miopen_batch_norm native_batch_norm".split()
)


def written(func: OpOverload, bound: Mapping[str, Any]) -> list[str]:
    """Returns the names of the arguments that an operation changes.

    Args:
        func: The operation.
        bound: Its arguments by name, from `bound_arguments`.
    """
    if base_name(func) in _UPDATE_STATISTICS and bound.get("training", True):
        return ["running_mean", "running_var"]
    arguments = func._schema.arguments
    return [a.name for a in arguments if a.alias_info is not None and a.alias_info.is_write]


def outputs(func: OpOverload) -> list[str]:
    """Returns the names of the arguments that an operation writes without reading them."""
    return [argument.name for argument in func._schema.arguments if argument.is_out]


def returns_view(func: OpOverload) -> bool:
    """Returns true for an operation whose results are views of its arguments."""
    returns = func._schema.returns
    return bool(returns) and all(
        result.alias_info is not None and not result.alias_info.is_write for result in returns
    )
