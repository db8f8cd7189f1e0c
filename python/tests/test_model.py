"""Models in files: written, verified, examined and compared."""

from __future__ import annotations

import dataclasses
import errno
import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fanin

pytestmark = pytest.mark.usefixtures("in_folder")

POSIX = pytest.mark.skipif(os.name != "posix", reason="needs paths and file systems of POSIX")

TENSORS = {
    f"{layer}.{part}": shape
    for layer in range(6)
    for part, shape in (("weight", (64, 48)), ("bias", (64,)))
}

SPEC = """
mesh = [{ name = "fsdp", size = 2 }, { name = "tp", size = 2 }]

[[rule]]
match = "*.weight"
placements = ["shard(0)", "shard(1)"]

[[rule]]
match = "*"
placements = ["shard(0)", "replicate"]
"""


def write_list() -> None:
    tensors = [{"name": name, "shape": shape} for name, shape in TENSORS.items()]
    Path("list.json").write_text(json.dumps(tensors))


def contents(folder: str) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(Path(folder).iterdir())}


def test_files_are_those_of_the_command_line(fanin_command: Any) -> None:
    write_list()
    Path("spec.toml").write_text(SPEC)
    for arguments, given in (
        ({"out": "one/model.safetensors"}, []),
        ({"dtype": "bfloat16", "out": "one/half.safetensors"}, ["--dtype", "bf16"]),
        ({"max_shard_size": "30KB", "out": "shards/"}, ["--max-shard-size", "30KB"]),
        ({"max_shard_size": 40_000, "out": "more"}, ["--max-shard-size", "40000"]),
        ({"shard_spec": "spec.toml", "out": "ranks"}, ["--shard-spec", "spec.toml"]),
    ):
        out = str(arguments["out"])
        Path("py", out).parent.mkdir(parents=True, exist_ok=True)
        Path("cli", out).parent.mkdir(parents=True, exist_ok=True)
        options: dict[str, Any] = {**arguments, "out": f"py/{out}"}
        files = fanin.init_model("kaiming", "list.json", 42, **options)
        fanin_command(
            *("init", "kaiming", "--tensors", "list.json", "--seed", "42", "--backend", "cpu"),
            *(*given, "--out", f"cli/{out}"),
        )
        assert files.missing == ()
        assert files.tensors == len(TENSORS)
        assert files.elements == 6 * (64 * 48 + 64)
        assert all(Path(path).is_file() for path in files.files)
    for folder in ("one", "shards", "more", "ranks"):
        expected = contents(f"cli/{folder}")
        assert len(expected) >= 2
        assert contents(f"py/{folder}") == expected


def test_processes_share_the_files() -> None:
    whole = fanin.init_model("kaiming", TENSORS, 42, out="whole/", max_shard_size="30KB")
    first = fanin.init_model(
        "kaiming", TENSORS, 42, out="shared/", max_shard_size="30KB", rank=1, world_size=2
    )
    assert 0 < len(first.files) < len(whole.files)
    assert first.missing
    assert not Path("shared/model.safetensors.index.json").exists()
    last = fanin.init_model(
        "kaiming", TENSORS, 42, out="shared/", max_shard_size="30KB", rank=0, world_size=2
    )
    assert not last.missing
    assert len(first.files) + len(last.files) == len(whole.files)
    assert first.bytes + last.bytes == whole.bytes
    assert contents("shared") == contents("whole")


def test_a_rank_writes_its_own_part() -> None:
    Path("spec.toml").write_text(SPEC)
    fanin.init_model("kaiming", TENSORS, 42, out="all/", shard_spec="spec.toml")
    for rank in range(4):
        fanin.init_model("kaiming", TENSORS, 42, out="each/", shard_spec="spec.toml", rank=rank)
        assert len(contents("each")) == rank + 1
    assert contents("each") == contents("all")
    with pytest.raises(
        fanin.ArgumentError, match="rank 4 is out of range: with 4 ranks use 0 to 3"
    ):
        fanin.init_model("kaiming", TENSORS, 42, out="each/", shard_spec="spec.toml", rank=4)


