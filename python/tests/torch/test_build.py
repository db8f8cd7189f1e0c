"""`build`: a model with fanin's values, to which all references follow."""

from __future__ import annotations

import copy
import gc
import io
import logging
import pickle
import weakref
from collections import deque
from pathlib import Path
from typing import Any, Callable

import numpy as np
import pytest
import torch
from torch import nn

import fanin
from fanin.torch import RecordError, RecordWarning, build, init_, record


class Net(nn.Module):
    """Parameters and buffers of several classes: rules, parts, ties, constants and kept numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(11, 8, padding_idx=3)
        self.lstm = nn.LSTM(8, 6)
        self.norm = nn.BatchNorm1d(6)
        self.head = nn.Linear(8, 11, bias=False)
        self.head.weight = self.embed.weight
        self.ortho = nn.Parameter(nn.init.orthogonal_(torch.empty(6, 6)))
        self.register_buffer("steps", torch.linspace(0, 1, 7).sin())
        self.register_buffer("rows", torch.arange(5), persistent=False)


class Loose(nn.Module):
    """Tensors that no name of the state dict reaches."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(6, 4))
        self.plain = torch.arange(5.0) * 2
        self.lists = [torch.ones(3), {"x": (torch.zeros(2),)}, self.weight]
        self.noise = torch.randn(3)
        self.initial = self.weight.detach().clone()
        self.row = self.weight[2]
        self.frozen_row = self.weight.detach()[1]
        constant, weight = torch.full((4,), 2.5), self.weight
        self.closure: Callable[[], Any] = lambda: (constant, weight)
        self.unregistered = [nn.Linear(3, 3)]


def tensors(model: nn.Module) -> dict[str, torch.Tensor]:
    return {**dict(model.named_parameters()), **dict(model.named_buffers())}


def test_values_are_those_of_the_plan() -> None:
    model = build(Net, seed=5)
    recorded = record(Net)
    plan = recorded._plan(5)
    for name, tensor in tensors(model).items():
        if name in plan:
            expected = torch.empty_like(tensor)
            plan.fill_at(name, expected.data_ptr(), expected.nbytes)
        else:
            expected = recorded._value(name, 5)
        assert torch.equal(tensor, expected), name
    assert bool((model.embed.weight[3] == 0).all())


def test_values_are_those_of_the_saved_recipe_and_of_init_(tmp_path: Path) -> None:
    model = build(Net, seed=5)
    record(Net).save(tmp_path / "net.toml")
    fanin.init_model(tmp_path / "net.toml", None, 5, out=tmp_path / "out", progress=False)
    from safetensors.torch import load_file

    stored = {
        name: tensor
        for path in (tmp_path / "out").glob("*.safetensors")
        for name, tensor in load_file(path).items()
    }
    state = model.state_dict()
    assert set(stored) <= set(state) and set(state) - set(stored) <= {"head.weight"}
    assert all(torch.equal(stored[name], state[name]) for name in stored)
    other = Net()
    init_(other, 5, recipe=record(Net))
    assert all(torch.equal(a, b) for a, b in zip(tensors(model).values(), tensors(other).values()))


def test_seeds_and_names_select_values() -> None:
    one, same, other = (build(nn.Linear, 8, 8, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(one.weight, same.weight) and not torch.equal(one.weight, other.weight)
    pair = build(lambda: nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 8)), seed=1)
    assert not torch.equal(pair[0].weight, pair[1].weight)


def test_arguments_reach_the_function() -> None:
    assert build(nn.Linear, 3, out_features=5, bias=False, seed=1).weight.shape == (5, 3)


def test_references_follow() -> None:
    model = build(Loose, seed=1)
    assert model.plain.tolist() == [0, 2, 4, 6, 8]
    ones, nested, weight = model.lists
    assert ones.tolist() == [1, 1, 1] and nested["x"][0].tolist() == [0, 0]
    assert weight is model.weight and model.closure()[1] is model.weight
    assert model.closure()[0].tolist() == [2.5] * 4
    assert torch.equal(model.initial, model.weight)
    assert model.frozen_row.data_ptr() == model.weight[1].data_ptr()
    assert not model.frozen_row.requires_grad
    assert not any(tensor.is_meta for tensor in model.unregistered[0].parameters())


