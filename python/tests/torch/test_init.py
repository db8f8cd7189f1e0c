"""`init_`: an existing model on one process."""

from __future__ import annotations

import copy
import math
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import fanin
from fanin.torch import RecordWarning, Report, build, fill_, init_, record


class Block(nn.Module):
    """A layer whose standard deviations depend on its depth."""

    def __init__(self, width: int, depth: int) -> None:
        super().__init__()
        self.wq = nn.Linear(width, width, bias=False)
        self.wo = nn.Linear(width, width, bias=False)
        self.norm = nn.LayerNorm(width)
        self.depth = depth

    def init_weights(self) -> None:
        """Writes all tensors."""
        nn.init.trunc_normal_(self.wq.weight, std=0.02)
        nn.init.trunc_normal_(self.wo.weight, std=0.02 / math.sqrt(2 * (self.depth + 1)))
        self.norm.reset_parameters()


class Titan(nn.Module):
    """A model in the style of torchtitan, with a complex buffer that the state dict leaves out."""

    def __init__(self, width: int = 8, words: int = 13) -> None:
        super().__init__()
        self.tok = nn.Embedding(words, width)
        self.layers = nn.ModuleDict({str(depth): Block(width, depth) for depth in range(2)})
        self.out = nn.Linear(width, words, bias=False)
        self.register_buffer("freqs_cis", self.freqs(), persistent=False)

    def freqs(self) -> torch.Tensor:
        """Returns the values of the buffer."""
        steps = 1.0 / (10000 ** (torch.arange(0, 8, 2).float() / 8))
        angles = torch.outer(torch.arange(16, device=steps.device), steps)
        return torch.polar(torch.ones_like(angles), angles)

    def init_weights(self, buffer_device: Any = None) -> None:
        """Writes all tensors, the buffer by assignment."""
        with torch.device(buffer_device or self.freqs_cis.device):
            self.freqs_cis = self.freqs()
        nn.init.normal_(self.tok.weight)
        for layer in self.layers.values():
            layer.init_weights()
        scale = self.out.weight.shape[-1] ** -0.5
        nn.init.trunc_normal_(self.out.weight, std=scale, a=-3 * scale, b=3 * scale)


def titan() -> Titan:
    model = Titan()
    model.init_weights()
    return model


def tensors(model: nn.Module) -> dict[str, torch.Tensor]:
    return {**dict(model.named_parameters()), **dict(model.named_buffers())}


def assert_equal(model: nn.Module, expected: nn.Module) -> None:
    found, wanted = tensors(model), tensors(expected)
    assert list(found) == list(wanted)
    for name, tensor in found.items():
        assert tensor.dtype == wanted[name].dtype and torch.equal(tensor, wanted[name]), name


def emptied(make: Any = Titan) -> Any:
    with torch.device("meta"):
        model = make()
    model.to_empty(device="cpu")
    for tensor in tensors(model).values():
        if tensor.is_floating_point() or tensor.is_complex():
            tensor.data.fill_(torch.nan)
    return model


WAYS: dict[str, dict[str, Any]] = {
    "own code": {},
    "a method": {"by": "init_weights"},
    "a function": {"by": lambda model: model.init_weights(buffer_device="cpu")},
}


@pytest.mark.parametrize("way", WAYS)
def test_code_of_the_model(way: str) -> None:
    model = emptied()
    parameters = dict(model.named_parameters())
    report = init_(model, 7, **WAYS[way])
    assert_equal(model, build(titan, seed=7))
    assert all(parameters[name] is tensor for name, tensor in model.named_parameters())
    assert report.classes["rule"].tensors == 10 and report.classes["kept"].tensors == 1
    assert report.total.elements == sum(tensor.numel() for tensor in tensors(model).values())


def test_a_recording() -> None:
    model = emptied()
    init_(model, 7, recipe=record(titan))
    assert_equal(model, build(titan, seed=7))


