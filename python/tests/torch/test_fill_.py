"""`fill_`: a drop-in for the functions of torch.nn.init."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from fanin.torch import _fill, fill_, init_
from fanin.torch._geometry import Part, part_of

INIT = "normal(std=0.02)"


def whole(shape: tuple[int, ...], dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """Returns the tensor that the other tests compare with."""
    return fill_(torch.empty(shape, dtype=dtype), INIT, name="layers.0.weight", seed=7)


def test_returns_the_same_tensor_with_values_of_the_law() -> None:
    tensor = torch.full((300, 500), torch.nan)
    assert fill_(tensor, INIT, name="w", seed=1) is tensor
    assert abs(float(tensor.mean())) < 4 * 0.02 / 150_000**0.5
    assert abs(float(tensor.std()) / 0.02 - 1) < 4 / (2 * 150_000) ** 0.5


def test_layout_decides_the_fans() -> None:
    out_in = fill_(torch.empty(400, 100), "lecun_normal", name="w", seed=1)
    in_out = fill_(torch.empty(400, 100), "lecun_normal", name="w", seed=1, layout="in_out")
    assert abs(float(out_in.std()) * 10 - 1) < 0.02
    assert abs(float(in_out.std()) * 20 - 1) < 0.02


def test_name_and_seed_select_the_values() -> None:
    assert not torch.equal(whole((8, 8)), fill_(torch.empty(8, 8), INIT, name="other", seed=7))
    other_seed = fill_(torch.empty(8, 8), INIT, name="layers.0.weight", seed=8)
    assert not torch.equal(whole((8, 8)), other_seed)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64, torch.float8_e5m2])
def test_a_dtype_holds_the_float32_values_rounded(dtype: torch.dtype) -> None:
    assert torch.equal(whole((65, 33), dtype).float(), whole((65, 33)).to(dtype).float())


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_threads_do_not_change_values(threads: int) -> None:
    tensor = torch.empty(700, 901)
    fill_(tensor, INIT, name="layers.0.weight", seed=7, threads=threads)
    assert torch.equal(tensor, whole((700, 901)))


def strided_tensors() -> list[torch.Tensor]:
    return [
        torch.empty(13, 11).t(),
        torch.empty(22, 26)[::2, ::2],
        torch.empty(13, 11).t().contiguous().flip(0).flip(0)[:, :],
        torch.empty(11, 14)[:, 1:],
        torch.zeros(11, 13, dtype=torch.complex64).real,
        torch.zeros(11, 13, dtype=torch.complex64).conj().imag,
    ]


@pytest.mark.parametrize("at", range(len(strided_tensors())))
def test_strides_do_not_change_values(at: int) -> None:
    tensor = strided_tensors()[at]
    assert tensor.shape == (11, 13)
    fill_(tensor, INIT, name="layers.0.weight", seed=7)
    assert torch.equal(tensor, whole((11, 13)))


def test_neighbours_of_a_view_stay() -> None:
    memory = torch.full((6, 10), -1.0)
    fill_(memory[1:3], INIT, name="w", seed=1)
    fill_(memory[4:, 2:5], INIT, name="w", seed=1)
    assert bool((memory[[0, 3]] == -1).all()) and bool((memory[4:, [0, 1, 5, 9]] == -1).all())
    assert not bool((memory[1:3] == -1).any())


def test_channels_last_holds_the_same_values() -> None:
    plain = whole((4, 3, 5, 5))
    tensor = torch.empty(4, 3, 5, 5).to(memory_format=torch.channels_last)
    assert torch.equal(fill_(tensor, INIT, name="layers.0.weight", seed=7), plain)


@pytest.mark.parametrize("shape", [(), (0,), (3, 0, 2), (1,)])
def test_scalars_and_empty_tensors(shape: tuple[int, ...]) -> None:
    tensor = fill_(torch.full(shape, torch.nan), INIT, name="w", seed=1)
    assert tensor.shape == shape and bool(torch.isfinite(tensor).all())


def test_whole_numbers() -> None:
    tensor = fill_(torch.empty(5, dtype=torch.int64), "arange", name="ids", seed=1)
    assert tensor.tolist() == [0, 1, 2, 3, 4]


def test_parameters_stay_leaves_and_get_no_gradient_of_the_fill() -> None:
    parameter = nn.Parameter(torch.zeros(3, 4))
    fill_(parameter, INIT, name="w", seed=1)
    assert parameter.is_leaf and parameter.requires_grad and parameter.grad_fn is None
    (parameter * 2).sum().backward()
    assert parameter.grad is not None and bool((parameter.grad == 2).all())


@pytest.mark.parametrize("make", [lambda: torch.ones(4, 4), lambda: torch.ones(4, 8)[:, ::2]])
def test_a_backward_pass_with_overwritten_values_is_an_error(make) -> None:  # type: ignore[no-untyped-def]
    tensor = make().requires_grad_()
    loss = (tensor * tensor).sum()
    fill_(tensor, INIT, name="w", seed=1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_torch_generator_is_not_touched() -> None:
    before = torch.get_rng_state()
    whole((8, 8))
    assert torch.equal(torch.get_rng_state(), before)


def test_inference_tensors() -> None:
    with torch.inference_mode():
        tensor = whole((8, 8))
    assert torch.equal(tensor, whole((8, 8)))


def fake_tensor() -> torch.Tensor:
    from torch._subclasses import FakeTensorMode

    with FakeTensorMode():
        return torch.zeros(3)


def freed() -> torch.Tensor:
    tensor = torch.zeros(3)
    tensor.untyped_storage().resize_(0)
    return tensor


REFUSED = {
    "meta": (lambda: torch.empty(3, device="meta"), ValueError, "meta device; call model.to_empty"),
    "sparse": (lambda: torch.zeros(3).to_sparse(), TypeError, "torch.sparse_coo"),
    "quantized": (
        lambda: torch.quantize_per_tensor(torch.zeros(3), 1.0, 0, torch.qint8),
        TypeError,
        "quantized",
    ),
    "complex": (lambda: torch.zeros(3, dtype=torch.complex64), TypeError, "complex"),
    "nested": (lambda: torch.nested.nested_tensor([torch.zeros(2)]), TypeError, "nested"),
    "jagged": (
        lambda: torch.nested.nested_tensor([torch.zeros(2)], layout=torch.jagged),
        TypeError,
        "NestedTensor",
    ),
    "fake": (fake_tensor, TypeError, "FakeTensor"),
    "expanded": (lambda: torch.zeros(3).expand(2, 3), ValueError, "share memory"),
    "freed": (freed, ValueError, "freed"),
    "a list": (lambda: [0.0], TypeError, "list"),
    "whole numbers": (lambda: torch.zeros(3, dtype=torch.int8), ValueError, "whole numbers"),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", REFUSED)
def test_refused_tensors_are_named(kind: str) -> None:
    make, error, text = REFUSED[kind]
    with pytest.raises(error, match=text) as caught:
        fill_(make(), INIT, name="block.w", seed=1)  # type: ignore[arg-type]
    assert "block.w" in str(caught.value) and "\n" not in str(caught.value)


def test_tensors_of_a_transform_are_refused() -> None:
    with pytest.raises(TypeError, match=r"torch\.func"):
        torch.vmap(lambda row: fill_(row, INIT, name="w", seed=1))(torch.zeros(2, 3))


@pytest.mark.parametrize("seed", [-1, 2**64])
def test_seeds_out_of_range(seed: int) -> None:
    with pytest.raises(ValueError, match=f"seed {seed} is out of range"):
        fill_(torch.zeros(3), INIT, name="w", seed=seed)


@pytest.mark.parametrize("seed", [True, 1.0, "1", None])
def test_seeds_that_are_not_whole_numbers(seed: object) -> None:
    with pytest.raises(TypeError, match="not a whole number"):
        fill_(torch.zeros(3), INIT, name="w", seed=seed)  # type: ignore[arg-type]


def test_seeds_of_64_bits() -> None:
    largest = fill_(torch.zeros(3), INIT, name="w", seed=2**64 - 1)
    assert torch.equal(largest, fill_(torch.zeros(3), INIT, name="w", seed=np.uint64(2**64 - 1)))  # type: ignore[arg-type]


def test_unknown_initializers_and_layouts() -> None:
    with pytest.raises(ValueError, match='did you mean "normal"'):
        fill_(torch.zeros(3), "normel", name="w", seed=1)
    with pytest.raises(ValueError, match="inout"):
        fill_(torch.zeros(3), INIT, name="w", seed=1, layout="inout")


def test_lazy_tensors_are_named() -> None:
    lazy = torch.nn.LazyLinear(3)
    with pytest.raises(ValueError, match="tensor 'w' is lazy, so it has no shape yet"):
        fill_(lazy.weight, "normal", name="w", seed=1)
    for recipe in (None, "torch"):
        with pytest.raises(ValueError, match="tensor '0.weight' is lazy"):
            init_(torch.nn.Sequential(lazy), 1, recipe=recipe)


def test_the_part_of_a_tensor_is_found_once(monkeypatch: pytest.MonkeyPatch) -> None:
    found = []

    def counted(tensor: torch.Tensor, name: str) -> Part:
        found.append(name)
        return part_of(tensor, name)

    monkeypatch.setattr(_fill, "part_of", counted)
    fill_(torch.empty(3), "normal", name="w", seed=1)
    init_(torch.nn.Linear(3, 3), 1, recipe="torch", progress=lambda done, total: None)
    assert found == ["w", "weight", "bias"]
