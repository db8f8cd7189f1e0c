"""`record`: names, classes, values and files of layers and models."""

from __future__ import annotations

import copy
import warnings
from pathlib import Path
from typing import Any, Callable

import pytest
import torch
from torch import nn

import fanin
from fanin.torch import record

from .recordings import Holder, bits, check_like_torch, check_saved, hold, one, saved, value

LAYERS = {
    "linear": lambda: nn.Linear(7, 5),
    "bilinear": lambda: nn.Bilinear(3, 4, 5),
    "conv1": lambda: nn.Conv1d(4, 6, 3, groups=2),
    "conv2": lambda: nn.Conv2d(3, 8, (3, 5)),
    "conv3 transposed": lambda: nn.ConvTranspose3d(4, 2, 3),
    "embedding": lambda: nn.Embedding(10, 4, padding_idx=-1),
    "bag": lambda: nn.EmbeddingBag(10, 4),
    "lstm": lambda: nn.LSTM(3, 4, num_layers=2, bidirectional=True, proj_size=2),
    "gru": lambda: nn.GRU(3, 4, bias=False),
    "cell": lambda: nn.LSTMCell(3, 4),
    "attention": lambda: nn.MultiheadAttention(8, 2, kdim=6, vdim=4, add_bias_kv=True),
    "batch norm": lambda: nn.BatchNorm2d(4),
    "group norm": lambda: nn.GroupNorm(2, 4),
    "rms norm": lambda: nn.RMSNorm(4),
    "prelu": lambda: nn.PReLU(3, init=0.1),
    "adaptive": lambda: nn.AdaptiveLogSoftmaxWithLoss(8, 20, [5, 10]),
}


@pytest.mark.parametrize("name", LAYERS)
def test_layers_start_by_rules_and_parts(name: str, tmp_path: Path) -> None:
    recorded = record(LAYERS[name], strict=True)
    assert {tensor.origin for tensor in recorded.tensors.values()} <= {"rule", "parts"}
    check_like_torch(recorded, LAYERS[name]())
    check_saved(recorded, tmp_path)


def test_a_linear_layer() -> None:
    recorded = record(nn.Linear, 784, 512, bias=True)
    weight = recorded.tensors["weight"]
    assert (weight.name, weight.kind, weight.shape, weight.dtype) == (
        "weight",
        "parameter",
        (512, 784),
        torch.float32,
    )
    assert (weight.origin, weight.parts, weight.of) == ("rule", (), None)
    assert weight.init == "uniform(low=-0.035714287,high=0.035714287)"
    assert recorded.model.weight.is_meta
    assert recorded.warnings == []
    assert repr(recorded) == "<Recorded Linear: 2 rule>"


def test_the_state_dict_comes_first_and_then_temporary_buffers() -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("table", torch.arange(4.0), persistent=False)
            self.inner = nn.BatchNorm1d(2)
            self.weight = nn.Parameter(torch.zeros(2))

    recorded = record(Model)
    check_like_torch(recorded, Model())
    assert [tensor.kind for tensor in recorded.tensors.values()] == [
        *["parameter"] * 3,
        *["buffer"] * 3,
        "temporary buffer",
    ]
    assert "table" not in recorded.recipe.text
    assert bits(value(recorded, "table")) == bits(torch.arange(4.0))


def test_the_forget_gate_is_a_part() -> None:
    class Gates(nn.LSTM):
        def reset_parameters(self) -> None:
            super().reset_parameters()
            with torch.no_grad():
                self.bias_ih_l0[4:8].fill_(1)

    bias = record(Gates, 3, 4).tensors["bias_ih_l0"]
    assert (bias.origin, bias.init) == ("parts", "uniform(low=-0.5,high=0.5)")
    assert [(part.slice, part.init) for part in bias.parts] == [(((4, 8),), "ones")]


def test_copies_of_a_layer_are_the_same(tmp_path: Path) -> None:
    def make() -> nn.Module:
        layer = nn.TransformerEncoderLayer(8, 2, dim_feedforward=16, batch_first=True)
        return nn.TransformerEncoder(layer, 3)

    recorded = record(make)
    check_like_torch(recorded, make())
    check_saved(recorded, tmp_path)
    for name, tensor in recorded.tensors.items():
        layer = name.split(".")[1]
        if layer != "0" and tensor.detail != "No element is random.":
            assert (tensor.origin, tensor.of) == (
                "same",
                name.replace(f"layers.{layer}", "layers.0"),
            )
    assert 'same_as = "layers.0.*"' in recorded.recipe.text