def test_a_saved_recipe_leaves_out_what_the_state_dict_does(tmp_path: Path) -> None:
    record(titan).save(tmp_path / "titan.toml")
    model = emptied()
    with pytest.warns(RecordWarning, match="no rule for 'freqs_cis'") as caught:
        report = init_(model, 7, recipe=tmp_path / "titan.toml")
    assert caught[0].filename == __file__ and report.untouched == ["freqs_cis"]
    assert bool(model.freqs_cis.isnan().all())
    model.freqs_cis = model.freqs()
    assert_equal(model, build(titan, seed=7))
    with pytest.raises(ValueError, match="no rule for 'freqs_cis'"):
        init_(model, 7, recipe=str(tmp_path / "titan.toml"), strict=True)


def test_a_preset_and_rules() -> None:
    model = nn.Sequential(nn.Linear(6, 5), nn.BatchNorm1d(5))
    init_(model, 3, recipe="kaiming")
    expected = fanin.fill("kaiming_normal", (5, 6), name="0.weight", seed=3)
    assert torch.equal(model[0].weight, torch.from_numpy(expected))
    assert not model[0].bias.any() and bool((model[1].running_var == 1).all())
    rules = fanin.Recipe.from_rules([{"match": "*.weight", "init": "ones"}], extends="torch")
    report = init_(model, 3, recipe=rules)
    assert bool((model[0].weight == 1).all()) and report.classes["rule"].tensors == 7


def test_skipped_tensors_are_untouched() -> None:
    rules = [{"match": "bias", "skip": True}, {"match": "*", "init": "ones"}]
    model = nn.Linear(2, 2)
    bias = model.bias.detach().clone()
    report = init_(model, 1, recipe=fanin.Recipe.from_rules(rules))
    assert torch.equal(model.bias, bias) and bool((model.weight == 1).all())
    assert report.untouched == ["bias"]


def test_buffers_of_constructors_need_no_code() -> None:
    model = emptied(lambda: nn.Sequential(nn.Conv1d(3, 4, 2), nn.BatchNorm1d(4), nn.GRU(4, 2)))
    init_(model, 1)
    made = build(lambda: nn.Sequential(nn.Conv1d(3, 4, 2), nn.BatchNorm1d(4), nn.GRU(4, 2)), seed=1)
    assert_equal(model, made)


def test_attention_is_reset_as_its_constructor_does() -> None:
    make = lambda: nn.TransformerEncoderLayer(8, 2, 16)  # noqa: E731
    model = emptied(make)
    init_(model, 1)
    assert_equal(model, build(make, seed=1))


def test_huggingface_models() -> None:
    transformers = pytest.importorskip("transformers")
    config = transformers.LlamaConfig(
        num_hidden_layers=2,
        hidden_size=24,
        intermediate_size=40,
        num_attention_heads=4,
        num_key_value_heads=2,
        vocab_size=67,
        pad_token_id=5,
    )
    make = transformers.AutoModelForCausalLM.from_config
    expected = build(make, config, seed=9)
    with torch.device("meta"):
        model = make(config)
    model.to_empty(device="cpu")
    init_(model, 9)
    assert_equal(model, expected)
    assert bool((model.model.embed_tokens.weight[5] == 0).all())
    # A model whose weights transformers has marked as initialized starts anew.
    flags = [vars(module).get("_is_hf_initialized") for module in expected.modules()]
    init_(expected, 10)
    assert not torch.equal(expected.lm_head.weight, model.lm_head.weight)
    assert [vars(module).get("_is_hf_initialized") for module in expected.modules()] == flags


def test_bfloat16_holds_the_float32_values_rounded() -> None:
    make = lambda: nn.Sequential(nn.Linear(9, 7), nn.LayerNorm(7))  # noqa: E731
    model = make().to(torch.bfloat16)
    init_(model, 5)
    assert_equal(model, build(make, seed=5).to(torch.bfloat16))


