"""Models written for the tests: every closed form of `record`, and values that have none."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn import init
from torch.nn.init import orthogonal_, trunc_normal_


def _empty(*shape: int) -> Tensor:
    return torch.empty(*shape)


def _inverse_error_function(tensor: Tensor, mean: float, std: float, a: float, b: float) -> Tensor:
    """Truncates a normal as torch, timm and JAX do: by the quantile function, in place."""
    low, high = (math.erf((bound - mean) / std / math.sqrt(2)) for bound in (a, b))
    with torch.no_grad():
        return tensor.uniform_(low, high).erfinv_().mul_(std * math.sqrt(2)).add_(mean).clamp_(a, b)


def _haar(rows: int, columns: int) -> Tensor:
    """Draws an orthogonal matrix as Mezzadri 2007 (arXiv:math-ph/0609050): Q with R's signs."""
    q, r = torch.linalg.qr(torch.randn(rows, columns))
    return q * torch.diagonal(r).sign()


def _time_steps(count: int, low: float, high: float, floor: float) -> Tensor:
    """Draws the bias of dt as mamba_ssm does: the inverse of softplus of log-uniform steps."""
    step = torch.exp(torch.rand(count) * (math.log(high) - math.log(low)) + math.log(low))
    step = step.clamp(min=floor)
    return step + torch.log(-torch.expm1(-step))


class Laws(nn.Module):
    """Tensors whose elements have a distribution of a closed form."""

    def __init__(self) -> None:
        super().__init__()
        self.normal = nn.Parameter(torch.randn(64, 128) / 16**0.5)
        self.shifted = nn.Parameter(1 - torch.randn(4096) * 0.25)
        self.wide = nn.Parameter(torch.normal(2.0, 3.0, (64, 64)))
        self.sampled = nn.Parameter(torch.distributions.Normal(0.0, 0.5).sample((4096,)))
        self.summed = nn.Parameter(torch.randn(64, 64) * 3 + torch.randn(64, 64) * 4)
        self.f64 = nn.Parameter(torch.randn(64, 64, dtype=torch.float64))
        self.uniform = nn.Parameter(torch.rand(64, 64) * 2 - 1)
        self.turned = nn.Parameter(torch.rand(64, 64) * -0.3 + 0.1)
        self.kaiming = nn.Parameter(init.kaiming_uniform_(_empty(64, 32, 3, 3), a=math.sqrt(5)))
        self.fan_out = nn.Parameter(
            init.kaiming_normal_(_empty(64, 32, 3, 3), mode="fan_out", nonlinearity="relu")
        )
        self.xavier = nn.Parameter(init.xavier_normal_(_empty(64, 96), gain=1.5))
        self.truncated = nn.Parameter(trunc_normal_(_empty(64, 64), std=0.02, a=-0.04, b=0.04))
        self.far_bounds = nn.Parameter(trunc_normal_(_empty(64, 64), std=0.02))
        self.one_sided = nn.Parameter(trunc_normal_(_empty(64, 64), 0.5, 1.0, 0.0, 3.0))
        self.scaled = nn.Parameter(trunc_normal_(_empty(64, 64)) * 0.5)
        self.by_quantiles = nn.Parameter(
            _inverse_error_function(_empty(64, 64), 0.1, 0.2, -0.3, 0.4)
        )
        self.logarithm = nn.Parameter(torch.log(_empty(4096).uniform_(1, 16)))
        self.time_step = nn.Parameter(_time_steps(4096, 0.001, 0.1, 1e-4))
        self.sparse = nn.Parameter(init.sparse_(_empty(40, 200), sparsity=0.3, std=0.5))
        self.tall = nn.Parameter(orthogonal_(_empty(48, 20), gain=2.0))
        self.convolution = nn.Parameter(orthogonal_(_empty(8, 4, 3, 3)))
        self.small = nn.ParameterList([orthogonal_(_empty(3, 3)) for _ in range(150)])
        self.by_qr = nn.ParameterList([_haar(3, 3) for _ in range(150)])