def test_ties_stay_one_parameter() -> None:
    model = build(Net, seed=1)
    assert model.head.weight is model.embed.weight
    model.head(model.embed(torch.tensor([1, 2]))).sum().backward()
    assert model.embed.weight.grad is not None


def test_random_tensors_without_a_name_have_streams_of_their_path() -> None:
    model = build(Loose, seed=1)
    expected = fanin.fill("normal", (3,), name="noise//0", seed=1)
    assert torch.equal(model.noise, torch.from_numpy(expected))
    linear = model.unregistered[0]
    assert not torch.equal(linear.weight, build(nn.Linear, 3, 3, seed=1).weight)
    bound = 1 / 3**0.5
    assert bool((linear.weight.abs() <= bound).all()) and float(linear.weight.detach().std()) > 0.1


def test_tensors_without_a_name_share_random_numbers_as_in_the_model() -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.noise = torch.randn(5)
            self.double = self.noise * 2
            self.weight = nn.Parameter(torch.randn(5))
            self.root = [self.weight.detach().abs().sqrt()]
            self.table = torch.arange(3.0)

    model = build(Model, seed=1)
    assert torch.equal(model.double, 2 * model.noise)
    assert torch.equal(model.root[0], model.weight.detach().abs().sqrt())
    assert not torch.equal(model.noise, model.weight.detach())
    assert model.table.tolist() == [0, 1, 2]


def test_streams_without_a_tensor_meet_no_other_stream() -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.w = nn.Parameter(torch.randn(5) * torch.rand(5))
            self.register_parameter("w//0", nn.Parameter(torch.randn(5)))
            self.register_parameter("w//1", nn.Parameter(torch.rand(5)))
            self.x = {"y": torch.randn(5)}
            setattr(self, "x.y", torch.randn(5))

    model = build(Model, seed=1)
    parameters = dict(model.named_parameters())
    assert not torch.equal(parameters["w"], parameters["w//0"] * parameters["w//1"])
    assert not torch.equal(model.x["y"], getattr(model, "x.y"))


class Slots:
    """An object without a `__dict__`."""

    __slots__ = ("__weakref__", "noise")


def test_every_container_is_searched_for_random_tensors() -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.queue = deque([torch.randn(3)])
            self.slots = Slots()
            self.slots.noise = torch.randn(3)
            self.table = {"a": (torch.randn(3), [torch.randn(3)])}

    model = build(Model, seed=1)
    pair = model.table["a"]
    found = [model.queue[0], model.slots.noise, pair[0], pair[1][0]]
    paths = ["queue.0", "slots.noise", "table.a.0", "table.a.1.0"]
    for path, tensor in zip(paths, found):
        expected = fanin.fill("normal", (3,), name=f"{path}//0", seed=1)
        assert np.array_equal(tensor.numpy(), expected), path


def test_gradients_of_the_constructor_stay() -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Linear(3, 3), nn.Linear(3, 2)
            self.backward()

        def backward(self) -> None:
            self.second(self.first(torch.ones(1, 3)).tanh()).sum().backward()

    model = build(Model, seed=1)
    expected = Model()
    expected.load_state_dict(model.state_dict())
    expected.zero_grad()
    expected.backward()
    for parameter, other in zip(model.parameters(), expected.parameters()):
        assert torch.equal(parameter.grad, other.grad)
    torch.optim.SGD(model.parameters(), lr=0.1).step()
    assert not torch.equal(model.first.weight, expected.first.weight)


@pytest.mark.parametrize("shape", [(8, 4), (2, 4, 4), (2, 4, 2, 2)])
def test_gradients_of_a_norm_without_one_of_its_input(shape: tuple[int, ...]) -> None:
    def make() -> nn.Module:
        norm = {2: nn.BatchNorm1d, 3: nn.BatchNorm1d, 4: nn.BatchNorm2d}[len(shape)](4)
        x = torch.arange(32.0).view(shape)
        (norm(x) * torch.ones(shape).cumsum(0)).sum().backward()
        return norm

    model, real = build(make, seed=1), make()
    torch.testing.assert_close(model.weight.grad, real.weight.grad)
    assert torch.equal(model.bias.grad, real.bias.grad)


