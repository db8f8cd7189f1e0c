"""The initializer that each way of drawing numbers becomes."""

from __future__ import annotations

import math
from typing import Callable

import pytest
import torch
from torch import nn

import fanin
from fanin.torch import _forms as forms

from .recordings import hold, one, value


def timm_trunc_normal_(
    tensor: torch.Tensor, mean: float, std: float, a: float, b: float
) -> torch.Tensor:
    """Draws as timm.layers.trunc_normal_ does: by the inverse of the error function."""

    def below(x: float) -> float:
        return (1.0 + math.erf(x / math.sqrt(2.0))) / 2.0

    low, high = below((a - mean) / std), below((b - mean) / std)
    tensor.uniform_(2 * low - 1, 2 * high - 1)
    return tensor.erfinv_().mul_(std * math.sqrt(2.0)).add_(mean).clamp_(min=a, max=b)


def mamba_dt_bias(low: float, high: float, floor: float | None) -> torch.Tensor:
    """Draws as mamba_ssm's Mamba does."""
    dt = torch.exp(torch.rand(6) * (math.log(high) - math.log(low)) + math.log(low))
    if floor is not None:
        dt = dt.clamp(min=floor)
    return dt + torch.log(-torch.expm1(-dt))


CASES: dict[str, tuple[Callable[[], torch.Tensor], str]] = {
    "normal_": (lambda: torch.empty(4, 4).normal_(1, 0.02), "normal(mean=1,std=0.02)"),
    "a std of 0": (lambda: torch.empty(4).normal_(0.25, 0), "constant(value=0.25)"),
    "a tiny std": (lambda: torch.empty(4).normal_(0, 1e-60), "zeros"),
    "torch.normal": (lambda: torch.normal(2.0, 3.0, (4,)), "normal(mean=2,std=3)"),
    "torch.normal of tensors": (
        lambda: torch.normal(torch.zeros(4), torch.full((4,), 0.5)),
        "normal(mean=0,std=0.5)",
    ),
    "a distribution": (
        lambda: torch.distributions.Normal(0.0, 0.5).sample((5,)),
        "normal(mean=0,std=0.5)",
    ),
    "scaled": (lambda: torch.randn(4, 4) / 4**0.5 * -3 + 1, "normal(mean=1,std=1.5)"),
    "scaled in place": (lambda: torch.randn(4).mul_(-2).sub_(1).div_(2), "normal(mean=-0.5,std=1)"),
    "rsub": (lambda: 1 - torch.randn(4) * 2, "normal(mean=1,std=2)"),
    "alpha": (lambda: torch.randn(4).add(1, alpha=2), "normal(mean=2,std=1)"),
    "times a tensor": (lambda: torch.ones(3) * 0.1 * torch.randn(4, 3), "normal(mean=0,std=0.1)"),
    "times zero": (lambda: torch.randn(4) * 0, "zeros"),
    "negated": (lambda: -torch.rand(4), "uniform(low=-1,high=0)"),
    "uniform_": (lambda: torch.empty(4).uniform_(-0.1, 0.3), "uniform(low=-0.1,high=0.3)"),
    "an empty interval": (lambda: torch.empty(4).uniform_(0.5, 0.5), "constant(value=0.5)"),
    "rand": (lambda: torch.rand(4) * 2 - 1, "uniform(low=-1,high=1)"),
    "a negative factor": (lambda: torch.rand(4) * -2, "uniform(low=-2,high=0)"),
    "clamped outside": (lambda: torch.rand(4).clamp(-1, 2), "uniform(low=0,high=1)"),
    "cast": (lambda: torch.randn(4, dtype=torch.float64).half(), "normal(mean=0,std=1)"),
    "copied": (lambda: torch.empty(4).copy_(torch.randn(4) * 3), "normal(mean=0,std=3)"),
    "turned": (lambda: torch.randn(4, 3).t().contiguous(), "normal(mean=0,std=1)"),
    "stacked": (lambda: torch.stack([torch.rand(3), torch.rand(3)]), "uniform(low=0,high=1)"),
    "trunc_normal_": (
        lambda: nn.init.trunc_normal_(torch.empty(4, 4), std=0.1, a=-0.2, b=0.15),
        "trunc_normal(mean=0,std=0.1,a=-0.2,b=0.15)",
    ),
    "wide bounds": (
        lambda: nn.init.trunc_normal_(torch.empty(4, 4), std=0.02),
        "normal(mean=0,std=0.02)",
    ),
    "one wide bound": (
        lambda: nn.init.trunc_normal_(torch.empty(4), mean=1, std=0.01, a=0.99, b=1e30),
        "trunc_normal(mean=1,std=0.01,a=0.99,b=2)",
    ),
    "scaled truncation": (
        lambda: nn.init.trunc_normal_(torch.empty(4), 0, 1, -2, 1) * -0.5 + 1,
        "trunc_normal(mean=1,std=0.5,a=0.5,b=2)",
    ),
    "timm": (
        lambda: timm_trunc_normal_(torch.empty(4), 0.5, 0.1, 0.3, 0.8),
        "trunc_normal(mean=0.5,std=0.1,a=0.3,b=0.8)",
    ),
    "timm with wide bounds": (
        lambda: timm_trunc_normal_(torch.empty(4), 0.0, 0.02, -2.0, 2.0),
        "normal(mean=0,std=0.02)",
    ),
    "orthogonal_": (lambda: nn.init.orthogonal_(torch.empty(3, 5), 2), "orthogonal(gain=2)"),
    "tall orthogonal_": (lambda: nn.init.orthogonal_(torch.empty(6, 2)), "orthogonal"),
    "orthogonal_ with a negative gain": (
        lambda: nn.init.orthogonal_(torch.empty(3, 3)) * -1.5,
        "orthogonal(gain=1.5)",
    ),
    "an orthogonal kernel": (
        lambda: nn.init.orthogonal_(torch.empty(4, 2, 3, 3)),
        "orthogonal",
    ),
    "sparse_": (
        lambda: nn.init.sparse_(torch.empty(9, 4), 0.3, std=0.1) * 2,
        "sparse(sparsity=0.3,std=0.2)",
    ),
    "A_log of Mamba-2": (
        lambda: torch.log(torch.empty(4).uniform_(1, 16)),
        "mamba2_a_log(low=1,high=16)",
    ),
    "dt bias of Mamba": (
        lambda: mamba_dt_bias(0.001, 0.1, 1e-4),
        "mamba_dt_bias(min=0.001,max=0.1,floor=0.0001)",
    ),
    "dt bias without a floor": (
        lambda: mamba_dt_bias(0.002, 0.2, None),
        "mamba_dt_bias(min=0.002,max=0.2,floor=0.002)",
    ),
    "xavier_uniform_": (
        lambda: nn.init.xavier_uniform_(torch.empty(4, 2)),
        "uniform(low=-1,high=1)",
    ),
    "kaiming_normal_": (
        lambda: nn.init.kaiming_normal_(torch.empty(8, 2), mode="fan_out", nonlinearity="relu"),
        "normal(mean=0,std=0.5)",
    ),
    "constant_": (lambda: nn.init.constant_(torch.empty(3), 0.3), "constant(value=0.3)"),
    "arithmetic of constants": (lambda: torch.ones(70) * 0.1 + 2, "constant(value=2.1)"),
    "the exponential of a constant": (
        lambda: torch.full((3,), math.log(math.e - 1)).exp(),
        "constant(value=1.7182819)",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_closed_forms(name: str) -> None:
    make, init = CASES[name]
    tensor = one(make, strict=True)
    assert (tensor.origin, tensor.init) == ("rule", init)


NOT_CLOSED: dict[str, Callable[[], torch.Tensor]] = {
    "a binding clamp": lambda: torch.randn(64).clamp(-1, 1),
    "a mask": lambda: torch.randn(8, 8) * torch.tril(torch.ones(8, 8)),
    "a sum with a matrix": lambda: torch.randn(4, 4) + torch.eye(4),
    "the logarithm of a number that can be 0": lambda: torch.log(torch.rand(8)),
    "normalized rows": lambda: nn.functional.normalize(torch.randn(8, 4), dim=-1),
    "a repeated draw": lambda: torch.randn(2, 4).repeat(2, 1),
    "an expanded draw": lambda: torch.randn(1, 4).expand(3, 4),
    "a raw QR": lambda: torch.linalg.qr(torch.randn(5, 5))[0],
    "rows of an orthogonal matrix": lambda: nn.init.orthogonal_(torch.empty(4, 4))[:2].clone(),
    "an orthogonal matrix of another shape": lambda: nn.init.orthogonal_(torch.empty(4, 6)).view(
        8, 3
    ),
    "zeros at given places": lambda: torch.randn(8, 8).index_fill(0, torch.tensor([1, 5]), 0.0),
    "whole numbers": lambda: torch.randint(3, 9, (50,)).float(),
    "a permutation": lambda: torch.randperm(20).float(),
    "truth values": lambda: (torch.rand(64) < 0.5).float(),
    "exponential": lambda: torch.empty(64).exponential_(2.0),
    "log_normal_": lambda: torch.empty(64).log_normal_(),
    "bernoulli": lambda: torch.bernoulli(torch.full((64,), 0.3)),
    "a square": lambda: torch.randn(16) ** 2,
    "floor division": lambda: torch.div(torch.rand(16), 0.25, rounding_mode="floor"),
    "softplus of another beta": lambda: nn.functional.softplus(torch.rand(16), beta=2),
}


@pytest.mark.parametrize("name", NOT_CLOSED)
def test_what_has_no_closed_form_is_replayed(name: str) -> None:
    recorded = hold(lambda: {"x": NOT_CLOSED[name]()}, strict=True)
    tensor = recorded.tensors["x"]
    assert (tensor.origin, tensor.init) == ("replay", None)
    assert tensor.detail
    found = value(recorded, "x", 4)
    assert found.shape == tensor.shape
    assert bool(found.isfinite().all())
    assert torch.equal(found, value(recorded, "x", 4))
    assert not torch.equal(found, value(recorded, "x", 5))


def test_replays_have_the_properties_of_their_operations() -> None:
    recorded = hold(lambda: {name.replace(" ", "_"): make() for name, make in NOT_CLOSED.items()})

    def of(name: str) -> torch.Tensor:
        return value(recorded, name.replace(" ", "_"))

    assert float(of("a binding clamp").abs().max()) == 1
    assert torch.equal(of("a mask"), of("a mask").tril())
    assert torch.allclose(of("normalized rows").norm(dim=1), torch.ones(8))
    assert torch.equal(of("a repeated draw")[:2], of("a repeated draw")[2:])
    assert torch.equal(of("an expanded draw")[0], of("an expanded draw")[2])
    assert of("a permutation").sort()[0].tolist() == list(range(20))
    assert set(of("whole numbers").tolist()) == set(range(3, 9))
    assert set(of("truth values").tolist()) == {0, 1}
    assert float(of("log_normal_").min()) > 0


def test_a_complex_draw_has_half_the_variance_in_each_part() -> None:
    recorded = hold(
        lambda: {"x": torch.view_as_real(torch.randn(20000, dtype=torch.cfloat)).clone()}
    )
    assert recorded.tensors["x"].origin == "replay"
    x = value(recorded, "x")
    assert float(x.std()) == pytest.approx(0.5**0.5, abs=0.01)
    assert float((x[:, 0] * x[:, 1]).mean()) == pytest.approx(0, abs=0.02)


def test_a_symmetric_matrix_uses_its_draw_twice() -> None:
    def make() -> dict[str, torch.Tensor]:
        x = torch.randn(6, 6)
        return {"x": x + x.T}

    recorded = hold(make)
    x = value(recorded, "x")
    assert torch.equal(x, x.T)
    assert float(x.diagonal().std()) > 0


def test_every_initializer_is_one_of_fanins() -> None:
    tensors = {f"t{i}": (make, init) for i, (make, init) in enumerate(CASES.values())}
    recorded = hold(lambda: {name: make() for name, (make, _) in tensors.items()})
    plan = recorded._plan(1)
    for name, (_, init) in tensors.items():
        assert recorded.tensors[name].init == init
        x = value(recorded, name)
        assert bool(x.isfinite().all()), (init, x)
    assert sorted(plan.names) == sorted(tensors)


@pytest.mark.parametrize(
    "form",
    [
        forms.Normal(0, 1e39),
        forms.Uniform(0, 1e39),
        forms.TruncNormal(0, 1, 2, 1),
        forms.TruncNormal(0, 0, -1, 1),
        forms.LogUniform(1e-40, 1),
        forms.TimeStep(0.1, 600, 0.1),
        forms.TimeStep(0.1, 0.2, 0.3),
        forms.Sparse(1.5, 1, 2, 2),
        forms.QrFactor("q", 2, 2),
        forms.Op("exp", (forms.Normal(0, 1),)),
    ],
)
def test_forms_that_fanin_does_not_draw_have_no_initializer(form: forms.Form) -> None:
    assert forms.initializer(form) is None


@pytest.mark.parametrize(
    "form",
    [
        forms.Normal(-1e-8, 1e30),
        forms.Uniform(-3e38, 3e38),
        forms.TruncNormal(0.1, 1e-9, -1, 0.1),
        forms.TruncNormal(5, 0.1, -1, 1),
        forms.LogUniform(1e-30, 1e30),
        forms.TimeStep(1e-3, 0.1, 0),
        forms.TimeStep(1e-3, 0.1, 0.01),
        forms.Constant(1e-45),
    ],
)
def test_extreme_numbers_are_read_by_fanin(form: forms.Form) -> None:
    init = forms.initializer(form)
    assert init is not None
    out = torch.empty(100)
    fanin._native.fill_at(init, [100], out.data_ptr(), 400, name="x", seed=1, dtype="float32")
    assert bool(out.isfinite().all())


@pytest.mark.parametrize("number", [0.1, 1 / 3, 1e-45, 3.4e38, 0.02, 16777217, -2.5e-7, 0.57735026])
def test_short_numbers_round_to_the_same_f32(number: float) -> None:
    text = forms.single(number)
    assert torch.tensor(float(text)).item() == torch.tensor(float(number)).item()
    assert len(text) <= len(repr(number)) + 1


def test_sums_of_independent_normal_numbers_are_normal() -> None:
    def make() -> dict[str, torch.Tensor]:
        x, y, z = torch.randn(8), torch.randn(8), torch.randn(8)
        return {"sum": x * 3 - y * 4 + 1, "whole": z, "twice": z + z, "shared": z + torch.randn(8)}

    recorded = hold(make)
    assert {name: tensor.origin for name, tensor in recorded.tensors.items()} == {
        "sum": "rule",
        "whole": "rule",
        "twice": "derived",
        "shared": "replay",
    }
    assert recorded.tensors["sum"].init == "normal(mean=1,std=5)"
    assert torch.equal(value(recorded, "twice"), 2 * value(recorded, "whole"))
    assert not torch.equal(value(recorded, "shared"), value(recorded, "whole"))


def test_sums_of_the_same_draws_are_not_the_same() -> None:
    def make() -> dict[str, torch.Tensor]:
        x, y = torch.randn(8), torch.randn(8)
        a = x * 3 + y * 4
        return {"a": a, "b": x * 4 + y * 3, "c": a.clone()}

    recorded = hold(make)
    a, b, c = (value(recorded, name) for name in "abc")
    assert not torch.equal(a, b)
    assert torch.equal(a, c)


def test_an_orthogonal_matrix_by_the_signs_of_a_view() -> None:
    def make() -> torch.Tensor:
        q, r = torch.linalg.qr(torch.randn(5, 3))
        return q * torch.diagonal(r).sign()

    assert one(make).init == "orthogonal"


def test_arithmetic_reaches_the_constants_of_parts() -> None:
    def make() -> dict[str, torch.Tensor]:
        x = torch.cat([torch.randn(4), torch.full((3,), 0.3)])
        return {
            "scaled": x * 0.1,
            "shifted": 1 - x,
            "negated": -x,
            "divided": x / 3,
            "halves": x.half(),
            "exponential": x.exp(),
            "clamped": x.clamp(max=0.2),
        }

    recorded = hold(make)
    real = torch.full((3,), 0.3)
    expected = [real * 0.1, 1 - real, -real, real / 3, real.half(), real.exp(), real.clamp(max=0.2)]
    for name, numbers in zip(recorded.tensors, expected):
        assert torch.equal(value(recorded, name)[4:], numbers), name
    assert recorded.tensors["scaled"].parts[0].init == "constant(value=0.030000001)"