class Parts(nn.Module):
    """Tensors whose parts have distributions of their own."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(50, 64, padding_idx=7)
        fused = _empty(96, 64)
        for chunk in fused.chunk(3):
            init.xavier_uniform_(chunk)
        self.fused = nn.Parameter(fused)
        self.token = nn.Parameter(
            torch.cat([torch.zeros(1, 1, 64), torch.randn(1, 40, 64) * 0.02], 1)
        )
        self.stacked = nn.Parameter(
            torch.stack([_empty(30, 40).uniform_(-k, k) for k in (1, 2, 3)])
        )
        self.edited = nn.Parameter(torch.randn(60, 60))
        with torch.no_grad():
            self.edited[0] = 0
            self.edited[:, -1] += 1
        gates = _empty(4 * 16)
        init.normal_(gates, std=0.1)
        gates[16:32].fill_(1)
        self.gates = nn.Parameter(gates)
        self.blocks = nn.Parameter(torch.zeros(64, 64))
        with torch.no_grad():
            self.blocks[8:40, 16:48].normal_(1, 2)


class Kept(nn.Module):
    """Tensors without random numbers: constants, computed values, ties and copies."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = nn.Parameter(torch.full((3,), math.log(math.e - 1)))
        self.tenth = nn.Parameter(torch.full((2, 2), 0.1, dtype=torch.float64))
        self.scalar = nn.Parameter(torch.tensor(2.6592))
        self.literal = nn.Parameter(torch.tensor([0.1, -0.0, float("inf"), 3e-41]))
        self.identity = nn.Parameter(init.eye_(_empty(5, 7)))
        self.passes = nn.Parameter(init.dirac_(_empty(6, 4, 3)))
        self.halves = nn.Parameter((torch.eye(4).repeat(2, 1) * 0.5).half())
        self.register_buffer("frequencies", 1 / 10000 ** (torch.arange(0, 16, 2) / 16))
        self.register_buffer("mask", torch.ones(6, 6, dtype=torch.bool).tril(), persistent=False)
        self.register_buffer("positions", torch.arange(40)[None])
        self.register_buffer("steps", torch.tensor(0))
        self.register_buffer(
            "turns", torch.polar(torch.ones(4), torch.arange(4.0)), persistent=False
        )
        self.register_buffer("levels", torch.linspace(0, 1, 7, dtype=torch.bfloat16))
        self.register_buffer("empty", torch.zeros(0, 4))
        self.embedding = nn.Embedding(20, 8)
        self.head = nn.Linear(8, 20, bias=False)
        self.head.weight = self.embedding.weight
        self.blocks = nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16), 2)
        self.depth = [0.1 * rate.item() for rate in torch.linspace(0, 1, 3)]


class Replayed(nn.Module):
    """Random tensors without a closed form: `record` computes them again from fanin's draws."""

    def __init__(self) -> None:
        super().__init__()
        self.codes = nn.Parameter(F.normalize(torch.randn(500, 4), dim=-1))
        self.copied = nn.Parameter(self.codes[:3].detach().clone())
        noise = torch.randn(24, 24)
        self.symmetric = nn.Parameter((noise + noise.T) / 2)
        self.lower = nn.Parameter(torch.randn(40, 40))
        self.lower.data = self.lower.data * torch.tril(torch.ones(40, 40))
        self.clamped = nn.Parameter(torch.randn(2000).clamp(-2, 2))
        self.noisy = nn.Parameter(torch.randn(30, 30) + torch.eye(30))
        self.lognormal = nn.Parameter(_empty(2000).log_normal_(0.5, 0.25))
        self.exponential = nn.Parameter(_empty(2000).exponential_(3.0))
        self.picked = nn.Parameter((torch.rand(2000) < 0.3).float())
        self.dice = nn.Parameter(torch.randint(0, 6, (2000,)).float())
        self.register_buffer("order", torch.randperm(400))
        self.normed = nn.utils.parametrizations.weight_norm(nn.Linear(6, 40))
