"""A saved recording makes, by the command line, the bits of `build`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from fanin.torch import build, record

from . import handwritten, processes, real, zoo

SEED = 7


def llama() -> nn.Module:
    """Returns a Llama of uneven sizes, with a padding row and tied embeddings."""
    from transformers import LlamaConfig, LlamaForCausalLM

    sizes: dict[str, Any] = {"vocab_size": 101, "hidden_size": 36, "intermediate_size": 70}
    heads: dict[str, Any] = {"num_attention_heads": 6, "num_key_value_heads": 2}
    return LlamaForCausalLM(
        LlamaConfig(**sizes, **heads, num_hidden_layers=2, pad_token_id=5, tie_word_embeddings=True)
    )


@pytest.mark.parametrize(
    "make",
    [
        llama,
        handwritten.Laws,
        handwritten.Parts,
        handwritten.Kept,
        zoo.transformers_model("wav2vec2"),
    ],
    ids=["Llama", "Laws", "Parts", "Kept", "wav2vec2"],
)
@pytest.mark.filterwarnings("ignore")
def test_three_processes_write_what_build_makes(make: zoo.Make, tmp_path: Path) -> None:
    record(make).save(tmp_path / "m.toml", seed=SEED)
    command = [sys.executable, "-m", "fanin", "init", "m.toml", "--seed", str(SEED)]
    shared = ["--distributed", "--max-shard-size", "20KB", "--backend", "cpu", "--out", "out/"]
    processes.run([*processes.mpirun(3), *command, *shared], tmp_path)
    files = sorted((tmp_path / "out").glob("*.safetensors"))
    assert len(files) > 2 or make is handwritten.Kept
    written: dict[str, Tensor] = {}
    for file in files:
        written.update(load_file(file))
    wanted = {
        name: listed.tensor.detach()
        for name, listed in real.tensors(build(make, seed=SEED)).items()
        if listed.kind != "temporary buffer"
    }
    missing = set(wanted) - set(written)
    # Files store tied tensors once.
    assert all(
        any(real.equal(wanted[name], other) for other in written.values()) for name in missing
    )
    assert set(written) <= set(wanted)
    assert [name for name in written if not real.equal(written[name], wanted[name])] == []


def test_a_bfloat16_model_is_the_float32_model_rounded(tmp_path: Path) -> None:
    wide = real.tensors(build(llama, seed=SEED))
    narrow = real.tensors(build(llama, seed=SEED, dtype=torch.bfloat16))
    for name, listed in wide.items():
        assert real.equal(narrow[name].tensor, listed.tensor.to(torch.bfloat16)), name
