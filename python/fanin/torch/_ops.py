"""The effect of torch operations on known values: draws, constants, copies, arithmetic.

An operation without an entry here gives a known value if all its inputs are known, else a computed
one, whose numbers come from a replay. So entries save replays, and are not needed for correctness.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Callable

import torch

from fanin.torch import _forms as forms
from fanin.torch._forms import STRUCTURED, Form, Normal, Orthogonal, QrFactor, Uniform
from fanin.torch._replay import plain_torch
from fanin.torch._storage import (
    Computed,
    Drawn,
    Geometry,
    Known,
    Mixed,
    Ref,
    Simple,
    Uninit,
    Value,
    simple_values,
    sources_of,
)

#: Operations that draw random numbers.
RANDOM = frozenset(
    """_sample_dirichlet _standard_gamma bernoulli binomial cauchy exponential geometric log_normal
    multinomial native_dropout normal normal_functional poisson rand rand_like randint randint_like
    randn randn_like random randperm rrelu_with_noise uniform""".split()
)
#: In-place operations that change what a tensor views, and no value.
GEOMETRY = frozenset(
    "as_strided detach requires_grad set squeeze swapaxes swapdims t transpose unsqueeze".split()
)
#: Operations that write every element of an argument without reading it.
OVERWRITING = frozenset(
    """bernoulli cauchy copy exponential fill geometric log_normal normal random uniform
    zero""".split()
)

_EMPTY = frozenset(
    "empty empty_like empty_permuted empty_strided new_empty new_empty_strided".split()
)
_CONSTANTS = dict.fromkeys(("zero", "zeros", "zeros_like", "new_zeros"), 0.0)
_CONSTANTS.update(dict.fromkeys(("ones", "ones_like", "new_ones"), 1.0))
#: Operations that write one number, and the argument that it is.
_FILLS = {
    "fill": "value",
    "full": "fill_value",
    "full_like": "fill_value",
    "new_full": "fill_value",
    "scalar_tensor": "s",
}
_COPIES = frozenset(
    """_reshape_copy _to_copy alias_copy clone contiguous detach_copy lift lift_fresh_copy
    view_copy""".split()
)
_UNARY = frozenset(
    """abs atanh cos erf erfinv exp expm1 log log1p logit neg reciprocal rsqrt sigmoid sin softplus
    special_erfinv sqrt square tanh""".split()
)
_BINARY = frozenset("add div mul pow rsub sub".split())
_CLAMPS = frozenset("clamp clamp_max clamp_min clip hardtanh".split())
_ELEMENTWISE = _UNARY | _BINARY | _CLAMPS


@dataclass
class Call:
    """An operation on recorded tensors, with its arguments by name."""

    name: str  # without the trailing underscore of in-place operations
    bound: dict[str, Any]
    targets: Sequence[Ref]  # the views that it writes: those that it changes, else its results
    inputs: Sequence[Any]  # the tensors that it reads: a Ref, or a tensor with data
    read: Callable[[Ref], Value]
    number: Callable[[Ref], float]  # the value of a known tensor of one element
    new_source: Callable[[], int]
    draw: int | None = None  # the number of the draw that it is

    def value(self, argument: Any) -> Value:
        """Returns what is known of a tensor argument."""
        return self.read(argument) if isinstance(argument, Ref) else Known()

    def scalar(self, argument: Any) -> float | None:
        """Returns an argument as a number: itself, or what all elements of a known tensor are."""
        if isinstance(argument, (bool, int, float)):
            return float(argument) if _is_exact(argument) else None
        if isinstance(argument, torch.Tensor):
            return common_number(argument)
        if isinstance(argument, Ref):
            value = self.read(argument)
            if isinstance(value, Known):
                if value.constant is not None:
                    return value.constant
                if argument.numel == 1 and not argument.dtype.is_complex:
                    return self.number(argument)
        return None


def common_number(data: torch.Tensor) -> float | None:
    """Returns the number that all elements of a tensor are, if there is one."""
    if data.numel() == 0 or data.is_complex():
        return None
    first = data.reshape(-1)[0]
    is_one = (data == first).all() and (data.signbit() == first.signbit()).all()
    return float(first) if bool(is_one) and _is_exact(first.item()) else None


def _is_exact(number: float) -> bool:
    """Returns true unless a whole number may be rounded as a float of Python."""
    return isinstance(number, float) or abs(number) <= 2**53


Writes = list[tuple[Ref, Value]]


def interpret(call: Call) -> Writes:
    """Returns what is known of the views that an operation wrote."""
    if call.name in _EMPTY:
        return [(target, Uninit()) for target in call.targets]
    if call.name in ("cat", "stack"):
        return _concatenation(call)
    if call.name == "linalg_qr":
        values = _qr(call)
    elif call.draw is not None:
        values = [_drawn(call)] * len(call.targets)
    else:
        values = [_result(call)] * len(call.targets)
    return [(ref, _stored(value, ref)) for ref, value in zip(call.targets, values)]


def _stored(value: Value, ref: Ref) -> Value:
    """Returns a value as a dtype holds it. Only floats have closed forms here."""
    if ref.dtype.is_floating_point or not sources_of(value):
        return value
    return Computed(f"random numbers as {ref.dtype}", sources_of(value))


def _result(call: Call) -> Value:
    if call.name in _CONSTANTS:
        return Known(_CONSTANTS[call.name])
    if call.name in _FILLS:
        return _filled(call)
    values = [call.value(argument) for argument in call.inputs]
    if call.name == "copy":
        return _copied(call, call.bound["src"])
    if call.name in _COPIES:
        return _copied(call, call.bound["self"])
    if call.name in ("diagonal_copy", "sign", "sgn", "mul"):
        factor = _orthogonal(call, values)
        if factor is not None:
            return factor
    if call.name in _ELEMENTWISE:
        if any(isinstance(value, Uninit) for value in values):
            return Uninit()
        operands = (leaf for leaf in call.inputs if isinstance(leaf, Ref))
        if not any(_is_coarse(call.read(operand), operand.dtype) for operand in operands):
            value = _elementwise(call, values)
            if value is not None:
                return value
    return _other(call.name, values)


def _is_coarse(value: Value, dtype: torch.dtype) -> bool:
    return any(
        isinstance(v, Drawn) and forms.is_coarse(v.form, dtype) for v in simple_values(value)
    )


def _other(name: str, values: Sequence[Value]) -> Value:
    sources = frozenset().union(*map(sources_of, values))
    if sources:
        return Computed(name, sources)
    if values and all(isinstance(value, Uninit) for value in values):
        return Uninit()
    return Known()


def _filled(call: Call) -> Value:
    argument = call.bound[_FILLS[call.name]]
    if isinstance(argument, Ref) and not isinstance(call.read(argument), Known):
        return _other("fill", [call.read(argument)])
    return Known(call.scalar(argument))


def _copied(call: Call, source: Any) -> Value:
    if not isinstance(source, Ref):
        return Known()
    value, target = call.read(source), call.targets[0]
    if source.dtype != target.dtype:
        is_rounded = source.dtype.is_floating_point and source.dtype.itemsize < 4
        if sources_of(value) and (is_rounded or _is_coarse(value, source.dtype)):
            # A tensor of the target's dtype would not have this rounding.
            return _other(f"{source.dtype} to {target.dtype}", [value])
        value = _converted(value, source.dtype, target.dtype)
    if isinstance(value, Known):
        return value
    if source.numel != target.numel:
        return _other("repeated elements", [value])
    if not target.dtype.is_floating_point:
        return _other(f"{source.dtype} to {target.dtype}", [value])
    return value


def _converted(value: Value, source: torch.dtype, target: torch.dtype) -> Value:
    """Returns a value in another dtype, which rounds constants."""

    def rounded(constant: float) -> float | None:
        number = torch.tensor(constant, dtype=source).to(target)
        return None if target.is_complex else float(number)

    with plain_torch():
        return _with_constants(value, rounded)


def _with_constants(value: Value, function: Callable[[float], float | None]) -> Value:
    """Returns a value with a function applied to its constants. It returns None if it is unsure."""

    def of_simple(simple: Simple) -> Simple:
        if isinstance(simple, Known) and simple.constant is not None:
            return Known(function(simple.constant))
        return simple

    return _by_piece(value, of_simple)


def _by_piece(value: Value, function: Callable[[Simple], Simple]) -> Value:
    if isinstance(value, Mixed):
        return Mixed(tuple(replace(p, value=function(p.value)) for p in value.pieces))
    return function(value)


def _drawn(call: Call) -> Value:
    assert call.draw is not None
    form, target = form_of_draw(call), call.targets[0]
    if form is None:
        return Computed(call.name, frozenset((call.draw,)))
    return whole(form, call.draw, target.numel)


def whole(form: Form, source: int, numel: int) -> Drawn:
    """Returns the value of all elements of a draw, in order."""
    at = None if isinstance(form, STRUCTURED) else Geometry.of((numel,), (1,), 0)
    return Drawn(form, source, frozenset((source,)), at, 0, numel)


def form_of_draw(call: Call) -> Form | None:
    """Returns what a random operation draws, or None for what has no name here."""
    dtype = call.targets[0].dtype
    if dtype.is_complex:
        # Real and imaginary part each have half of the variance.
        standard = call.name in ("randn", "randn_like") or (
            call.name == "normal" and call.bound["mean"] == 0
        )
        std = call.scalar(call.bound.get("std", 1)) if standard else None
        return None if std is None else Normal(0.0, std / math.sqrt(2))
    if not dtype.is_floating_point:
        return None
    if call.name in ("rand", "rand_like"):
        return Uniform(0.0, 1.0)
    if call.name in ("randn", "randn_like"):
        return Normal(0.0, 1.0)
    if call.name == "uniform":
        return Uniform(float(call.bound["from"]), float(call.bound["to"]))
    if call.name in ("normal", "normal_functional"):
        mean, std = call.scalar(call.bound["mean"]), call.scalar(call.bound["std"])
        return None if mean is None or std is None else Normal(mean, std)
    return None


def _concatenation(call: Call) -> Writes:
    out = call.targets[0]
    dim = int(call.bound.get("dim", 0)) % max(len(out.size), 1)
    writes: Writes = []
    at = 0
    for part in call.bound["tensors"]:
        shape = part.size if isinstance(part, Ref) else tuple(part.shape)
        if call.name == "stack":
            count = 1
        elif shape == (0,) and len(out.size) != 1:
            continue  # torch.cat ignores such tensors, for compatibility.
        else:
            count = shape[dim]
        size = tuple(count if axis == dim else length for axis, length in enumerate(out.size))
        view = out._replace(size=size, offset=out.offset + at * out.stride[dim])
        value = call.value(part)
        if isinstance(part, Ref) and part.dtype != out.dtype:
            value = _converted(value, part.dtype, out.dtype)
        writes.append((view, _stored(value, out)))
        at += count
    return writes


def _qr(call: Call) -> list[Value]:
    matrix = call.bound["A"]
    value = call.value(matrix)
    if isinstance(value, Drawn) and len(matrix.size) == 2:
        form = value.form
        if isinstance(form, Normal) and form.mean == 0:
            factors = [QrFactor(part, *ref.size) for part, ref in zip("qr", call.targets)]
            return [replace(value, form=factor, at=None) for factor in factors]
    return [_other("linalg_qr", [value])] * len(call.targets)


def _orthogonal(call: Call, values: Sequence[Value]) -> Value | None:
    """Follows torch.nn.init.orthogonal_: Q times the signs of the diagonal of R."""
    drawn = [value for value in values if isinstance(value, Drawn)]
    factors = {v.form.part: v.form for v in drawn if isinstance(v.form, QrFactor)}
    if len(factors) != len(values) or len({value.source for value in drawn}) != 1:
        return None
    form: Form | None = None
    if call.name == "diagonal_copy" and "r" in factors and not call.bound.get("offset", 0):
        form = replace(factors["r"], part="diagonal")
    elif call.name in ("sign", "sgn") and "diagonal" in factors:
        form = replace(factors["diagonal"], part="sign")
    elif call.name == "mul" and factors.keys() == {"q", "sign"}:
        form = Orthogonal(1.0, factors["q"].rows, factors["q"].columns)
    return None if form is None else replace(drawn[0], form=form)


def _elementwise(call: Call, values: Sequence[Value]) -> Value | None:
    if call.name in _BINARY:
        return _binary(call)
    operand = call.bound["self"]
    value = call.value(operand)
    if call.name in _UNARY:
        name = "erfinv" if call.name == "special_erfinv" else call.name
        if name == "softplus" and (
            call.bound.get("beta", 1) != 1 or call.bound.get("threshold", 20) != 20
        ):
            return None
        value = _with_constants(value, lambda c: -c if name == "neg" else None)
        return _mapped(value, lambda form: forms.unary(name, form))
    low, high = (_end(call, name) for name in ("min", "max"))
    if math.isnan(low) or math.isnan(high):
        return None
    value = _with_constants(value, lambda _: None)
    return _mapped(value, lambda form: forms.clamp(form, low, high))


def _end(call: Call, name: str) -> float:
    """Returns a bound of a clamp: infinite if it is absent, NaN if it is not one known number."""
    argument = call.bound.get(name, call.bound.get(f"{name}_val"))
    if argument is None:
        return math.inf if name == "max" else -math.inf
    number = call.scalar(argument)
    return math.nan if number is None else number


def _mapped(value: Value, function: Callable[[Form], Form]) -> Value | None:
    """Applies a function to the forms of a value, or returns None for one without a form."""
    if not isinstance(value, (Drawn, Mixed)):
        return None
    return _by_piece(
        value, lambda v: _with_form(v, function(v.form)) if isinstance(v, Drawn) else v
    )


def _with_form(value: Drawn, form: Form) -> Simple:
    if isinstance(value.form, STRUCTURED) and not isinstance(form, STRUCTURED):
        return Computed("arithmetic on a matrix", sources_of(value))
    if isinstance(form, forms.Constant):
        return Known(form.value)
    return replace(value, form=form)


def _binary(call: Call) -> Value | None:
    left, right = call.bound["self"], call.bound.get("other", call.bound.get("exponent"))
    if call.bound.get("rounding_mode") is not None:
        return None
    alpha = call.scalar(call.bound.get("alpha", 1))
    if alpha is None:
        return None
    name = call.name
    if name == "rsub":
        name, left, right = "sub", right, left
    x, y = call.scalar(left), call.scalar(right)
    if x is not None and y is not None:
        return Known(_of_constants(call, name, (left, x), (right, y), alpha))
    if y is not None and _has_shape_of(left, call):
        value, function = call.value(left), _by_number(name, y, alpha)
        value = _with_constants(
            value, lambda c: _of_constants(call, name, (left, c), (right, y), alpha)
        )
    elif x is not None and _has_shape_of(right, call):
        value, function = call.value(right), _number_by(name, x, alpha)
        value = _with_constants(
            value, lambda c: _of_constants(call, name, (left, x), (right, c), alpha)
        )
    else:
        return _of_two(call, name, left, right, alpha)
    return function and _mapped(value, function)


def _has_shape_of(argument: Any, call: Call) -> bool:
    return isinstance(argument, Ref) and argument.size == call.targets[0].size


def _of_constants(
    call: Call, name: str, left: tuple[Any, float], right: tuple[Any, float], alpha: float
) -> float | None:
    """Returns the result of arithmetic on two constants, by the same arithmetic on one element."""
    if name not in ("add", "sub", "mul", "div"):
        return None

    def element(argument: Any, number: float) -> Any:
        if not isinstance(argument, (Ref, torch.Tensor)):
            return argument
        # Tensors of no dimension have less influence on the dtype of the result.
        has_dimensions = argument.size if isinstance(argument, Ref) else argument.dim()
        return torch.full((1,) if has_dimensions else (), number, dtype=argument.dtype)

    factor = {} if alpha == 1 else {"alpha": alpha}
    with plain_torch():
        result = getattr(torch, name)(element(*left), element(*right), **factor)
        result = result.to(call.targets[0].dtype)
        return None if result.is_complex() else float(result)


def _by_number(name: str, y: float, alpha: float) -> Callable[[Form], Form] | None:
    if name == "mul":
        return lambda form: forms.affine(form, y, 0.0)
    if name == "div" and y != 0:
        return lambda form: _quotient(form, y)
    if name in ("add", "sub"):
        shift = alpha * y if name == "add" else -alpha * y
        return lambda form: forms.affine(form, 1.0, shift)
    if name == "pow":
        return lambda form: forms.power(form, y)
    return None


def _quotient(form: Form, divisor: float) -> Form:
    if divisor < 0:
        return _quotient(forms.affine(form, -1.0, 0.0), -divisor)
    # A division rounds once. A product with the reciprocal rounds twice, and can give another f32.
    if isinstance(form, Normal):
        return replace(form, mean=form.mean / divisor, std=form.std / divisor)
    if isinstance(form, Uniform):
        return replace(form, low=form.low / divisor, high=form.high / divisor)
    return forms.affine(form, 1.0 / divisor, 0.0)


def _number_by(name: str, x: float, alpha: float) -> Callable[[Form], Form] | None:
    if name == "mul":
        return lambda form: forms.affine(form, x, 0.0)
    if name == "add":
        return lambda form: forms.affine(form, alpha, x)
    if name == "sub":
        return lambda form: forms.affine(form, -alpha, x)
    return None


def _of_two(call: Call, name: str, left: Any, right: Any, alpha: float) -> Value | None:
    """Combines two random values: the same elements of one draw, or independent normal numbers."""
    a, b = call.value(left), call.value(right)
    if not (isinstance(a, Drawn) and isinstance(b, Drawn) and left.size == right.size):
        return None
    if isinstance(a.form, STRUCTURED) or isinstance(b.form, STRUCTURED):
        return None
    if a.source == b.source and a.at is not None and a.at == b.at and alpha == 1:
        return replace(a, form=forms.Op(name, (a.form, b.form)))
    if name in ("add", "sub") and not a.draws & b.draws:
        return _sum(call, a, b, alpha if name == "add" else -alpha)
    return None


def _sum(call: Call, a: Drawn, b: Drawn, factor: float) -> Value | None:
    """Returns the sum of independent normal numbers, which is normal."""
    if not (isinstance(a.form, Normal) and isinstance(b.form, Normal)):
        return None
    std = math.hypot(a.form.std, factor * b.form.std)
    form = Normal(a.form.mean + factor * b.form.mean, std)
    return replace(whole(form, call.new_source(), call.targets[0].numel), draws=a.draws | b.draws)
