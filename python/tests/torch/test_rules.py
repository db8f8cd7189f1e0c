"""Recipes as text: short, readable, and right for every name."""

from __future__ import annotations

import random
import re
import time

import numpy as np
import pytest

import fanin
from fanin.torch._globs import Names, escaped
from fanin.torch._rules import Assignment, Item, Part, recipe_text, slice_text
from fanin.torch._slices import slices


def globs(groups: dict[str, list[str]]) -> dict[str, list[str]]:
    """Returns the globs of each group of names."""
    names = Names({name: i for i, group in enumerate(groups.values()) for name in group})
    return {key: names.globs(group) for key, group in groups.items()}


def layers(count: int, *names: str) -> list[str]:
    """Returns names in several layers."""
    return [f"model.layers.{i}.{name}" for i in range(count) for name in names]


def test_endings_stand_for_layers() -> None:
    groups = {
        "normal": layers(12, "attn.q_proj.weight", "attn.k_proj.weight", "mlp.up_proj.weight"),
        "ones": [*layers(12, "input_layernorm.weight", "attn.q_norm.weight"), "model.norm.weight"],
        "zeros": layers(12, "attn.q_proj.bias"),
    }
    assert globs(groups) == {
        "normal": ["*_proj.weight"],
        "ones": ["*norm.weight"],
        "zeros": ["*.bias"],
    }


def test_a_glob_matches_nothing_else() -> None:
    groups = {
        "a": ["vision.layers.0.fc.weight", "vision.layers.1.fc.weight"],
        "b": ["text.layers.0.fc.weight", "text.layers.1.fc.weight"],
    }
    assert globs(groups) == {"a": ["vision.*"], "b": ["text.*"]}


def test_names_stand_alone_if_no_glob_fits() -> None:
    assert globs({"a": ["x1", "y2"], "b": ["x2", "y1"]}) == {"a": ["x1", "y2"], "b": ["x2", "y1"]}
    assert globs({"a": ["only.weight"], "b": ["other.bias"]})["a"] == ["only.weight"]


def test_all_names_of_one_group_are_a_star() -> None:
    assert globs({"a": ["a.b", "c", "d.e.f"]}) == {"a": ["*"]}


def test_numbers_in_the_middle() -> None:
    groups = {
        "a": [f"stages.{i}.blocks.{j}.norm.weight" for i in range(3) for j in range(2)],
        "b": [f"stages.{i}.downsample.norm.weight" for i in range(3)],
    }
    assert globs(groups) == {
        "a": ["stages.*.blocks.*.norm.weight"],
        "b": ["*.downsample.norm.weight"],
    }


def test_special_characters_are_escaped() -> None:
    names = ["a[0].*", "a[1].*", "b{x,y}", "c\\d", "e?", "!f"]
    for name in names:
        items = [
            Item(name, Assignment("init", "ones")),
            Item("z" + name, Assignment("init", "zeros")),
        ]
        plan = fanin.Recipe.from_toml(recipe_text(items)).plan(
            [(i.name, [2], None) for i in items], 1
        )
        assert plan[name].init == "ones"
        assert plan["z" + name].init == "zeros"
    assert escaped("a.b_c-d") == "a.b_c-d"


@pytest.mark.parametrize("seed", range(30))
def test_any_groups_of_any_names(seed: int) -> None:
    """The recipe gives every tensor its own assignment, whatever the names are."""
    rng = random.Random(seed)
    words = [
        "weight",
        "bias",
        "norm",
        "layers",
        "0",
        "1",
        "10",
        "q_proj",
        "k_proj",
        "a",
        "x?",
        "[b]",
    ]
    names = {".".join(rng.choices(words, k=rng.randint(1, 5))) for _ in range(60)}
    inits = ["ones", "zeros", "constant(value=2)", "constant(value=3)", "normal(std=0.5)"]
    items = [
        Item(name, Assignment("init", rng.choice(inits[: 1 + seed % 5]))) for name in sorted(names)
    ]
    owners = [item for item in items if rng.random() < 0.7] or items[:1]
    chosen = {item.name for item in owners}
    items = [
        item
        if item.name in chosen
        else Item(
            item.name, Assignment(rng.choice(["same_as", "tied_to"]), rng.choice(owners).name)
        )
        for item in items
    ]
    text = recipe_text(items)
    plan = fanin.Recipe.from_toml(text).plan([(item.name, [2], None) for item in items], 1)
    assert plan.unused == []
    for item in items:
        entry = plan[item.name]
        others = {"tied_to": entry.tied_to, "same_as": entry.same_as}
        if item.assignment.key == "init":
            assert entry.init == item.assignment.value, item
            assert others == {"tied_to": None, "same_as": None}
        else:
            assert others.pop(item.assignment.key) == item.assignment.value, item
            assert list(others.values()) == [None]


def test_copies_of_layers_are_one_rule() -> None:
    first = [Item(name, Assignment("init", "normal")) for name in ("h.0.a.w", "h.0.b.w")]
    copies = [
        Item(f"h.{i}.{name}", Assignment("same_as", f"h.0.{name}"))
        for i in (1, 2)
        for name in ("a.w", "b.w")
    ]
    assert recipe_text([*first, *copies]).splitlines()[-6:] == [
        "[[rule]]",
        "match = [",
        '    "h.1.*",',
        '    "h.2.*",',
        "]",
        'same_as = "h.0.*"',
    ]