def test_copies_of_parts_are_the_same(tmp_path: Path) -> None:
    def make() -> nn.Module:
        table = nn.Embedding(6, 3, padding_idx=1)
        return nn.ModuleList([table, copy.deepcopy(table)])

    recorded = record(make)
    assert [tensor.origin for tensor in recorded.tensors.values()] == ["parts", "same"]
    check_saved(recorded, tmp_path)


def test_layers_made_anew_are_not_the_same() -> None:
    recorded = record(lambda: nn.ModuleList([nn.Linear(3, 3), nn.Linear(3, 3)]))
    assert [tensor.origin for tensor in recorded.tensors.values()] == ["rule"] * 4


def test_tied_weights(tmp_path: Path) -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed = nn.Embedding(9, 4)
            self.head = nn.Linear(4, 9, bias=False)
            self.head.weight = self.embed.weight

    recorded = record(Model)
    head = recorded.tensors["head.weight"]
    assert (head.origin, head.of, head.init) == ("tied", "embed.weight", "normal(mean=0,std=1)")
    check_like_torch(recorded, Model())
    check_saved(recorded, tmp_path)
    assert 'tied_to = "embed.weight"' in recorded.recipe.text


def test_a_copy_of_tied_weights_is_tied(tmp_path: Path) -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed, self.head = nn.Embedding(7, 3), nn.Linear(3, 7, bias=False)
            self.head.weight = self.embed.weight

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.online = Tied()
            self.target = copy.deepcopy(self.online)

    recorded = record(Model)
    tensors = recorded.tensors
    assert [tensor.origin for tensor in tensors.values()] == ["rule", "tied", "same", "tied"]
    assert tensors["target.head.weight"].of == "target.embed.weight"
    check_like_torch(recorded, Model())
    check_saved(recorded, tmp_path)


def test_one_module_under_two_names_is_tied() -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a = self.b = nn.Linear(2, 2)

    recorded = record(Model)
    assert [tensor.origin for tensor in recorded.tensors.values()] == [
        "rule",
        "rule",
        "tied",
        "tied",
    ]


def test_a_view_of_another_tensor_is_derived(tmp_path: Path) -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.randn(6, 4) * 0.02)
            self.turned = nn.Parameter(self.weight.detach().t())
            self.rows = nn.Parameter(self.weight.detach()[2:4])
            self.copied = nn.Parameter(self.weight.detach()[:3].clone())

    recorded = record(Model)
    origins = {name: (tensor.origin, tensor.of) for name, tensor in recorded.tensors.items()}
    assert origins == {
        "weight": ("rule", None),
        "turned": ("derived", "weight"),
        "rows": ("derived", "weight"),
        "copied": ("derived", "weight"),
    }
    weight = value(recorded, "weight", 5)
    assert torch.equal(value(recorded, "turned", 5), weight.t())
    assert torch.equal(value(recorded, "rows", 5), weight[2:4])
    assert torch.equal(value(recorded, "copied", 5), weight[:3])
    check_saved(recorded, tmp_path, 5)


def test_parts_of_one_draw_are_rules_if_they_are_apart() -> None:
    def make() -> dict[str, torch.Tensor]:
        q, k, v = (torch.randn(12, 4) * 0.1).chunk(3)
        left, right = torch.rand(4, 6).split(3, dim=1)
        return {"q": q, "k": k.clone(), "v": v, "left": left.clone(), "right": right.clone()}

    recorded = hold(make)
    assert [tensor.init for tensor in recorded.tensors.values()][:3] == [
        "normal(mean=0,std=0.1)"
    ] * 3
    # Columns of a draw are interleaved, so they are taken from one stream.
    assert [recorded.tensors[name].origin for name in ("left", "right")] == ["replay", "replay"]
    whole = torch.cat([value(recorded, "left"), value(recorded, "right")], 1)
    assert whole.unique().numel() == whole.numel()