def test_only_some_tensors() -> None:
    model = titan()
    before = {name: tensor.detach().clone() for name, tensor in tensors(model).items()}
    report = init_(model, 7, only=["layers.1.*", "tok.weight"])
    expected = tensors(build(titan, seed=7))
    for name, tensor in tensors(model).items():
        chosen = name.startswith("layers.1.") or name == "tok.weight"
        assert torch.equal(tensor, expected[name] if chosen else before[name]), name
        assert (name in report.untouched) is not chosen
    assert init_(model, 7, only="layers.{0,1}.wq.weight").total.tensors == 2
    with pytest.raises(ValueError, match=r"'layer\.\*' matches no tensor"):
        init_(model, 7, only="layer.*")


def test_only_needs_no_code_for_the_rest() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Module())
    model[1].gain = nn.Parameter(torch.ones(3))
    with pytest.raises(ValueError, match=r"own init code writes no values of '1\.gain'"):
        init_(model, 1)
    assert init_(model, 1, only="0.*").untouched == ["1.gain"]


def test_a_recording_of_more_tensors_serves_a_stage() -> None:
    stage = titan()
    del stage.tok, stage.layers["0"]
    init_(stage, 7, recipe=record(titan))
    expected = tensors(build(titan, seed=7))
    assert all(torch.equal(tensor, expected[name]) for name, tensor in tensors(stage).items())


def test_ties_are_filled_once() -> None:
    def tied() -> Titan:
        model = titan()
        model.out.weight = model.tok.weight
        return model

    model = tied()
    report = init_(model, 7, recipe=record(tied))
    assert report.total.tensors == 10 and model.out.weight is model.tok.weight
    assert_equal(model, build(tied, seed=7))
    before = model.tok.weight.detach().clone()
    init_(model, 8, recipe=record(tied), only="out.weight")
    assert not torch.equal(model.tok.weight, before)


def test_ties_that_the_model_or_the_recipe_lacks() -> None:
    def tied() -> Titan:
        model = titan()
        model.out.weight = model.tok.weight
        return model

    model = titan()
    with pytest.warns(RecordWarning, match="'out.weight' is tied to 'tok.weight' by the recipe"):
        report = init_(model, 7, recipe=record(tied))
    assert torch.equal(model.out.weight, model.tok.weight) and len(report.warnings) == 1
    model = tied()
    with pytest.warns(RecordWarning, match="the values are those of 'tok.weight'"):
        init_(model, 7, recipe=record(titan))
    assert torch.equal(model.tok.weight, build(titan, seed=7).tok.weight)
    with pytest.raises(ValueError, match="the values are those of"):
        init_(model, 7, recipe=record(titan), strict=True)


def test_wrappers_do_not_change_names() -> None:
    from torch.distributed.algorithms._checkpoint.checkpoint_wrapper import checkpoint_wrapper

    expected = build(titan, seed=7)
    for way in (*WAYS.values(), {"recipe": record(titan)}):
        model = titan()
        model.layers["1"] = checkpoint_wrapper(model.layers["1"])
        model.layers["0"] = torch.compile(model.layers["0"], backend="eager")
        wrapped = torch.compile(model, backend="eager")
        init_(wrapped, 7, **way)
        found = dict(zip(tensors(expected), tensors(model).values()))
        assert all(torch.equal(found[name], tensors(expected)[name]) for name in found)
    model = nn.Module()
    model.module = nn.Linear(2, 2)
    assert init_(model, 1, only="module.weight").total.tensors == 1


def test_optimizers_and_gradients_are_not_affected() -> None:
    model = titan()
    model.tok.weight.requires_grad_(False)
    model.out(model.layers["0"].norm(model.tok(torch.tensor([1])))).sum().backward()
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.grad is not None])
    optimizer.step()
    moments = {key: dict(value) for key, value in optimizer.state.items()}
    gradient = model.out.weight.grad
    init_(model, 7)
    assert not model.tok.weight.requires_grad and model.out.weight.requires_grad
    assert model.out.weight.grad is gradient and model.out.weight.is_leaf
    assert all(optimizer.state[key] == value for key, value in moments.items())


