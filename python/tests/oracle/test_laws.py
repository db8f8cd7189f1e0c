"""The recorded distributions are those of torch's draws, and of fanin's.

Every random tensor of each model is drawn once by torch's own construction and once by
`fanin.torch.build`. Both are tested against the recorded distribution: Kolmogorov-Smirnov, bounds
and moments.

Seeds are fixed, so a result changes only with the version of torch or the processor. All tests of
this file together have a false-alarm rate of at most `FALSE_ALARMS` on other seeds: it is divided
by the number of models, by the two sources and by the number of tests of a model (Bonferroni).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor, nn

from fanin.torch import build, record

from . import handwritten, laws, real, samples, zoo

FALSE_ALARMS = 1e-3

NAMES = """
timm/convnext_atto timm/beit_base_patch16_224 timm/nfnet_l0 timm/swinv2_tiny_window8_256
timm/xcit_nano_12_p16_224 torchvision/googlenet torchvision/regnet_y_400mf
torchvision/mvit_v2_s transformers/bert transformers/deepseek_v3 transformers/falcon_h1
transformers/gpt2 transformers/mamba transformers/t5 transformers/wav2vec2 transformers/whisper
transformers/xlstm
""".split()
MAKERS: dict[str, zoo.Make] = {
    "handwritten/Laws": handwritten.Laws,
    "handwritten/Parts": handwritten.Parts,
    **{name: zoo.models()[name] for name in NAMES},
}
#: A model and a source of draws have this share of the false alarms.
SHARE = FALSE_ALARMS / (2 * len(MAKERS) + 5)


def _drawn(make: zoo.Make) -> dict[str, dict[str, real.Listed]]:
    """Returns the tensors of a model by source."""
    return {
        "torch": real.tensors(real.construct(make, 7)),
        "fanin": real.tensors(build(make, seed=7)),
    }


@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.filterwarnings("ignore")
def test_distributions(name: str) -> None:
    recorded = record(MAKERS[name])
    for source, tensors in _drawn(MAKERS[name]).items():
        results = list(samples.results(recorded, tensors))
        assert len(results) > 10
        odd = [result for result in results if result.p < SHARE / len(results)]
        assert not odd, source


def test_matrices() -> None:
    """Rows or columns of orthogonal matrices are orthonormal, sparse ones have their zeros."""
    recorded = record(handwritten.Laws)
    for tensors in _drawn(handwritten.Laws).values():
        found = list(samples.matrices(recorded, tensors))
        assert len(found) >= 300
        for name, init, matrix in found:
            kind, numbers = laws.parse(init)
            check = _orthogonal if kind == "orthogonal" else _sparse
            assert check(matrix, numbers), name


def _orthogonal(matrix: Tensor, numbers: dict[str, float]) -> bool:
    short = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T
    square = short @ short.T / numbers.get("gain", 1.0) ** 2
    return bool((square - torch.eye(len(short), dtype=torch.float64)).abs().max() < 1e-5)


def _sparse(matrix: Tensor, numbers: dict[str, float]) -> bool:
    zeros = math.ceil(numbers["sparsity"] * len(matrix))
    if not bool(((matrix == 0).sum(0) == zeros).all()):
        return False
    # The rows of the zeros are uniform: chi-squared has len(matrix) - 1 degrees, and less spread
    # than independent rows.
    expected = zeros * matrix.shape[1] / len(matrix)
    spread = float((((matrix == 0).sum(1) - expected) ** 2).sum() / expected)
    values = matrix[matrix != 0].numpy()
    p = (
        stats.chi2.sf(spread, len(matrix) - 1),
        stats.ks_1samp(values, stats.norm(0, numbers["std"]).cdf).pvalue,
    )
    return min(p) > SHARE / 2


@pytest.mark.parametrize("group", ["small", "by_qr"])
def test_orthogonal_matrices_are_uniform(group: str) -> None:
    """An element of a Haar-distributed 3 x 3 matrix is uniform in [-1, 1], by Archimedes."""
    for tensors in _drawn(handwritten.Laws).values():
        stack = torch.stack(
            [v.tensor.detach() for k, v in tensors.items() if k.startswith(f"{group}.")]
        )
        assert stack.shape == (150, 3, 3)
        for i in range(3):
            for j in range(3):
                p = stats.ks_1samp(stack[:, i, j].numpy(), stats.uniform(-1, 2).cdf).pvalue
                assert p > SHARE / 20, (i, j)
        positive = int((torch.linalg.det(stack) > 0).sum())
        assert stats.binomtest(positive, 150).pvalue > SHARE / 20


def test_a_wrong_distribution_is_found() -> None:
    """The tests have power: they see a standard deviation that is 3 % too large."""

    class Wrong(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.large = nn.Parameter(torch.randn(256, 256) * 0.0206)
            self.cut = nn.Parameter(
                nn.init.trunc_normal_(torch.empty(64, 128), std=0.02, a=-0.06, b=0.06)
            )

    recorded = record(Wrong)
    claims = _claim(recorded, "normal(mean=0,std=0.02)")
    for tensors in _drawn(Wrong).values():
        results = list(samples.results(claims, tensors))
        odd = {result.what.split(":")[0] for result in results if result.p < SHARE / len(results)}
        assert "large" in odd
    assert laws.law(recorded.tensors["cut"].init).high < 0.0601


def _claim(recorded: Any, init: str) -> Any:
    from dataclasses import replace
    from types import SimpleNamespace

    tensors = {name: replace(entry, init=init) for name, entry in recorded.tensors.items()}
    return SimpleNamespace(tensors=tensors)


@pytest.mark.filterwarnings("ignore")
def test_values_without_a_closed_form() -> None:
    """Exact relations hold in replayed tensors, and torch's draws have their distribution."""
    recorded = record(handwritten.Replayed)
    drawn = _drawn(handwritten.Replayed)
    for tensors in drawn.values():
        t = {name: listed.tensor.detach() for name, listed in tensors.items()}
        assert torch.allclose(t["codes"].norm(dim=1), torch.ones(500))
        assert torch.equal(t["copied"], t["codes"][:3])
        assert torch.equal(t["symmetric"], t["symmetric"].T)
        assert torch.equal(t["lower"], t["lower"].tril()) and bool(
            (t["lower"].diagonal() != 0).all()
        )
        assert float(t["clamped"].abs().max()) == 2
        assert torch.equal(t["order"].sort().values, torch.arange(400))
        g, v = (t[f"normed.parametrizations.weight.original{i}"] for i in (0, 1))
        assert torch.equal(g, torch.norm_except_dim(v, 2, 0))
    # Elements that do not depend on each other.
    independent = {
        "codes": lambda x: x[:, 0],
        "symmetric": lambda x: x[tuple(torch.triu_indices(24, 24, 1))],
        "lower": lambda x: x[tuple(torch.tril_indices(40, 40))],
        "noisy": lambda x: x - torch.eye(30),
        **{name: lambda x: x for name in ("clamped", "lognormal", "exponential", "picked", "dice")},
    }
    for name, select in independent.items():
        assert recorded.tensors[name].origin in ("replay", "derived", "rule", "parts"), name
        a, b = (
            select(tensors[name].tensor.detach()).reshape(-1).numpy() for tensors in drawn.values()
        )
        assert not np.array_equal(a, b)
        assert stats.ks_2samp(a, b).pvalue > SHARE / len(independent), name