def test_parts_of_one_draw_that_overlap_share_a_stream() -> None:
    def make() -> dict[str, torch.Tensor]:
        x = torch.randn(10)
        return {"a": x[:6].clone(), "b": x[4:].clone()}

    recorded = hold(make)
    a, b = value(recorded, "a"), value(recorded, "b")
    assert torch.equal(a[4:], b[:2])
    assert torch.equal(recorded._value("b", 1), b), "a second look gives the same"


def test_weight_norm_is_derived_from_the_direction(tmp_path: Path) -> None:
    recorded = record(lambda: nn.utils.parametrizations.weight_norm(nn.Linear(6, 4)))
    g, v = (f"parametrizations.weight.original{i}" for i in (0, 1))
    assert (recorded.tensors[g].origin, recorded.tensors[g].of) == ("derived", v)
    norm = torch.linalg.vector_norm(value(recorded, v), dim=1, keepdim=True)
    assert torch.equal(value(recorded, g), norm)
    check_saved(recorded, tmp_path)


def test_spectral_norm_is_replayed_from_streams(tmp_path: Path) -> None:
    recorded = record(lambda: nn.utils.parametrizations.spectral_norm(nn.Linear(6, 4)))
    weight = value(recorded, "parametrizations.weight.original")
    u, v = (value(recorded, f"parametrizations.weight.0._{x}") for x in "uv")
    assert float(u @ weight @ v) == pytest.approx(float(torch.linalg.svdvals(weight)[0]), rel=1e-3)
    check_saved(recorded, tmp_path)