def test_state_that_code_leaves_behind() -> None:
    class Growing(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(3))
            self.register_buffer("table", torch.zeros(2))
            self.ready = False

        def init_weights(self) -> None:
            nn.init.ones_(self.weight)
            self.table = torch.arange(5.0)
            self.register_buffer("extra", torch.full((2,), 4.0), persistent=False)
            self.ready = True

    model = Growing()
    init_(model, 1)
    assert model.ready and model.weight.tolist() == [1, 1, 1]
    assert model.table.tolist() == [0, 1, 2, 3, 4] and model.extra.tolist() == [4, 4]


def test_attributes_that_code_leaves_behind() -> None:
    def code(model: Any) -> None:
        nn.init.ones_(model.weight)
        nn.init.zeros_(model.bias)
        model.angles = [torch.arange(3.0) * 2]
        model.noise = torch.randn(3)
        model.sum = model.weight.detach().sum()

    model: Any = nn.Linear(2, 2)
    init_(model, 5, by=code)
    assert model.angles[0].tolist() == [0, 2, 4] and float(model.sum) == 4
    assert torch.equal(model.noise, fill_(torch.empty(3), "normal", name="noise//0", seed=5))
    with pytest.raises(ValueError, match="keeps 'weight' in the attribute 'first'"):
        init_(model, 5, by=lambda m: (code(m), setattr(m, "first", m.weight[0])))


def test_code_that_writes_a_part() -> None:
    def code(model: Any) -> None:
        with torch.no_grad():
            model.weight[:1].normal_()
            model.bias.zero_()

    with pytest.warns(RecordWarning, match="only a part of 'weight'"):
        init_(nn.Linear(2, 2), 1, by=code)
    with pytest.raises(ValueError, match="only a part of 'weight'"):
        init_(nn.Linear(2, 2), 1, by=code, strict=True)


def test_a_parameter_that_code_makes_a_buffer_is_one_again() -> None:
    def code(model: Any) -> None:
        del model.weight
        model.register_buffer("weight", torch.ones(2, 2))
        nn.init.zeros_(model.bias)

    model = nn.Linear(2, 2)
    weight = model.weight
    init_(model, 1, by=code)
    assert model.weight is weight and "weight" not in model._buffers
    assert bool((weight == 1).all())


def test_code_cannot_add_parameters() -> None:
    def add(model: nn.Module) -> None:
        model.more = nn.Parameter(torch.zeros(2))

    def resize(model: nn.Module) -> None:
        model.weight = nn.Parameter(torch.zeros(2))

    with pytest.raises(ValueError, match="the code adds parameter 'more'"):
        init_(nn.Linear(3, 3), 1, by=add)
    model = nn.Linear(3, 3)
    weight = model.weight
    with pytest.raises(ValueError, match=r"changes the shape \(3, 3\) of parameter 'weight'"):
        init_(model, 1, by=resize)
    assert model.weight is weight


def test_the_model_is_whole_after_an_error_of_the_code() -> None:
    def fail(model: nn.Module) -> None:
        nn.init.zeros_(model.weight)
        raise KeyError("config")

    model = nn.Linear(3, 3)
    before, weight = model.weight.detach().clone(), model.weight
    with pytest.raises(KeyError):
        init_(model, 1, by=fail)
    assert model.weight is weight and torch.equal(model.weight, before)


def _members(model: nn.Module) -> Any:
    """Returns what a model consists of: classes, and the objects that modules hold."""
    return [
        (
            name,
            module,
            type(module),
            dict(vars(module)),
            *(dict(vars(module)[each]) for each in kept),
        )
        for name, module in model.named_modules()
        for kept in [("_parameters", "_buffers", "_modules")]
    ]


def _ones(model: nn.Module) -> None:
    for tensor in (*model.parameters(), *model.buffers()):
        nn.init.ones_(tensor)


