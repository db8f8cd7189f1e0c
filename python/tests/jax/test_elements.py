"""XLA computes the bits of the crate: every distribution, dtype and place in a tensor."""

from __future__ import annotations

import math
from typing import Any

import jax
import numpy as np
import pytest

import fanin
from fanin.jax import _elements, _form

from .compare import SEED, assert_same_bits, key, rules, shape, traced

DRAWN = [
    "normal(mean=0,std=0.02)",
    "normal(mean=-1.5,std=0.5)",
    "normal(mean=1,std=1e-6)",
    "normal(mean=1,std=1e-12)",
    "normal(mean=0,std=1e-40)",
    "normal(mean=0,std=3e38)",
    "uniform(low=0,high=1)",
    "uniform(low=-3,high=0.001)",
    "uniform(low=1e-40,high=3e-39)",
    "uniform(low=-3.4e38,high=3.4e38)",
    "truncated_normal(mean=0.1,std=0.5,lower=-2,upper=2)",
    "truncated_normal(mean=0,std=1,lower=20,upper=21)",
    "trunc_normal(mean=-0.3,std=0.02,a=-0.7,b=-0.6)",
    "log_uniform(low=1,high=16)",
    "mamba_dt_bias(min=0.001,max=0.1,floor=0.02)",
]
PLACED = {
    "constant(value=0.3)": (3, 5),
    "eye": (5, 7),
    "identity(gain=0.5)": (7, 5),
    "dirac(groups=2)": (6, 3, 3, 4),
    "embedding(mean=0,std=0.5,padding_idx=2)": (6, 5),
    "sparse(sparsity=0.3,std=0.1)": (13, 7),
    "causal_mask(value=1)": (2, 6, 6),
    "arange(start=1,step=0.5)": (3, 9),
    "inv_freq(theta=10000)": (16,),
    "sinusoids": (9, 12),
    "sinusoidal": (9, 11),
    "mamba_a_log": (5, 16),
}
DTYPES = ["float32", "float16", "bfloat16"]
OTHERS = ["float8_e4m3fn", "float8_e5m2"]


@pytest.mark.parametrize("dtype", DTYPES)
def test_distributions(dtype: str) -> None:
    # A distribution that a dtype cannot hold is refused by both.
    inits = {f"t{n}": init for n, init in enumerate(DRAWN) if _fits(init, dtype)}
    assert len(inits) >= 13
    made = traced(rules(inits), {name: shape(7, 30, dtype=dtype) for name in inits}, SEED)
    for name, init in inits.items():
        expected = fanin.fill(init, (7, 30), name=name, seed=SEED, dtype=dtype)
        assert_same_bits(made[name], expected, f"{init} {dtype}")


def _fits(init: str, dtype: str) -> bool:
    try:
        fanin.fill(init, (1,), name="w", seed=1, dtype=dtype)
    except fanin.ArgumentError:
        return False
    return True


@pytest.mark.parametrize("dtype", OTHERS)
def test_floats_of_eight_bits(dtype: str) -> None:
    inits = {
        "normal": "normal(mean=0,std=100)",
        "small": "normal(mean=0,std=0.003)",
        "far": "uniform(low=-100000,high=100000)",
        "held": "truncated_normal(mean=0,std=0.02,lower=-2,upper=2)",
    }
    made = traced(rules(inits), {name: shape(40, 30, dtype=dtype) for name in inits}, SEED)
    for name, init in inits.items():
        expected = fanin.fill(init, (40, 30), name=name, seed=SEED, dtype=dtype)
        assert_same_bits(made[name], expected, f"{init} {dtype}")


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_rows_and_columns(dtype: str) -> None:
    inits = {f"t{n}": init for n, init in enumerate(PLACED)}
    shapes = {name: shape(*PLACED[init], dtype=dtype) for name, init in inits.items()}
    made = traced(rules(inits), shapes, SEED)
    for name, init in inits.items():
        expected = fanin.fill(init, PLACED[init], name=name, seed=SEED, dtype=dtype)
        assert_same_bits(made[name], expected, f"{init} {dtype}")


def test_whole_numbers_and_doubles() -> None:
    inits = {"count": "zeros", "flag": "ones", "steps": "arange(start=3,step=2)"}
    shapes = {
        "count": shape(dtype="int32"),
        "flag": shape(4, dtype="bool"),
        "steps": shape(2, 5, dtype="uint8"),
    }
    made = traced(rules(inits), shapes, SEED)
    for name, init in inits.items():
        dtype = np.dtype(shapes[name].dtype)
        expected = fanin.fill(init, shapes[name].shape, name=name, seed=SEED, dtype=dtype)
        assert_same_bits(made[name], expected, name)
    with jax.enable_x64(True):
        wide = traced(rules({"w": "normal"}), {"w": shape(9, dtype="float64")}, SEED)["w"]
    expected = fanin.fill("normal", (9,), name="w", seed=SEED, dtype="float64")
    assert_same_bits(wide, expected, "float64")