def test_a_recipe_reads_well() -> None:
    part = Part("2", init="zeros")
    items = [
        Item("embed.weight", Assignment("init", "normal(std=0.02)", (part,))),
        Item("norm.weight", Assignment("values", (0.5, 1.0, -1e-7))),
        Item("table", Assignment("keep", "m.safetensors")),
        Item("id", Assignment("init", "zeros", comment="Nothing writes it.")),
        Item("head.weight", Assignment("tied_to", "embed.weight")),
    ]
    assert (
        recipe_text(items, ["A model."], ["seed = 1"])
        == """\
# A model.

seed = 1

[[rule]]
match = "embed.weight"
init = "normal(std=0.02)"
parts = [
    { slice = "2", init = "zeros" },
]

[[rule]]
match = "norm.weight"
values = [0.5, 1, -1e-07]

[[rule]]
match = "table"
keep = "m.safetensors"

[[rule]]
# Nothing writes it.
match = "id"
init = "zeros"

[[rule]]
match = "head.weight"
tied_to = "embed.weight"
"""
    )


def test_an_empty_list_has_a_recipe() -> None:
    assert fanin.Recipe.from_toml(recipe_text([])).plan([], 1).names == []


@pytest.mark.parametrize(
    ("ranges", "shape", "text"),
    [
        (((2, 3), (0, 8)), (9, 8), "2"),
        (((0, 9), (1, 4)), (9, 8), ":, 1:4"),
        (((0, 9), (0, 8)), (9, 8), ":"),
        (((4, 8),), (16,), "4:8"),
        (((0, 1), (2, 3), (0, 5)), (1, 4, 5), ":, 2"),
        ((), (), ":"),
    ],
)
def test_slices_as_text(
    ranges: tuple[tuple[int, int], ...], shape: tuple[int, ...], text: str
) -> None:
    assert slice_text(ranges, shape) == text


def test_a_large_model_has_globs_soon() -> None:
    import time

    names = layers(
        60, *(f"mlp.experts.{e}.{w}_proj.weight" for e in range(256) for w in ("up", "down"))
    )
    items = [Item(name, Assignment("init", "normal(std=0.02)")) for name in names]
    items += [Item(name, Assignment("init", "ones")) for name in layers(60, "norm.weight")]
    start = time.monotonic()
    text = recipe_text(items)
    assert time.monotonic() - start < 30
    assert len(text.splitlines()) < 10
    assert re.findall(r'match = "(.*)"', text) == ["*_proj.weight", "*.norm.weight"]


@pytest.mark.parametrize("seed", range(200))
def test_slices_hold_exactly_the_elements(seed: int) -> None:
    rng = np.random.default_rng(seed)
    shape = tuple(rng.integers(1, 6, rng.integers(1, 5)).tolist())
    mask = np.zeros(shape, dtype=bool)
    for _ in range(rng.integers(1, 4)):
        ends = [sorted(rng.integers(0, size + 1, 2).tolist()) for size in shape]
        mask[tuple(slice(start, end) for start, end in ends)] = True
    if rng.random() < 0.3:
        mask ^= rng.random(shape) < 0.1
    flat = np.concatenate([[0], mask.reshape(-1).astype(int), [0]])
    edges = np.flatnonzero(np.diff(flat))
    spans = edges.reshape(-1, 2).astype(np.int64)
    found = slices(spans, shape, 10_000)
    assert found is not None
    held = np.zeros(shape, dtype=int)
    for box in found:
        held[tuple(slice(start, end) for start, end in box)] += 1
    assert np.array_equal(held, mask.astype(int))


@pytest.mark.parametrize(
    ("shape", "index"),
    [
        ((50, 40), np.s_[:, 3]),
        ((50, 40), np.s_[:, 5:9]),
        ((50, 40), np.s_[4]),
        ((50, 40), np.s_[10:30, 2:7]),
        ((6, 7, 8), np.s_[:, 2:5, :]),
        ((6, 7, 8), np.s_[1:5, :, 4]),
        ((6, 7, 8), np.s_[1:5, 2:4, 3:5]),
        ((6, 7, 8, 9), np.s_[:, 1:3, :, 2:4]),
        ((6, 1, 8), np.s_[2:4, :, 1]),
    ],
)
def test_a_box_is_one_slice(shape: tuple[int, ...], index: object) -> None:
    mask = np.zeros(shape, dtype=bool)
    mask[index] = True
    flat = np.concatenate([[0], mask.reshape(-1).astype(int), [0]])
    spans = np.flatnonzero(np.diff(flat)).reshape(-1, 2).astype(np.int64)
    found = slices(spans, shape, 1)
    assert found is not None and len(found) == 1


def test_too_many_slices_are_refused() -> None:
    spans = np.stack([np.arange(0, 100, 2), np.arange(1, 100, 2)], axis=1)
    assert slices(spans, (100,), 49) is None
    assert slices(spans, (100,), 50) is not None


def irregular(count: int) -> list[str]:
    """Returns names with little in common."""
    chosen = random.Random(1)
    word = lambda: "".join(chosen.choices("abcdefgh", k=6))  # noqa: E731
    return [
        f"{word()}.{chosen.randrange(9)}.{word()}.{chosen.randrange(9)}.{word()}"
        for _ in range(count)
    ]


def test_time_grows_with_the_number_of_irregular_names() -> None:
    def seconds(count: int) -> float:
        names = dict.fromkeys(irregular(count))
        items = [
            Item(name, Assignment("init", f"constant(value={i % 4})"))
            for i, name in enumerate(names)
        ]
        copies = [Item(f"z{name}", Assignment("tied_to", name)) for name in names]
        start = time.process_time()
        recipe_text([*items, *copies])
        return time.process_time() - start

    few = min(seconds(500) for _ in range(2))
    # Quadratic time would be 64 times as long.
    assert seconds(4000) < 24 * few
