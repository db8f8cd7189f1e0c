"""Models of timm, torchvision and transformers are recorded as torch constructs them."""

from __future__ import annotations

import pytest

from fanin.torch import build, record

from . import compare, handwritten, zoo

MAKERS: dict[str, zoo.Make] = {
    "handwritten/Laws": handwritten.Laws,
    "handwritten/Parts": handwritten.Parts,
    "handwritten/Kept": handwritten.Kept,
    "handwritten/Replayed": handwritten.Replayed,
    **zoo.models(),
}


@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.filterwarnings("ignore")
def test_model(name: str) -> None:
    assert not compare.differences(record(MAKERS[name]), MAKERS[name], build)


def test_numbers_of_models() -> None:
    assert len(zoo.TIMM) >= 30
    assert len(zoo.TORCHVISION) >= 15
    assert len(set(zoo.TRANSFORMERS)) >= 60