@pytest.mark.parametrize(
    "code",
    [
        lambda m: setattr(m, "more", nn.Parameter(torch.zeros(2))),
        lambda m: setattr(m, "0", nn.Linear(3, 5)),
        lambda m: (setattr(m, "0", nn.Linear(3, 3)), 1 / 0),
        lambda m: (setattr(m, "0", nn.Identity()), 1 / 0),
        lambda m: (m.register_buffer("table", torch.ones(2)), 1 / 0),
        lambda m: (m.found.append(torch.ones(2)), setattr(m, "one", torch.ones(1)), 1 / 0),
        lambda m: (m.append(nn.Linear(3, 3)), 1 / 0),
        lambda m: nn.utils.parametrizations.weight_norm(m[0]),
        lambda m: nn.init.trunc_normal_(m[0].weight, std=0.0),
        lambda m: m.register_buffer("table", torch.ones(2)) or setattr(m, "0", nn.Linear(3, 3)),
    ],
)
def test_the_model_is_as_it_was_after_an_error(code: Any) -> None:
    model: Any = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3))
    model.found = []
    before, values = _members(model), {k: v.clone() for k, v in model.state_dict().items()}
    with pytest.raises((ValueError, ZeroDivisionError)):
        # No tensor has the last name of `only`, so code without an error of its own has this one.
        init_(model, 1, by=lambda m: (_ones(m[1]), code(m)), only=["1.*", "*.weight", "nothing"])
    assert _members(model) == before and model.found == []
    assert_equal_values(model.state_dict(), values)


def assert_equal_values(found: Any, expected: Any) -> None:
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in found)


def test_tensors_that_an_error_leaves_are_named() -> None:
    model: Any = nn.Linear(2, 2)
    model.tables = {"sines": []}
    with pytest.warns(RecordWarning, match="'tables.sines.0' of the model have no memory"):
        with pytest.raises(ZeroDivisionError):
            init_(model, 1, by=lambda m: (m.tables["sines"].append(torch.ones(2)), 1 / 0))


def test_a_module_that_code_replaces_has_the_parameters_of_the_old_one() -> None:
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 2))
    weight = model[0].weight
    init_(model, 1, by=lambda m: (setattr(m, "0", nn.Linear(3, 3)), _ones(m)))
    assert model[0].weight is weight and bool((weight == 1).all())


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (lambda t: nn.init.trunc_normal_(t, std=0.0), r"TruncNormal\(.* std=0, .* at .*test_init"),
        (lambda t: nn.init.trunc_normal_(t, a=2, b=-2), "a=2, b=-2.* bounds in order"),
        (lambda t: nn.init.sparse_(t, -0.5), "sparsity=-0.5"),
        (lambda t: nn.init.sparse_(t, 0.5, std=-1.0), "std=-1"),
        (lambda t: nn.init.normal_(t, std=math.inf), "std=inf"),
        (lambda t: nn.init.normal_(t, std=-1.0), "std >= 0.0, but found std -1"),
        (lambda t: nn.init.uniform_(t, 1.0, 0.0), "from=1 > to=0"),
        (lambda t: nn.init.uniform_(t, 0.0, math.nan), "out of bounds for float"),
        (lambda t: t.bernoulli_(2.0), "p=2"),
        (lambda t: t.exponential_(-1.0), "lambda=-1"),
        (lambda t: t.copy_(torch.normal(0.0, torch.full((2, 2), -1.0))), "std=-1"),
        (lambda t: t.copy_(torch.bernoulli(torch.full((2, 2), 2.0))), "p_in"),
    ],
)
def test_impossible_draws_are_refused_before_a_tensor_is_filled(draw: Any, message: str) -> None:
    def code(model: nn.Module) -> None:
        _ones(model)
        with torch.no_grad():
            draw(model[1].weight)

    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    before = {k: v.clone() for k, v in model.state_dict().items()}
    with pytest.raises((ValueError, RuntimeError), match=message):
        init_(model, 1, by=code)
    assert_equal_values(model.state_dict(), before)


def test_draws_without_chance_are_constants() -> None:
    def code(model: nn.Module) -> None:
        nn.init.trunc_normal_(model.weight, a=1.0, b=1.0)
        nn.init.sparse_(model.other, 2.0)
        nn.init.sparse_(model.third, 0.5, std=0.0)

    model: Any = nn.Linear(3, 3, bias=False)
    model.other, model.third = (nn.Parameter(torch.ones(3, 3)) for _ in range(2))
    init_(model, 1, by=code)
    assert bool((model.weight == 1).all())
    assert not bool(model.other.any()) and not bool(model.third.any())