def test_expanded_buffers_stay_expanded(tmp_path: Path) -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            rows, columns = torch.meshgrid(torch.arange(3.0), torch.arange(2.0), indexing="ij")
            noise = torch.randn(6)
            own = {"rows": rows, "columns": columns, "noise": noise, "more": noise.expand(2, 6)}
            own.update(zeros=torch.zeros(1).expand(5), other=torch.randn(3).expand(2, 3))
            for name, tensor in own.items():
                self.register_buffer(name, tensor)

    model = build(Model, seed=1)
    assert model.rows.tolist() == [[0, 0], [1, 1], [2, 2]]
    assert model.columns.tolist() == [[0, 1], [0, 1], [0, 1]]
    assert model.more.data_ptr() == model.noise.data_ptr()
    assert model.more.stride() == (0, 1) and model.other.stride() == (0, 1)
    record(Model).save(tmp_path / "m.toml", seed=1)
    plan = fanin.Recipe.load(tmp_path / "m.toml").plan(seed=1)
    for name, buffer in model.named_buffers():
        assert np.array_equal(plan.fill(name), buffer.numpy()), name


def test_views_of_parameters_carry_gradients() -> None:
    model = build(Loose, seed=1)
    assert torch.equal(model.row, model.weight[2]) and not model.row.is_leaf
    (3 * model.row).sum().backward()
    assert model.weight.grad is not None
    assert model.weight.grad.sum(dim=1).tolist() == [0, 0, 12, 0, 0, 0]


def test_a_value_computed_with_gradients_is_a_constant_with_a_warning() -> None:
    class Scaled(nn.Linear):
        def __init__(self) -> None:
            super().__init__(2, 2)
            self.doubled = self.weight * 2

    with pytest.warns(RecordWarning, match="doubled.*no gradient") as caught:
        model = build(Scaled, seed=1)
    assert caught[0].filename == __file__
    assert torch.equal(model.doubled, model.weight * 2) and not model.doubled.requires_grad


def test_a_random_tensor_that_no_attribute_reaches_is_refused() -> None:
    def make() -> nn.Module:
        model, hidden = nn.Linear(2, 2), torch.randn(7)
        model.closure = lambda: hidden  # type: ignore[assignment]
        return model

    with pytest.raises(RecordError, match=r"shape \(7,\), which no attribute.*random"):
        build(make, seed=1)


def test_garbage_in_cycles_is_not_in_the_way() -> None:
    def make() -> nn.Module:
        cycle: list[Any] = [torch.randn(7)]
        cycle.append(cycle)
        return nn.Linear(2, 2)

    gc.disable()
    try:
        assert not build(make, seed=1).weight.is_meta
    finally:
        gc.enable()


def test_part_of_a_larger_memory() -> None:
    class Packed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.memory = torch.full((10,), 7.0)
            self.head = nn.Parameter(self.memory[:4])
            nn.init.normal_(self.head)
            self.stride = nn.Parameter(torch.zeros(8)[::2])

    model = build(Packed, seed=1)
    assert model.memory[4:].tolist() == [7] * 6
    assert torch.equal(model.memory[:4], model.head) and model.head.std() > 0
    assert model.memory.data_ptr() == model.head.data_ptr()
    assert model.stride.stride() == (2,) and model.stride.tolist() == [0] * 4


def test_memory_of_several_dtypes() -> None:
    def make() -> nn.Module:
        model, flags = nn.Module(), torch.ones(5, dtype=torch.uint8)
        model.register_buffer("flags", flags)
        model.word = flags[:4].view(torch.int32)  # type: ignore[assignment]
        return model

    model = build(make, seed=1)
    assert model.flags.tolist() == [1] * 5 and model.word.tolist() == [0x01010101]


def test_foreign_tensors_are_not_in_the_way() -> None:
    foreign = [
        nn.LazyLinear(3),
        torch.zeros(3).to_sparse(),
        torch.nested.nested_tensor([torch.zeros(2)]),
    ]
    torch.vmap(lambda row: (foreign.append(row), row)[1])(torch.zeros(2, 3))
    assert not build(nn.Linear, 2, 2, seed=1).weight.is_meta


@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated")
def test_tensors_that_python_does_not_hold_are_refused() -> None:
    with pytest.raises(RecordError, match="'weight' could not be given memory"):
        build(lambda: torch.jit.script(nn.Linear(2, 2)), seed=1)