def test_a_model_is_resumed_or_replaced() -> None:
    files = fanin.init_model("kaiming", TENSORS, 42, out="m/", max_shard_size="30KB")
    expected = contents("m")
    Path(files.files[1]).unlink()
    Path("m/model.safetensors.index.json").unlink()
    fanin.init_model("kaiming", TENSORS, 42, out="m/", max_shard_size="30KB", resume=True)
    assert contents("m") == expected
    with pytest.raises(fanin.FormatError, match="m/?: holds .* of another model") as caught:
        fanin.init_model("kaiming", TENSORS, 42, out="m/")
    # The command line has flags, and Python has arguments.
    assert "--" not in str(caught.value)
    assert "set overwrite to have that removed" in str(caught.value)
    assert contents("m") == expected
    fanin.init_model("kaiming", TENSORS, 42, out="m/", overwrite=True)
    assert list(contents("m")) == ["model.safetensors"]


def test_arguments_that_do_not_fit_are_refused() -> None:
    Path("spec.toml").write_text(SPEC)
    for arguments, message in (
        ({"out": "m.txt"}, "use a .safetensors file, or a folder"),
        ({"out": ""}, "use a .safetensors file, or a folder"),
        ({"out": "m.safetensors", "max_shard_size": "1GB"}, "max_shard_size needs a folder"),
        ({"out": "m.safetensors", "shard_spec": "spec.toml"}, "give a folder"),
        ({"out": "m.safetensors", "rank": 0, "world_size": 2}, "give a folder"),
        ({"out": "m/", "max_shard_size": 1000, "shard_spec": "spec.toml"}, "cannot be combined"),
        ({"out": "m/", "rank": 0}, "rank and world_size: give both, or none of them"),
        (
            {"out": "m/", "rank": 2, "world_size": 2},
            "rank 2 is out of range: with 2 ranks use 0 to 1",
        ),
        (
            {"out": "m/", "max_shard_size": "5 apples"},
            "max_shard_size '5 apples': use a number of bytes such as",
        ),
        ({"out": "m/", "memory": 0}, "memory 0: use a number of bytes"),
    ):
        with pytest.raises(fanin.ArgumentError, match=message):
            fanin.init_model("kaiming", TENSORS, 42, **arguments)  # type: ignore[arg-type]
    assert sorted(path.name for path in Path().iterdir()) == ["spec.toml"]