def test_a_dtype_that_a_rule_cannot_make_is_refused_before_a_tensor_is_filled() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    before = {k: v.clone() for k, v in model.state_dict().items()}
    rules = fanin.Recipe.from_rules([{"match": "*", "init": "normal", "dtype": "f32"}])
    with pytest.raises(ValueError, match="num_batches_tracked.*holds whole numbers only"):
        init_(model, 1, recipe=rules)
    assert_equal_values(model.state_dict(), before)


def test_thousands_of_temporary_buffers_without_a_rule() -> None:
    model = nn.Linear(2, 2)
    for at in range(3000):
        model.register_buffer(f"table{at}", torch.zeros(1), persistent=False)
    rules = [{"match": ["weight", "table7"], "init": "ones"}, {"match": "table8", "init": "eye"}]
    recipe = fanin.Recipe.from_rules([*rules, {"match": "bias", "init": "zeros"}])
    with pytest.warns(RecordWarning, match="no rule for 'table0'.* and 2989 more"):
        init_(model, 1, recipe=recipe)
    assert model.table7.tolist() == [1]
    with pytest.raises(ValueError, match=r"'weight'|\"weight\""):
        init_(model, 1, recipe=fanin.Recipe.from_rules([{"match": "bias", "init": "zeros"}]))


def test_tied_tensors_are_tied_for_the_code() -> None:
    seen = []
    model = titan()
    model.out.weight = model.tok.weight
    init_(model, 7, by=lambda m: (m.init_weights(), seen.append(m.out.weight is m.tok.weight)))
    assert seen == [True] and model.out.weight is model.tok.weight
    # The last write counts, which is that of the output.
    assert bool((model.tok.weight.abs() <= 3 * 8**-0.5).all())


def test_parameters_keep_attributes_for_the_code() -> None:
    def scaled(model: nn.Module) -> None:
        for parameter in model.parameters():
            nn.init.constant_(parameter, parameter.scale)

    model = nn.Linear(2, 2)
    model.weight.scale, model.bias.scale = 3.0, 4.0  # type: ignore[attr-defined]
    init_(model, 1, by=scaled)
    assert bool((model.weight == 3).all()) and bool((model.bias == 4).all())


def test_values_that_need_a_replay() -> None:
    make = lambda: nn.utils.parametrizations.weight_norm(nn.Linear(5, 4))  # noqa: E731
    model, recorded = make(), record(make)
    report = init_(model, 2, recipe=recorded)
    assert_equal(model, build(make, seed=2))
    assert report.classes["derived"].tensors == 1


def test_torch_generator_is_not_touched() -> None:
    model = titan()
    before = torch.get_rng_state()
    init_(model, 7)
    assert torch.equal(torch.get_rng_state(), before)


def test_reports_are_one_line() -> None:
    report = init_(nn.Linear(1000, 1000), 1)
    assert isinstance(report, Report) and report.total.bytes == 4_004_000
    line = str(report)
    assert line.startswith("2 tensors (rule 2); 1 M elements; 4 MB in ") and "\n" not in line
    assert line.endswith("; filled on the CPU") and report.seconds > 0
    assert str(init_(nn.ReLU(), 1)).startswith("no tensors; 0 elements; 0 B in ")


def test_progress_is_reported() -> None:
    calls: list[tuple[int, int]] = []
    init_(nn.Linear(300, 300), 1, progress=lambda done, total: calls.append((done, total)))
    assert calls[-1] == (300 * 301 * 4, 300 * 301 * 4)
    assert all(a[0] < b[0] for a, b in zip(calls, calls[1:]))