def test_contexts_of_torch_do_not_matter() -> None:
    expected = build(Net, seed=1)
    contexts = [torch.device("meta"), torch.no_grad(), torch.inference_mode()]
    for context in contexts:
        with context:
            model = build(Net, seed=1)
        for name, tensor in tensors(model).items():
            assert torch.equal(tensor, tensors(expected)[name])
            assert tensor.requires_grad is tensors(expected)[name].requires_grad
            assert not tensor.is_inference()


def test_attributes_of_parameters_stay() -> None:
    calls = []

    class Special(nn.Parameter):
        pass

    def make() -> nn.Module:
        model = nn.Linear(4, 4)
        model.weight = Special(torch.randn(4, 4))
        model.weight.scale = 3  # type: ignore[attr-defined]
        model.weight.register_hook(lambda grad: calls.append("grad"))
        model.weight.register_post_accumulate_grad_hook(lambda _: calls.append("post"))
        model.bias.requires_grad_(False)
        references.append(weakref.ref(model.weight))
        return model

    references: list[weakref.ref[Any]] = []
    model = build(make, seed=1)
    assert type(model.weight) is Special and model.weight.scale == 3  # type: ignore[attr-defined]
    assert references[0]() is model.weight and not model.bias.requires_grad
    model(torch.ones(1, 4)).sum().backward()
    assert calls == ["grad", "post"]


def test_memory_formats_and_conjugates_stay() -> None:
    class Formats(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 2).to(memory_format=torch.channels_last)
            self.turn = torch.tensor([1 + 2j, 3 - 1j]) * torch.ones(2)
            self.back = self.turn.conj()

    model, plain = build(Formats, seed=1), build(lambda: nn.Sequential(), seed=1)
    assert isinstance(plain, nn.Sequential)
    assert model.conv.weight.is_contiguous(memory_format=torch.channels_last)
    assert not model.conv.weight.is_contiguous()
    assert model.back.is_conj() and torch.equal(model.back, model.turn.conj())
    assert model.turn.tolist() == [1 + 2j, 3 - 1j]


def test_built_models_work_as_others() -> None:
    model = build(Net, seed=1)
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert all(torch.equal(other.state_dict()[name], state[name]) for name in state)
        assert other.head.weight is other.embed.weight
    file = io.BytesIO()
    torch.save(model.state_dict(), file)
    file.seek(0)
    Net().load_state_dict(torch.load(file))
    optimizer = torch.optim.AdamW(model.parameters())
    output, _ = model.lstm(model.embed(torch.tensor([[1, 4], [2, 5]])))
    model.norm(output.reshape(4, 6)).square().mean().backward()
    optimizer.step()
    assert not torch.equal(model.embed.weight, state["embed.weight"])
    assert model.double().lstm.weight_ih_l0.dtype == torch.float64


def test_compiled_models_compute_the_same() -> None:
    model = build(lambda: nn.Sequential(nn.Linear(4, 4), nn.GELU()), seed=1)
    compiled = torch.compile(model, backend="eager", fullgraph=True)
    ones = torch.ones(2, 4)
    assert torch.allclose(compiled(ones), model(ones))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_a_dtype_holds_the_float32_values_rounded(dtype: torch.dtype) -> None:
    whole, cast = build(Net, seed=1), build(Net, seed=1, dtype=dtype)
    expected = tensors(whole.to(dtype))
    for name, tensor in tensors(cast).items():
        assert tensor.dtype == expected[name].dtype and torch.equal(tensor, expected[name]), name
    assert cast.rows.dtype == torch.int64 and cast.norm.num_batches_tracked.dtype == torch.int64


def test_plain_attributes_keep_their_dtype() -> None:
    model = build(Loose, seed=1, dtype=torch.bfloat16)
    assert model.weight.dtype == torch.bfloat16 and model.plain.dtype == torch.float32
    # A view of a parameter follows its memory.
    assert model.row.dtype == torch.bfloat16 and torch.equal(model.row, model.weight[2])


def test_complex_buffers_keep_their_dtype() -> None:
    def make() -> nn.Module:
        model = nn.Linear(2, 2)
        model.register_buffer("turns", torch.polar(torch.ones(4), torch.arange(4.0)))
        return model

    model, expected = build(make, seed=1, dtype=torch.bfloat16), make()
    assert torch.equal(model.turns, expected.turns) and model.weight.dtype == torch.bfloat16