def test_parts_and_given_values() -> None:
    box = {"slice": "0:2,:", "init": "zeros"}
    recipe = fanin.Recipe.from_rules(
        [
            {
                "match": "mixed",
                "init": "normal(std=0.1)",
                "parts": [box, {"slice": "1:5,2:6", "init": "uniform(low=-1,high=1)"}],
            },
            {
                "match": "apart",
                "init": "ones",
                "parts": [
                    {"slice": "1:8,1:6", "init": "sparse(sparsity=0.5,std=0.2)"},
                    {"slice": "0:9,6:10", "init": "sinusoids"},
                    {"slice": "8:12,0:6", "init": "eye"},
                ],
            },
            {"match": "given", "values": [[0.5, 1.0, -2.0], [3.0, 4.0, 1e-3]]},
        ]
    )
    shapes = {"mixed": shape(6, 7), "apart": shape(12, 10), "given": shape(2, 3)}
    made = traced(recipe, shapes, SEED)
    plan = recipe.plan(shapes, SEED)
    for name in shapes:
        assert_same_bits(made[name], plan.fill(name), name)


@pytest.mark.parametrize(
    ("init", "dims"),
    [
        ("orthogonal(gain=3)", (24, 17)),
        ("orthogonal(gain=1)", (17, 24)),
        ("orthogonal(gain=1)", (8, 3, 5)),
        ("delta_orthogonal(gain=2)", (7, 5, 3, 3)),
    ],
)
@pytest.mark.parametrize("layout", ["out_in", "in_out"])
def test_orthogonal_matrices_are_close(init: str, dims: tuple[int, ...], layout: str) -> None:
    if layout == "in_out" and init.startswith("delta"):
        dims = (*dims[2:], dims[1], dims[0])
    made = traced(rules({"w": init}, layout=layout), {"w": shape(*dims)}, SEED)["w"]
    expected = fanin.fill(init, dims, name="w", seed=SEED, layout=layout)
    assert np.count_nonzero(expected) == np.count_nonzero(made)
    assert np.max(np.abs(np.asarray(made) - expected)) <= 1e-5 * np.max(np.abs(expected)) + 1e-6


@pytest.mark.parametrize("init", ["normal", "uniform", "embedding(padding_idx=3000000000)"])
def test_tensors_beyond_two_to_the_32_elements(init: str) -> None:
    dims = ((1 << 32) - 1, 5)
    rows = [0, 3_000_000_000, (1 << 32) - 2, 858_993_459, 858_993_460]
    plan = rules({"w": init}).plan([("w", dims, "float32")], SEED)
    at = np.array([[row, column] for row in rows for column in range(5)], np.uint32).T
    made = _bits(plan, list(at))
    parts = [plan.fill("w", [(row, row + 1), (0, 5)]) for row in rows]
    assert_same_bits(made, np.concatenate(parts).reshape(-1).view(np.uint32), init)


def test_the_last_elements_of_the_largest_tensor() -> None:
    dims = (1 << 20, 1 << 20, 1 << 10)
    assert math.prod(dims) == 1 << 50
    plan = rules({"w": "normal"}).plan([("w", dims, "float32")], SEED)
    ends = np.array([[dim - 1] * 8 for dim in dims], np.uint32)
    ends[2] -= np.arange(8, dtype=np.uint32)[::-1]
    expected = plan.fill("w", [(dim - 1, dim) for dim in dims[:2]] + [(dims[2] - 8, dims[2])])
    assert_same_bits(_bits(plan, list(ends)), expected.reshape(-1).view(np.uint32), "the end")


def test_a_dimension_of_more_than_32_bits_is_refused() -> None:
    with pytest.raises(fanin.ArgumentError, match="'w' has a dimension of 4294967296: use less"):
        traced(rules({"w": "normal"}), {"w": shape(1 << 32)}, SEED)


def _bits(plan: fanin.Plan, at: list[Any]) -> Any:
    """Returns the bits of elements at coordinates, from functions for whole tensors."""
    form, arguments = _form.form_of(plan, "w")

    def make(key: Any, at: list[Any]) -> jax.Array:
        return _elements.elements(form, arguments, (key[1], key[0]), at, at[0].shape)

    return jax.jit(make)(key(SEED), at)