@POSIX
@pytest.mark.parametrize(
    "arguments",
    [
        {"out": "w.safetensors"},
        {"out": "m/", "max_shard_size": "1GB"},
        {"out": "m/", "shard_spec": "spec.toml"},
        {"out": "m/", "shard_spec": "spec.toml", "rank": 3},
    ],
)
def test_a_model_without_room_is_refused_at_once(arguments: dict[str, Any]) -> None:
    Path("spec.toml").write_text(SPEC)
    free = shutil.disk_usage(".").free
    rows = free // 2**10
    calls = []

    def stop(done: int, total: int) -> None:
        calls.append(done)
        raise RuntimeError("it fills the disk")

    # Twice the free space for each of four ranks.
    tensors = {"w.weight": (8, rows // 4 * 4, 256), "w.bias": (8,)}
    with pytest.raises(fanin.FileError, match="cannot write: [0-9]+ bytes are needed") as full:
        fanin.init_model("kaiming", tensors, 1, **arguments, progress=stop)
    assert full.value.errno == errno.ENOSPC
    [needed, had] = [int(word) for word in re.findall(r"\b[0-9]{5,}\b", str(full.value))]
    assert needed > had
    assert needed >= 1.9 * free
    assert not calls
    left = [path for path in Path().rglob("*") if path.is_file()]
    assert left == [Path("spec.toml")]


@POSIX
def test_a_path_that_is_not_utf_8() -> None:
    folder = os.fsdecode(b"f\xff")
    try:
        Path(folder).mkdir()
    except OSError:
        pytest.skip("the file system has no such names")
    path = Path(folder, "w.safetensors")
    fanin.init_model("kaiming", TENSORS, 42, out=path)
    assert fanin.verify(path, "kaiming", 42).same
    contents = bytearray(path.read_bytes())
    contents[-1] ^= 1
    path.write_bytes(contents)
    found = fanin.verify(path, "kaiming", 42)
    [tensor] = found.differing
    assert tensor.differing == 1
    assert tensor.first is not None
    assert tensor.first.file == path
    assert json.loads(json.dumps(found.to_dict()))["same"] is False


def test_progress_of_statistics_ends_at_the_total() -> None:
    np.save("w.npy", np.ones((300, 4), "float32"))
    fanin.init_model("kaiming", TENSORS, 42, out="w.safetensors")
    mixed = fanin.Recipe.from_rules([{"match": "steps", "init": "ones"}], extends="kaiming")
    fanin.init_model(mixed, [("steps", (9,), "int64"), ("w.weight", (4, 3))], 1, out="m/")
    seen: list[tuple[int, int]] = []
    for path, total in (("w.npy", 4800), ("w.safetensors", 4 * 6 * (64 * 48 + 64)), ("m", 48)):
        fanin.stats(path, progress=lambda *reported: seen.append(reported))
        assert seen[-1] == (total, total)


def test_help_describes_attributes() -> None:
    for kind in (fanin.Verification, fanin.TensorStats, fanin.PlanEntry, fanin.ModelFiles):
        for field in dataclasses.fields(kind):
            assert f"        {field.name}: " in (kind.__doc__ or "")


def test_unused_rules_warn() -> None:
    recipe = fanin.Recipe.from_rules([{"match": "nothing", "init": "zeros"}], extends="kaiming")
    with pytest.warns(UserWarning, match='match = "nothing" applies to no tensor') as caught:
        fanin.init_model(recipe, TENSORS, 42, out="m.safetensors")
    # The warning is at the line that calls the function.
    assert caught[0].filename == __file__
    with pytest.raises(fanin.RecipeError, match='match = "nothing" applies to no tensor'):
        fanin.init_model(recipe, TENSORS, 42, out="n.safetensors", strict=True)
    assert not Path("n.safetensors").exists()


def test_kept_tensors_are_copied() -> None:
    fanin.init_model("kaiming", TENSORS, 1, out="old.safetensors")
    recipe = fanin.Recipe.from_rules([{"match": "0.*", "keep": True}], extends="kaiming")
    fanin.init_model(recipe, "old.safetensors", 2, out="new.safetensors")
    kept = recipe.plan("old.safetensors", 2)
    assert kept["0.weight"].is_kept
    old = fanin.Recipe.preset("kaiming").plan(TENSORS, 1)
    assert (kept.fill("0.weight") == old.fill("0.weight")).all()
    assert (kept.fill("0.weight", "3:5,7:40") == old.fill("0.weight")[3:5, 7:40]).all()
    assert fanin.verify("new.safetensors", recipe, 2, "old.safetensors").same
    with pytest.raises(fanin.ArgumentError, match="tensors are kept from"):
        fanin.init_model(recipe, "old.safetensors", 2, out="old.safetensors")
    with pytest.raises(fanin.RecipeError, match="keep = true needs a list that was read from"):
        recipe.plan(TENSORS, 2)


def test_verify() -> None:
    fanin.init_model("kaiming", TENSORS, 42, out="w.safetensors", dtype="bf16")
    found = fanin.verify("w.safetensors", "kaiming", 42)
    assert found.same
    assert found.hints == found.missing == found.passed_over == found.differing == []
    assert found.header == []
    assert found.bytes == 2 * 6 * (64 * 48 + 64)
    assert repr(found) == "<fanin.Verification of 12 tensors by 'kaiming', seed 42: same>"

    damaged = bytearray(Path("w.safetensors").read_bytes())
    damaged[damaged.index(b'"seed":"42"') + len('"seed":"')] ^= 1
    Path("damaged.safetensors").write_bytes(damaged)
    found = fanin.verify("damaged.safetensors", "kaiming", 42)
    assert not found.same
    assert found.differing == []
    assert len(found.header) == 1 and "seed" in found.header[0]

    found = fanin.verify(Path("w.safetensors"), fanin.Recipe.preset("kaiming"), 43)
    assert not found.same
    assert found.hints == ['its metadata has seed "42", not "43"']
    # Biases are zeros with every seed.
    assert [tensor.name for tensor in found.differing] == [f"{layer}.weight" for layer in range(6)]
    first = found.differing[0].first
    assert first is not None
    assert (first.index, first.flat) == ((0, 0), 0)
    plan = fanin.Recipe.preset("kaiming").plan(TENSORS, 42)
    stored = plan.fill("0.weight", "0:1,0:1", dtype="bf16")
    assert first.stored.value == float(stored[0, 0])
    assert json.loads(json.dumps(found.to_dict()))["tensors"][0]["name"] == "0.weight"
    assert "6 differ" in repr(found)

    more = {**TENSORS, "7.weight": (3, 3)}
    assert fanin.verify("w.safetensors", "kaiming", 42, more).missing == ["7.weight"]


def test_stats() -> None:
    fanin.init_model("kaiming", TENSORS, 42, out="w.safetensors")
    rows = fanin.stats("w.safetensors", "kaiming")
    assert [row.name for row in rows] == list(TENSORS)
    weight = fanin.Recipe.preset("kaiming").plan(TENSORS, 42).fill("0.weight").astype("float64")
    row = rows[0]
    assert (row.shape, row.dtype, row.n) == ((64, 48), "f32", 64 * 48)
    assert row.mean == pytest.approx(weight.mean())
    assert row.std == pytest.approx(weight.std())
    assert (row.min, row.max, row.zeros) == (weight.min(), weight.max(), 0)
    assert row.expected is not None
    assert row.expected.std.expected == pytest.approx((2 / 48) ** 0.5)
    assert row.expected.std.low < row.std < row.expected.std.high  # type: ignore[operator]
    assert all(row.flags == () for row in rows)
    flagged = fanin.stats("w.safetensors", "xavier")[0]
    assert [flag.statistic for flag in flagged.flags][:1] == ["std"]
    assert json.loads(json.dumps(flagged.to_dict()))["flags"][0]["text"] == "std too large"
    assert fanin.stats("w.safetensors")[0].expected is None
    np.save("a.npy", weight.astype("float32"))
    assert fanin.stats("a.npy")[0].mean == pytest.approx(weight.mean())
    np.save("counts.npy", np.arange(5))
    assert fanin.stats("counts.npy")[0].mean is None


def test_stats_of_parts() -> None:
    rules = [{"match": "*", "init": "normal", "parts": [{"slice": "0:8", "init": "zeros"}]}]
    recipe = fanin.Recipe.from_rules(rules)
    fanin.init_model(recipe, {"w": (64, 48)}, 1, out="w.safetensors")
    [row] = fanin.stats("w.safetensors", recipe)
    assert [part.name for part in row.parts] == ["w[rest]", "w[0:8,0:48]"]
    assert row.parts[1].zeros == 8 * 48


def test_diff() -> None:
    fanin.init_model("kaiming", TENSORS, 1, out="a.safetensors")
    fanin.init_model("kaiming", {**TENSORS, "7.weight": (2, 2)}, 2, out="b.safetensors")
    same = fanin.diff("kaiming", "a.safetensors", 1)
    assert same.total.untouched == same.total.elements
    assert same.total.change_norm == 0
    stored = fanin.diff("a.safetensors", "b.safetensors")
    made = fanin.diff(fanin.Recipe.preset("kaiming"), "b.safetensors", 1, TENSORS)
    assert made == stored
    assert stored.only_in_trained == ["7.weight"]
    a, b = (fanin.Recipe.preset("kaiming").plan(TENSORS, seed).fill("0.weight") for seed in (1, 2))
    change = stored.tensors[0]
    norm = float(np.linalg.norm(a.astype("float64")))
    assert change.relative == pytest.approx(float(np.linalg.norm(b.astype("float64") - a)) / norm)
    assert stored.tensors[1].relative is None
    assert repr(stored).startswith("<fanin.Diff of 12 tensors: relative change 1.4")
    assert json.loads(json.dumps(stored.to_dict()))["total"]["elements"] == stored.total.elements
    with pytest.raises(fanin.ArgumentError, match="seed is given, but 'a.safetensors' is a file"):
        fanin.diff("a.safetensors", "b.safetensors", 1)
    message = r'unknown preset "kaming": did you mean "kaiming"\? use one of .*gpt2'
    with pytest.raises(fanin.ArgumentError, match=message):
        fanin.diff("kaming", "b.safetensors", 1)
    with pytest.raises(fanin.FileError, match=r"\./kaming: "):
        fanin.diff("./kaming", "b.safetensors")