def test_an_orthogonal_parametrization_is_orthogonal(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        recorded = record(lambda: nn.utils.parametrizations.orthogonal(nn.Linear(6, 6)))
    base = value(recorded, "parametrizations.weight.0.base")
    assert torch.allclose(base @ base.T, torch.eye(6), atol=1e-5)
    check_saved(recorded, tmp_path)


def test_a_replay_follows_the_seed_and_ignores_torchs_state() -> None:
    recorded = record(lambda: nn.utils.parametrizations.spectral_norm(nn.Linear(6, 4)))
    name = "parametrizations.weight.0._u"
    torch.manual_seed(1)
    one = recorded._value(name, 1)
    torch.manual_seed(2)
    assert torch.equal(recorded._value(name, 1), one)
    assert not torch.equal(recorded._value(name, 2), one)


def test_saving_computed_values_needs_a_seed(tmp_path: Path) -> None:
    recorded = record(lambda: nn.utils.parametrizations.weight_norm(nn.Linear(6, 4)))
    with pytest.raises(
        ValueError, match=r"'parametrizations.weight.original0' .*save\(path, seed=1\)"
    ):
        recorded.save(tmp_path / "m.toml")
    recorded.save(tmp_path / "m.toml", seed=3)
    recipe = fanin.Recipe.load(tmp_path / "m.toml")
    assert recipe.seed == 3
    assert recipe.plan().seed == 3


def test_only_kept_tensors_need_a_file(tmp_path: Path) -> None:
    record(nn.Linear, 3, 3).save(tmp_path / "a.toml")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.tensors.json", "a.toml"]
    with pytest.raises(
        ValueError, match="'b' is not a recipe's path: use a name that ends in .toml"
    ):
        record(nn.Linear, 3, 3).save("b")


def test_the_same_model_gives_the_same_files(tmp_path: Path) -> None:
    def make() -> nn.Module:
        return nn.ModuleList(
            [
                nn.utils.parametrizations.weight_norm(nn.Conv1d(4, 6, 3)),
                nn.LSTM(4, 4),
                Holder(lambda: {"table": torch.sin(torch.arange(100.0))}),
            ]
        )

    folders = [tmp_path / "a", tmp_path / "b"]
    for folder in folders:
        folder.mkdir()
        record(make).save(folder / "m.toml", seed=1)
    files = [{path.name: path.read_bytes() for path in folder.iterdir()} for folder in folders]
    assert sorted(files[0]) == ["m.safetensors", "m.tensors.json", "m.toml"]
    assert files[0] == files[1]


@pytest.mark.parametrize(
    "dtype",
    [torch.float32, torch.float16, torch.bfloat16, torch.float64, torch.float8_e4m3fn],
)
def test_floats_of_every_width(dtype: torch.dtype, tmp_path: Path) -> None:
    recorded = hold(
        lambda: {
            "normal": (torch.randn(64) * 0.02).to(dtype),
            "tenth": torch.full((4,), 0.1).to(dtype),
            "exact": torch.full((70,), 0.5, dtype=torch.float64).to(dtype),
        }
    )
    assert recorded.tensors["normal"].init == "normal(mean=0,std=0.02)"
    check_saved(recorded, tmp_path)
    assert bits(value(recorded, "tenth")) == bits(torch.full((4,), 0.1).to(dtype))
    assert bits(value(recorded, "exact")) == bits(torch.full((70,), 0.5).to(dtype))


def test_a_half_of_a_model_is_cast_from_its_single(tmp_path: Path) -> None:
    single, half = (record(nn.Linear, 8, 8, dtype=d) for d in (torch.float32, torch.bfloat16))
    assert torch.equal(value(single, "weight").to(torch.bfloat16), value(half, "weight"))


def test_numbers_that_f32_does_not_have_are_kept(tmp_path: Path) -> None:
    def make() -> dict[str, torch.Tensor]:
        return {
            "tenth": torch.full((3,), 0.1, dtype=torch.float64),
            "third": torch.arange(5, dtype=torch.float64) / 3,
            "large": torch.full((2,), (1 << 24) + 1),
            "infinite": torch.full((2, 2), float("-inf")),
            "nan": torch.tensor([float("nan"), 1.0]),
            "zero": torch.tensor([-0.0, -0.0]),
        }

    recorded = hold(make)
    assert [tensor.origin for tensor in recorded.tensors.values()] == ["kept"] * 5 + ["rule"]
    check_like_torch(recorded, Holder(make))
    check_saved(recorded, tmp_path)


def test_whole_numbers_truth_values_and_complex_numbers(tmp_path: Path) -> None:
    def make() -> dict[str, torch.Tensor]:
        return {
            "ids": torch.arange(12).expand(1, -1),
            "bytes": torch.tensor([1, 2, 3], dtype=torch.uint8),
            "flags": torch.ones(3, dtype=torch.bool),
            "mask": torch.tril(torch.ones(5, 5, dtype=torch.bool)).view(1, 1, 5, 5),
            "counter": torch.tensor(0),
            "turns": torch.polar(torch.ones(3), torch.arange(3.0)),
            "none": torch.empty(0, 3),
            "scalar": torch.tensor(2.5),
        }

    recorded = hold(make)
    inits = {name: tensor.init for name, tensor in recorded.tensors.items()}
    assert inits == {
        "ids": "arange(start=0,step=1)",
        "bytes": None,
        "flags": "ones",
        "mask": "causal_mask",
        "counter": "zeros",
        "turns": None,
        "none": "zeros",
        "scalar": "constant(value=2.5)",
    }
    check_like_torch(recorded, Holder(make))
    check_saved(recorded, tmp_path)


def test_patterns_of_positions_are_recognized(tmp_path: Path) -> None:
    def make() -> dict[str, torch.Tensor]:
        return {
            "eye": nn.init.eye_(torch.empty(3, 5)),
            "scaled": torch.eye(4) * 0.5,
            "dirac": nn.init.dirac_(torch.empty(6, 4, 3)),
            "groups": nn.init.dirac_(torch.empty(6, 4, 3, 3), groups=2),
            "row": torch.arange(2.0, 20.0, 3.0),
        }

    recorded = hold(make)
    assert [tensor.init for tensor in recorded.tensors.values()] == [
        "eye",
        "identity(gain=0.5)",
        "dirac(groups=1)",
        "dirac(groups=2)",
        "arange(start=2,step=3)",
    ]
    check_like_torch(recorded, Holder(make))
    check_saved(recorded, tmp_path)


def test_short_lists_of_numbers_stand_in_the_recipe(tmp_path: Path) -> None:
    recorded = hold(
        lambda: {
            "mean": torch.tensor([0.485, 0.456, 0.406]),
            "w": torch.cat([torch.randn(4), torch.tensor([1.0, 2.0, 4.0])]),
        }
    )
    assert "values = [0.485, 0.456, 0.406]" in recorded.recipe.text
    assert '{ slice = "4:7", values = [1, 2, 4] }' in recorded.recipe.text
    check_saved(recorded, tmp_path)
    assert not (tmp_path / "m.safetensors").exists()


def test_many_parts_are_replayed(tmp_path: Path) -> None:
    def make() -> dict[str, torch.Tensor]:
        checker = torch.randn(3000)
        checker[::2] = 0
        blocks = torch.randn(3000)
        blocks[:1000] = 0
        return {"checker": checker, "blocks": blocks}

    recorded = hold(make)
    assert [tensor.origin for tensor in recorded.tensors.values()] == ["replay", "parts"]
    checker = value(recorded, "checker")
    assert bool((checker[::2] == 0).all()) and bool((checker[1::2] != 0).all())
    check_saved(recorded, tmp_path)


def test_a_state_dict_that_is_loaded_is_kept(tmp_path: Path) -> None:
    state = nn.Linear(3, 2).state_dict()

    def make() -> nn.Module:
        model = nn.Linear(3, 2)
        model.load_state_dict(state)
        return model

    recorded = record(make)
    assert [tensor.origin for tensor in recorded.tensors.values()] == ["kept", "kept"]
    assert torch.equal(value(recorded, "weight"), state["weight"])


def test_wrappers_do_not_change_names() -> None:
    from torch.distributed.algorithms._checkpoint.checkpoint_wrapper import checkpoint_wrapper

    def make() -> nn.Module:
        inner = nn.Sequential(checkpoint_wrapper(nn.Linear(2, 2)), nn.Linear(2, 2))
        return torch.compile(inner)

    expected = [f"{i}.{name}" for i in (0, 1) for name in ("weight", "bias")]
    assert list(record(make).tensors) == expected
    assert (
        list(
            record(lambda: nn.DataParallel(nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2)))).tensors
        )
        == expected
    )


