"""Fills of single tensors."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest

import fanin

pytestmark = pytest.mark.usefixtures("in_folder")

SHAPE = (40, 30)


def filled(init: str = "normal(std=0.02)", shape: Any = SHAPE, **arguments: Any) -> np.ndarray:
    return fanin.fill(init, shape, **{"name": "w", "seed": 42, **arguments})


def test_bits_are_those_of_the_command_line(fanin_command: Any) -> None:
    for dtype in ("f32", "f16", "f64"):
        fanin_command(
            *(
                "fill",
                "--init",
                "kaiming_normal",
                "--shape",
                "40,30",
                "--name",
                "w",
                "--seed",
                "42",
            ),
            *("--dtype", dtype, "--overwrite", "--out", "w.npy", "--backend", "cpu"),
        )
        expected = np.load("w.npy")
        array = filled("kaiming_normal", dtype=dtype)
        assert array.dtype == expected.dtype
        assert array.tobytes() == expected.tobytes()


def test_known_bits() -> None:
    """The bits of the stream must not change unnoticed."""
    # From `fanin fill --init normal --shape 3 --name w --seed 42`.
    bits = filled("normal", 3).view("uint32")
    assert [hex(word) for word in bits] == ["0xbfcad637", "0xbfa97402", "0x3d111ce8"]


@pytest.mark.parametrize(
    ("part", "index"),
    [
        ("3:7,:", np.s_[3:7, :]),
        ("-5:,10:20", np.s_[-5:, 10:20]),
        (np.s_[2:9], np.s_[2:9]),
        (np.s_[1:4, -3:], np.s_[1:4, -3:]),
        (np.s_[35:99], np.s_[35:99]),
        (np.s_[7:3], np.s_[7:3]),
        ((4, 8), np.s_[4:8]),
        ([(4, 8), (0, 5)], np.s_[4:8, 0:5]),
        (range(3, 9), np.s_[3:9]),
        ("", np.s_[:]),
        ((), np.s_[:]),
        (None, np.s_[:]),
    ],
)
def test_slices_have_the_bits_of_the_whole(part: Any, index: Any) -> None:
    expected = filled()[index]
    array = filled(slice=part)
    assert array.shape == expected.shape
    assert (array == expected).all()


def test_threads_do_not_change_bits() -> None:
    shape = (1000, 3001)
    expected = filled(shape=shape)
    for threads in (1, 2, 5):
        assert (filled(shape=shape, threads=threads) == expected).all()


def test_pieces_do_not_change_bits() -> None:
    """A fill of more than one piece has the bits of slices that are one piece each."""
    shape = (9, 1 << 20)
    whole = filled(shape=shape)
    for row in range(9):
        assert (filled(shape=shape, slice=[(row, row + 1)])[0] == whole[row]).all()


@pytest.mark.parametrize(
    "init", ["orthogonal", "sparse(sparsity=0.5,std=1)", "identity", "uniform"]
)
def test_structured_initializers(init: str) -> None:
    array = filled(init, (64, 64))
    assert (filled(init, (64, 64), slice="8:16,:") == array[8:16]).all()
    if init == "orthogonal":
        assert np.abs(array @ array.T - np.eye(64)).max() < 1e-5


def test_dtypes() -> None:
    ml_dtypes = pytest.importorskip("ml_dtypes")
    single = filled()
    assert (filled(dtype="bfloat16") == single.astype(ml_dtypes.bfloat16)).all()
    assert (filled(dtype=ml_dtypes.bfloat16) == filled(dtype="bf16")).all()
    assert (filled(dtype="bfloat16_bits") == filled(dtype="bf16").view("uint16")).all()
    assert filled(dtype="bfloat16_bits").dtype == np.uint16
    assert (filled(dtype=np.float16) == single.astype(np.float16)).all()
    assert (filled(dtype=np.dtype("float64")) == single).all()
    eight = filled(dtype="float8_e4m3fn")
    assert eight.dtype == ml_dtypes.float8_e4m3fn
    assert (eight.view("uint8") == filled(dtype="float8_e4m3fn_bits")).all()
    for dtype in ("bool", "int8", "uint16", "int32", "int64", "uint64"):
        ones = filled("ones", (3,), dtype=dtype)
        assert ones.dtype == np.dtype(dtype)
        assert (ones == 1).all()


def test_bfloat16_without_ml_dtypes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ml_dtypes", None)
    with pytest.raises(fanin.ArgumentError, match="install ml_dtypes, .*dtype='bfloat16_bits'"):
        filled(dtype="bfloat16")
    assert filled(dtype="bfloat16_bits").dtype == np.uint16


def test_names_seeds_streams_and_layouts() -> None:
    array = filled()
    assert (filled(name="v") != array).mean() > 0.99
    assert (filled(seed=43) != array).mean() > 0.99
    assert (filled(stream=5) == filled(name="v", stream=5)).all()
    # fan_in is 30 by rows of outputs, and 40 by rows of inputs.
    ratio = filled("lecun_normal", layout="in_out") / filled("lecun_normal", layout="out_in")
    assert np.allclose(ratio, (30 / 40) ** 0.5)


def test_seeds_of_64_bits() -> None:
    largest = 2**64 - 1
    array = filled(seed=largest)
    assert (filled(seed=np.uint64(largest)) == array).all()
    assert (filled(seed=np.int32(7)) == filled(seed=7)).all()
    assert (filled(seed=0) != array).any()


def test_out_is_filled_in_place() -> None:
    expected = filled()
    out = np.zeros(SHAPE, "float32")
    assert filled(out=out) is out
    assert (out == expected).all()
    half = np.zeros(SHAPE, "float16")
    # The dtype is that of out.
    assert (filled(out=half) == expected.astype("float16")).all()
    bits = np.zeros(SHAPE, "uint16")
    filled(out=bits, dtype="bfloat16_bits")
    assert (bits.astype("uint32") << 16).view("float32") == pytest.approx(expected, rel=2**-8)


def test_out_that_is_not_contiguous() -> None:
    expected = filled()
    for out in (
        np.zeros(SHAPE[::-1], "float32").T,
        np.zeros((40, 60), "float32")[:, ::2],
        np.zeros(SHAPE, "float32")[::-1],
        np.zeros(4 * 1200 + 1, "uint8")[1:].view("float32").reshape(SHAPE),
    ):
        assert filled(out=out) is out
        assert (out == expected).all()


def test_out_is_checked() -> None:
    read_only = np.zeros(SHAPE, "float32")
    read_only.flags.writeable = False
    for out, dtype, message in (
        (np.zeros((30, 40), "float32"), None, r"out has shape \(30, 40\), not \(40, 30\)"),
        (np.zeros(1200, "float32"), None, "out has shape"),
        (np.zeros(SHAPE, "float64"), "float32", "out has dtype float64, not float32"),
        (np.zeros(SHAPE, ">f4"), "float32", "byte order of another processor"),
        (np.zeros(SHAPE, "float32"), "bfloat16_bits", "out has dtype float32, not uint16"),
        (read_only, None, "out is read-only"),
    ):
        with pytest.raises(fanin.ArgumentError, match=message):
            filled(out=out, dtype=dtype)
        assert not out.any()
    with pytest.raises(TypeError, match="out is a list: use an array of numpy"):
        filled(out=[[0.0]], dtype="float32")


def test_out_must_not_overlap() -> None:
    strided = np.lib.stride_tricks.as_strided
    memory = np.zeros(64, "float32")
    for shape, strides in (
        ((4, 4), (4, 4)),
        ((3, 3), (0, 4)),
        ((2, 2), (2, 16)),
        ((4, 4), (8, 12)),
    ):
        with pytest.raises(fanin.ArgumentError, match="out has elements that overlap in memory"):
            filled(shape=shape, out=strided(memory, shape, strides))
        assert not memory.any()
    # The axes are interleaved, but no element is met twice.
    for shape, strides in (((3, 2), (8, 12)), ((2, 3), (12, 8))):
        out = strided(memory, shape, strides)
        assert (filled(shape=shape, out=out) == filled(shape=shape)).all()
        assert (out == filled(shape=shape)).all()


def test_byte_orders_of_other_processors() -> None:
    out = np.zeros(SHAPE, ">f4")
    message = "out has dtype >f4 in the byte order of another processor: use float32"
    with pytest.raises(fanin.ArgumentError, match=message):
        filled(out=out)
    # A list of shapes needs no byte order.
    plan = fanin.Recipe.preset("kaiming").plan({"w.weight": out, "h.weight": out.astype(">f2")}, 1)
    assert [entry.dtype for entry in plan.entries] == ["f32", "f16"]


def test_groups_and_axes_are_those_of_the_command_line(fanin_command: Any) -> None:
    for arguments, options in (
        ({"groups": 4}, ["--groups", "4"]),
        ({"in_axis": 0, "out_axis": (1, 2)}, ["--in-axis", "0", "--out-axis", "1,2"]),
        ({"batch_axis": [0]}, ["--batch-axis", "0"]),
        ({"in_axis": (-1, 1), "out_axis": np.int64(0)}, ["--in-axis=-1,1", "--out-axis", "0"]),
    ):
        fanin_command(
            *("fill", "--init", "xavier_normal", "--shape", "8,6,5", "--name", "w", "--seed", "42"),
            *(*options, "--overwrite", "--out", "w.npy", "--backend", "cpu"),
        )
        array = filled("xavier_normal", (8, 6, 5), **arguments)
        assert (array == np.load("w.npy")).all()
        assert (array != filled("xavier_normal", (8, 6, 5))).any()


def test_scalars_and_empty_tensors() -> None:
    assert filled("ones", ()).shape == ()
    assert filled("ones", ()) == 1
    assert filled("normal", (0, 5)).shape == (0, 5)
    assert filled("normal", 0).shape == (0,)
    assert filled(slice="3:3,:").shape == (0, 30)


def test_progress_is_reported() -> None:
    seen = []
    filled(shape=(3 << 20,), progress=lambda done, total: seen.append((done, total)))
    assert seen[-1] == (12 << 20, 12 << 20)
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)


def test_an_exception_of_progress_is_raised() -> None:
    def fail(done: int, total: int) -> None:
        raise RuntimeError("enough")

    with pytest.raises(RuntimeError, match="enough"):
        filled(shape=(1 << 20,), progress=fail)


def test_numpy_is_imported_on_first_use() -> None:
    code = "import sys, fanin, fanin.__main__; assert 'numpy' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_types_and_names_mean_what_they_mean_in_numpy() -> None:
    for dtype, expected in [
        (float, "float64"),
        (int, "int64"),
        (np.int8, "int8"),
        ("<i8", "int64"),
    ]:
        filled = fanin.fill("ones", (2,), name="w", seed=1, dtype=dtype)
        assert filled.dtype == np.dtype(expected)
        assert filled.dtype == np.dtype(dtype)
    assert fanin.fill("ones", 2, name="w", seed=1, dtype=np.dtype("i8")).dtype == np.int64
    with pytest.raises(fanin.ArgumentError, match="dtype 'u8' is uint64 for numpy and uint8 in"):
        fanin.fill("ones", 2, name="w", seed=1, dtype="u8")


def test_an_array_is_a_shape() -> None:
    assert fanin.fill("ones", np.array([2, 3]), name="w", seed=1).shape == (2, 3)
    assert fanin.fill("ones", np.array(4), name="w", seed=1).shape == (4,)
    with pytest.raises(fanin.ArgumentError, match="use whole numbers from 0, one for each"):
        fanin.fill("ones", np.array([2.5, 3]), name="w", seed=1)