def test_errors() -> None:
    model = titan()
    with pytest.raises(ValueError, match="recipe and by cannot be combined"):
        init_(model, 1, recipe="llama", by="init_weights")
    with pytest.raises(AttributeError, match="Titan has no method 'initialize'"):
        init_(model, 1, by="initialize")
    with pytest.raises(TypeError, match="by is a int"):
        init_(model, 1, by=3)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="recipe is a int"):
        init_(model, 1, recipe=3)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match='unknown preset "lama"'):
        init_(model, 1, recipe="lama")
    with pytest.raises(ValueError, match="seed -1"):
        init_(model, -1)
    with pytest.raises(TypeError, match="expected a torch.nn.Module, but got a Parameter"):
        init_(model.tok.weight, 1)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="the recipe has no values for .*'tok.weight'"):
        init_(model, 1, recipe=record(nn.Linear, 2, 2))
    with pytest.raises(ValueError, match=r"'weight' has shape \(3, 2\).*have shape \(2, 2\)"):
        init_(nn.Linear(2, 3), 1, recipe=record(nn.Linear, 2, 2))


def test_tensors_without_memory() -> None:
    with torch.device("meta"):
        model = titan()
    with pytest.raises(ValueError, match="'tok.weight'.*on the meta device; call model.to_empty"):
        init_(model, 1)
    with pytest.raises(ValueError, match="on the meta device"):
        init_(model, 1, recipe=record(titan))


def test_code_with_arguments_is_asked_for_them() -> None:
    class Picky(nn.Linear):
        def init_weights(self, std: float) -> None:
            nn.init.normal_(self.weight, std=std)

    with pytest.raises(ValueError, match="init_weights of Picky needs arguments"):
        init_(Picky(2, 2), 1)
    init_(Picky(2, 2), 1, by=lambda model: (model.init_weights(0.1), nn.init.zeros_(model.bias)))


def test_flattened_parameters_are_refused() -> None:
    import torch.distributed as dist
    from torch.distributed.fsdp import FullyShardedDataParallel
    from torch.testing._internal.distributed.fake_pg import FakeStore

    dist.init_process_group("fake", rank=0, world_size=2, store=FakeStore())
    try:
        model = FullyShardedDataParallel(nn.Linear(4, 4), device_id=torch.device("cpu"))
        with pytest.raises(TypeError, match="FullyShardedDataParallel.*fully_shard"):
            init_(model, 1)
    finally:
        dist.destroy_process_group()


def test_parameters_that_share_elements_are_refused() -> None:
    big = torch.zeros(6, 4)
    recipe = fanin.Recipe.from_rules([{"match": "*", "init": "normal"}])
    model = nn.Module()
    model.a, model.b = nn.Parameter(big[:4]), nn.Parameter(big[2:])
    with pytest.raises(ValueError, match="tensor 'b' shares memory with another tensor"):
        init_(model, 5, recipe=recipe)
    # Views of one storage without common elements are filled, interleaved ones too.
    model.a, model.b = nn.Parameter(big[:, ::2]), nn.Parameter(big[:, 1::2])
    init_(model, 5, recipe=recipe)
    for name, tensor in (("a", model.a), ("b", model.b)):
        assert torch.equal(tensor, fill_(torch.empty(6, 2), "normal", name=name, seed=5))


def test_models_that_no_recipe_or_code_can_fill() -> None:
    with pytest.raises(ValueError, match="'weight', 'bias' have complex numbers, which a recipe"):
        init_(nn.Linear(2, 2, dtype=torch.complex64), 1, recipe="torch")
    with pytest.warns(FutureWarning):
        scripted = torch.jit.script(nn.Linear(2, 2))
    with pytest.raises(TypeError, match="ScriptModule cannot be recorded; use recipe="):
        init_(scripted, 1)
    init_(scripted, 1, recipe="torch")


def test_recordings_are_not_pickled() -> None:
    recorded = record(nn.Linear, 2, 2)
    assert copy.copy(recorded) is recorded
    for make in (copy.deepcopy, pickle.dumps):
        with pytest.raises(TypeError, match="use save, or record again"):
            make(recorded)  # type: ignore[operator]
