"""The numbers of fills that arithmetic outside of the native module takes."""

from __future__ import annotations

import hashlib

import pytest

import fanin
from fanin import _native
from fanin._program import Program

RADII_SHA256 = "d1502ed97cbb884efb176be63d1f407ef6cadceda09a5eee76e2dca0beaa22ab"
"""The hash of the radius table in docs/STREAM.md."""


def program(init: str, shape: list[int], dtype: str = "f32") -> Program:
    (only,) = _native.program(init, shape, name="w", seed=42, dtype=dtype)
    return Program.of(only)


def test_numbers_of_a_normal_fill_are_those_of_the_stream():
    normal = program("normal(std=1)", [5, 3])
    assert (normal.core, normal.mask, normal.ranges, normal.dims) == (
        "normal",
        "none",
        ((0, 5), (0, 3)),
        (5, 3),
    )
    assert normal.key == (42, 0)
    assert normal.stream == (0x9CE421E750 & 0xFFFFFFFF, 0x003F019C)
    assert (normal.exponent, normal.offset, normal.shift, normal.multiplier) == (-25, 0, 0, 2**31)
    assert hashlib.sha256(normal.table[: 4096 * 8]).hexdigest() == RADII_SHA256


def test_normal_fills_share_one_table():
    tables = [program(init, [4]).table for init in ("normal(std=1)", "normal(std=0.02)")]
    assert tables[0] is tables[1]


def test_uniform_fills_have_bounds_in_steps():
    uniform = program("uniform(low=0, high=1)", [4])
    assert (uniform.core, uniform.exponent, uniform.offset) == ("uniform", -24, 0)
    assert uniform.multiplier == 2**24
    assert uniform.table == b""


def test_matrices_have_the_numbers_of_standard_normals_and_a_gain():
    matrix = program("orthogonal(gain=2)", [6, 9])
    assert matrix.matrix == (6, 9, 1, 0, False)
    assert (matrix.exponent, matrix.constant) == (-25, 0x40000000)


def test_floats_of_8_bits_have_bounds_of_their_own():
    init = "truncated_normal(std=1, lower=-1.03, upper=1.03)"
    assert program(init, [4], "f8_e5m2").bounds == (-1.0, 1.0)
    assert program(init, [4]).bounds is None


def test_parts_come_after_the_tensor_in_their_order():
    plan = fanin.Recipe.from_toml(
        """
        [[rule]]
        match = "*"
        init = "normal(std=0.02)"
        parts = [
            { slice = "0:2,:", init = "zeros" },
            { slice = "2:4,1:3", init = "eye" },
        ]
        """
    ).plan([("w", (4, 3), None)], seed=1)
    whole, zeros, eye = (Program.of(numbers) for numbers in plan._plan.program("w"))
    assert (whole.core, zeros.core, eye.mask) == ("normal", "constant", "diagonal")
    assert (zeros.ranges, zeros.dims, zeros.origin) == (((0, 2), (0, 3)), (4, 3), (0, 0))
    # The elements of an identity depend on rows and columns, which count from the part's start.
    assert (eye.ranges, eye.dims, eye.origin) == (((2, 4), (1, 3)), (2, 2), (2, 1))
    assert eye.stream != whole.stream == zeros.stream


def test_tensors_that_cannot_be_made_are_errors():
    with pytest.raises(fanin.FaninError, match="whole numbers"):
        _native.program("normal(std=1)", [4], name="w", seed=1, dtype="i32")