def test_a_child_called_module_keeps_its_name() -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.module = nn.Linear(2, 2)

    assert list(record(Model).tensors) == ["module.weight", "module.bias"]


def test_hugging_face_models(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    config = transformers.LlamaConfig(
        num_hidden_layers=3,
        hidden_size=32,
        intermediate_size=64,
        num_attention_heads=4,
        vocab_size=90,
    )

    def make() -> nn.Module:
        return transformers.AutoModelForCausalLM.from_config(config)

    recorded = record(make, strict=True)
    check_like_torch(recorded, make())
    check_saved(recorded, tmp_path)
    assert recorded.tensors["model.rotary_emb.inv_freq"].kind == "temporary buffer"
    assert recorded.tensors["lm_head.weight"].init == "normal(mean=0,std=0.02)"
    assert len(recorded.recipe.text.splitlines()) < 40


def test_a_large_model_needs_little_time_and_memory() -> None:
    import resource
    import time

    transformers = pytest.importorskip("transformers")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.monotonic()
    recorded = record(
        transformers.AutoModelForCausalLM.from_config, transformers.DeepseekV3Config()
    )
    seconds = time.monotonic() - start
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    assert sum(p.numel() for p in recorded.model.parameters()) > 6e11
    assert seconds < 10
    assert grown < 1024, f"{grown} MiB"


def test_a_constructor_reads_its_own_tables() -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            rates = [rate.item() for rate in torch.linspace(0, 0.5, 3)]
            self.layers = nn.ModuleList([nn.Dropout(rate) for rate in rates])
            steps = torch.arange(4).numpy() ** 2
            self.register_buffer("squares", torch.from_numpy(steps))
            self.width = int(torch.tensor([2, 3]).sum())
            self.register_buffer("picked", torch.arange(10.0)[torch.arange(10) % 3 == 0])

    recorded = record(Model, strict=True)
    assert [layer.p for layer in recorded.model.layers] == [0.0, 0.25, 0.5]
    assert recorded.model.width == 5
    check_like_torch(recorded, Model())


def test_dtypes_of_factories_are_those_of_the_recording() -> None:
    torch.set_default_dtype(torch.float64)
    try:
        recorded = hold(lambda: {"x": torch.linspace(0, 1, 80)})
    finally:
        torch.set_default_dtype(torch.float32)
    assert bits(value(recorded, "x")) == bits(torch.linspace(0, 1, 80, dtype=torch.float64))


def test_meta_and_cpu_contexts() -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            with torch.device("cpu"):
                self.a = nn.Linear(2, 2)
            with torch.device("meta"):
                self.b = nn.Linear(2, 2)
            self.c = nn.Linear(2, 2, device="meta")
            self.register_buffer("d", torch.tensor([1.0, 2.0]))

    with torch.device("meta"):
        recorded = record(Model)
    assert {tensor.origin for tensor in recorded.tensors.values()} == {"rule", "kept"}
    assert value(recorded, "d").tolist() == [1.0, 2.0]


def test_data_that_the_model_was_given_and_changes() -> None:
    given = torch.ones(4)

    def make() -> dict[str, torch.Tensor]:
        parameter = nn.Parameter(given)
        nn.init.normal_(parameter)
        other = torch.tensor([1.0, 2.0, 3.0])
        other[1:].uniform_(-1, 1)
        other.mul_(2)
        return {"x": parameter, "y": other}

    recorded = hold(make)
    assert recorded.tensors["x"].init == "normal(mean=0,std=1)"
    assert recorded.tensors["y"].origin == "parts"
    assert float(value(recorded, "y")[0]) == 2.0
    assert given.tolist() == [1.0] * 4, "the caller's tensor does not change"


def test_a_part_of_a_saved_recipe_is_orthogonal(tmp_path: Path) -> None:
    def make() -> dict[str, torch.Tensor]:
        gates = torch.empty(12, 4)
        for gate in gates.chunk(3):
            nn.init.orthogonal_(gate, gain=0.5)
        return {"gates": gates, "square": nn.init.orthogonal_(torch.empty(4, 4)).t().clone()}

    recorded = hold(make)
    assert [part.init for part in recorded.tensors["gates"].parts] == ["orthogonal(gain=0.5)"] * 3
    assert recorded.tensors["square"].init == "orthogonal"
    for gate in saved(recorded, tmp_path)["gates"].chunk(3):
        assert torch.allclose(gate @ gate.T, torch.eye(4) / 4, atol=1e-5)


def test_one_element() -> None:
    assert one(lambda: torch.randn(())).init == "normal(mean=0,std=1)"
    assert one(lambda: torch.randn(1, 1, 1) * 2).init == "normal(mean=0,std=2)"


def test_a_replay_reads_a_tensor_before_and_after_its_last_change() -> None:
    def make() -> dict[str, torch.Tensor]:
        x = torch.randn(4)
        before = x.exp()
        x.mul_(0.5)
        return {"x": x, "sum": before + x}

    recorded = hold(make)
    assert recorded.tensors["x"].init == "normal(mean=0,std=0.5)"
    x = value(recorded, "x")
    assert torch.allclose(value(recorded, "sum"), (2 * x).exp() + x)


def test_draws_that_read_their_argument() -> None:
    def make() -> dict[str, torch.Tensor]:
        x = torch.full((2000,), 0.25)
        kept = nn.functional.dropout(torch.ones(2000), 0.5)
        return {"x": torch.bernoulli(x), "y": x.clone().bernoulli_(0.75), "z": kept}

    recorded = hold(make)
    means = {name: float(value(recorded, name).mean()) for name in "xyz"}
    assert means == pytest.approx({"x": 0.25, "y": 0.75, "z": 1}, abs=0.1)


def test_parts_with_constants_only(tmp_path: Path) -> None:
    def make() -> dict[str, torch.Tensor]:
        gates = torch.zeros(400)
        gates[100:200].fill_(1)
        table = torch.zeros(300, 100)
        for column in range(100):
            table[:, column] = column / 7
        steps = torch.empty(80, dtype=torch.float64)
        steps[:40], steps[40:] = 0.1, 0.5
        return {"gates": gates, "table": table, "halves": gates.half() * 0.1, "steps": steps}

    recorded = hold(make, strict=True)
    gates = recorded.tensors["gates"]
    assert (gates.origin, gates.init) == ("parts", "zeros")
    assert [(part.slice, part.init) for part in gates.parts] == [(((100, 200),), "ones")]
    assert [t.origin for t in recorded.tensors.values()] == ["parts", "kept", "parts", "kept"]
    check_like_torch(recorded, Holder(make))
    check_saved(recorded, tmp_path)


def test_rows_that_are_written_one_by_one() -> None:
    import time

    def make() -> dict[str, torch.Tensor]:
        x = torch.empty(3000, 3)
        for row in range(3000):
            x[row].normal_() if row % 2 else x[row].fill_(row)
        return {"x": x}

    start = time.monotonic()
    x = value(hold(make, strict=True), "x")
    assert time.monotonic() - start < 60
    assert x[::2, 0].tolist() == list(range(0, 3000, 2))
    assert x[1::2].unique().numel() > 4400


@pytest.mark.parametrize(
    "change",
    [
        lambda x: torch.exp(x, out=x),
        lambda x: torch.mul(x, 2, out=x),
        lambda x: torch.add(x, x, out=x),
        lambda x: torch.cumsum(x, 0, out=x),
        lambda x: torch.tril(x, out=x),
        lambda x: x.copy_(x.t().clone().t()),
    ],
)
def test_an_output_that_is_also_read_keeps_its_former_content(
    change: Callable[[torch.Tensor], Any],
) -> None:
    """An argument that an operation reads counts, though `out=` names the same memory."""

    def make() -> torch.Tensor:
        x = torch.arange(9.0).reshape(3, 3)
        change(x)
        return x

    assert torch.equal(value(hold(lambda: {"x": make()}), "x"), make())


FLIPS: dict[str, tuple[Callable[[], torch.Tensor], Callable[[torch.Tensor], torch.Tensor]]] = {
    "normal": (lambda: torch.randn(9), lambda x: -x),
    "quotient": (lambda: torch.randn(9), lambda x: x / -1),
    "uniform": (lambda: torch.rand(9), lambda x: 1 - x),
    "truncated": (lambda: nn.init.trunc_normal_(torch.empty(9)), lambda x: x * -1),
    "orthogonal": (lambda: nn.init.orthogonal_(torch.empty(4, 4)), lambda x: -x),
    "function": (lambda: -torch.randn(9), lambda x: (-x).exp()),
    "rounded": (lambda: torch.randn(99), lambda x: x.bfloat16().float()),
    "widened": (lambda: torch.randn(99).half(), lambda x: x.float()),
}


@pytest.mark.parametrize("case", FLIPS)
def test_maps_of_one_draw_are_not_copies(case: str) -> None:
    draw, function = FLIPS[case]

    def make() -> dict[str, torch.Tensor]:
        x = draw()
        return {"x": x, "y": function(x)}

    recorded = hold(make)
    x, y = value(recorded, "x"), value(recorded, "y")
    assert not torch.equal(x.float(), y.float()) or case == "widened"
    if draw is FLIPS["orthogonal"][0]:
        torch.testing.assert_close(y, function(x))
    else:
        assert torch.equal(y, function(x))


def test_a_flipped_draw_alone_is_a_rule() -> None:
    assert one(lambda: -torch.randn(9)).init == "normal(mean=0,std=1)"
    assert one(lambda: 1 - torch.rand(9)).init == "uniform(low=0,high=1)"


@pytest.mark.parametrize("numbers", [[-0.0, -0.0], [0.0, -0.0], [-0.0, 0.0]])
def test_zeros_keep_their_sign(numbers: list[float]) -> None:
    recorded = hold(lambda: {"x": torch.tensor(numbers) * 1})
    assert bits(value(recorded, "x")) == bits(torch.tensor(numbers))


def test_arithmetic_with_constants_made_before() -> None:
    two, one = torch.full((3,), 2.0), torch.ones((), dtype=torch.float64)
    recorded = hold(lambda: {"sum": torch.ones(3) + two, "quotient": torch.ones(3).half() / one})
    assert recorded.tensors["sum"].init == "constant(value=3)"
    assert recorded.tensors["quotient"].dtype == torch.float16


def test_an_output_gets_the_size_of_the_result() -> None:
    recorded = hold(lambda: {"x": torch.arange(3.0, out=torch.zeros(0))})
    assert value(recorded, "x").tolist() == [0, 1, 2]
