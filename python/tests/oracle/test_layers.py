"""Every layer of torch.nn is recorded as torch constructs it."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from fanin.torch import build, record

from . import compare, layers

MAKERS = layers.constructible()


@pytest.mark.parametrize("name", MAKERS)
def test_layer(name: str) -> None:
    assert not compare.differences(record(MAKERS[name]), MAKERS[name], build)


@pytest.mark.parametrize("name", layers.LAZY)
def test_lazy_layer_is_refused_by_name(name: str) -> None:
    def make() -> nn.Module:
        return nn.Sequential(nn.ReLU(), getattr(nn, name)(*layers.LAZY[name]))

    with pytest.raises(
        Exception, match=r"1\.(weight|running_mean).*lazy|lazy.*1\.(weight|running_mean)"
    ):
        record(make)


def test_every_class_of_this_torch_is_listed() -> None:
    """A new layer with arguments fails until `layers.py` has them."""
    known = {*MAKERS, *layers.EXCLUDED, *layers.LAZY}
    assert set(layers.names()) <= known
    assert not set(layers.EXCLUDED) & set(MAKERS)


def test_layers_have_tensors() -> None:
    """The comparison has something to compare."""
    with_tensors = [name for name, make in MAKERS.items() if make().state_dict()]
    assert len(with_tensors) > 40, torch.__version__