def test_memory_of_two_dtypes_cannot_change_one() -> None:
    def make() -> nn.Module:
        model = nn.Linear(2, 2)
        model.bits = model.weight.detach().view(torch.int32)  # type: ignore[assignment]
        return model

    assert torch.equal(build(make, seed=1).bits, build(make, seed=1).weight.view(torch.int32))
    with pytest.raises(RecordError, match="'weight' cannot become torch.bfloat16"):
        build(make, seed=1, dtype=torch.bfloat16)


def test_data_that_the_model_was_given_stays_and_is_cast() -> None:
    data = torch.tensor([1.0, 2.5, 1 / 3])

    def make() -> nn.Module:
        model = nn.Linear(2, 2)
        model.register_buffer("data", data)
        model.alias = data  # type: ignore[assignment]
        return model

    model = build(make, seed=1)
    assert model.data is data and model.alias is data
    model = build(make, seed=1, dtype=torch.float16)
    assert torch.equal(model.data, torch.tensor([1.0, 2.5, 1 / 3]).half())
    assert model.alias is model.data


def test_torch_generator_and_default_dtype_are_not_touched() -> None:
    torch.manual_seed(3)
    before = torch.get_rng_state()
    build(Net, seed=1)
    assert torch.equal(torch.get_rng_state(), before)
    torch.set_default_dtype(torch.float64)
    try:
        assert build(nn.Linear, 2, 2, seed=1).weight.dtype == torch.float64
    finally:
        torch.set_default_dtype(torch.float32)


def test_tensors_without_values_are_zeros_with_a_warning() -> None:
    class Bare(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.gain = nn.Parameter(torch.empty(3))
            self.scratch = torch.empty(4)

    with pytest.warns(RecordWarning, match="'gain'") as caught:
        model = build(Bare, seed=1)
    assert caught[0].filename == __file__
    assert model.gain.tolist() == [0] * 3 and model.scratch.shape == (4,)


def test_derived_values_follow_their_sources() -> None:
    make = lambda: nn.utils.parametrizations.weight_norm(nn.Linear(5, 4))  # noqa: E731
    model = build(make, seed=1)
    g, v = model.parametrizations.weight.original0, model.parametrizations.weight.original1
    assert torch.allclose(g, v.norm(dim=1, keepdim=True)) and float(v.detach().std()) > 0
    assert torch.allclose(model.weight, v)


def test_old_weight_norm_computes_its_weight() -> None:
    with pytest.warns(Warning):
        model = build(lambda: nn.utils.weight_norm(nn.Linear(5, 4)), seed=1)
    assert model(torch.ones(2, 5)).shape == (2, 4)
    assert torch.allclose(model.weight, model.weight_v)


def test_what_was_built_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="fanin"):
        build(nn.Linear, 4, 4, seed=1)
    assert "built Linear: 2 tensors (rule 2); 20 elements; 80 B" in caplog.text
    assert "filled on the CPU" in caplog.text


def test_errors_of_arguments() -> None:
    with pytest.raises(ValueError, match="device 'meta' has no memory"):
        build(nn.Linear, 2, 2, seed=1, device="meta")
    with pytest.raises(TypeError, match="torch.int8 is not a floating-point dtype"):
        build(nn.Linear, 2, 2, seed=1, dtype=torch.int8)
    with pytest.raises(TypeError, match="'bfloat16' is not a floating-point dtype"):
        build(nn.Linear, 2, 2, seed=1, dtype="bfloat16")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="seed -1 is out of range"):
        build(nn.Linear, 2, 2, seed=-1)
    with pytest.raises(TypeError, match="needs a class or a function"):
        build(nn.Linear(2, 2), seed=1)
    with pytest.raises(RuntimeError, match="recording cannot begin within"):
        build(lambda: build(nn.Linear, 2, 2, seed=1), seed=1)


def test_an_error_of_the_function_leaves_torch_as_it_was() -> None:
    def make() -> nn.Module:
        nn.Linear(2, 2)
        raise KeyError("config")

    with pytest.raises(KeyError, match="config"):
        build(make, seed=1)
    assert not nn.Linear(2, 2).weight.is_meta


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_another_device_holds_the_same_bits() -> None:
    model, expected = build(Loose, seed=1, device="cuda"), build(Loose, seed=1)
    for name, tensor in tensors(model).items():
        assert tensor.device.type == "cuda" and torch.equal(tensor.cpu(), tensors(expected)[name])
    assert model.noise.device.type == "cuda" and torch.equal(model.noise.cpu(), expected.noise)
