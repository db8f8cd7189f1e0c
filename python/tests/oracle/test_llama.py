"""A Llama of four layers in four processes has the bytes of the command line.

`tests/jax/test_init.py` compares the same model on a mesh of JAX with them.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor.debug import CommDebugMode
from torch.distributed.tensor.parallel import ColwiseParallel, RowwiseParallel, parallelize_module

from fanin.torch import init_

from ..conftest import CommandLine
from ..jax import llama
from ..torch.ranks import fully_shard, local, on_ranks, tensors

SEED = 0x9E3779B97F4A7C15


def divided() -> nn.Module:
    """Returns the model without values, divided by tensor parallelism in two and by FSDP in two."""
    from transformers import LlamaConfig, LlamaForCausalLM

    sizes: dict[str, Any] = {"vocab_size": llama.WORDS, "hidden_size": llama.WIDTH}
    sizes |= {"intermediate_size": llama.HIDDEN, "num_hidden_layers": llama.LAYERS}
    heads: dict[str, Any] = {"num_attention_heads": 4, "num_key_value_heads": 2}
    with torch.device("meta"):
        model: nn.Module = LlamaForCausalLM(LlamaConfig(**sizes, **heads))
    mesh = init_device_mesh("cpu", (2, 2), mesh_dim_names=("dp", "tp"))
    columns, rows = ColwiseParallel(), RowwiseParallel()
    plan = {f"self_attn.{name}_proj": columns for name in "qkv"} | {"self_attn.o_proj": rows}
    plan |= {"mlp.gate_proj": columns, "mlp.up_proj": columns, "mlp.down_proj": rows}
    for layer in model.model.layers:
        parallelize_module(layer, mesh["tp"], plan)
        fully_shard(layer, mesh=mesh["dp"])
    parallelize_module(model, mesh["tp"], {"lm_head": columns})
    fully_shard(model, mesh=mesh["dp"])
    return model.to_empty(device="cpu")


def check(rank: int, file: str) -> None:
    """Compares the model on all ranks with the file."""
    model = divided()
    for tensor in tensors(model).values():
        local(tensor).fill_(torch.nan)
    with CommDebugMode() as messages:
        init_(model, SEED, recipe="llama", only="*.weight")
    assert messages.get_total_counts() == 0
    written = load_file(file)
    parameters = dict(model.named_parameters())
    assert parameters.keys() == written.keys()
    for name, parameter in parameters.items():
        assert parameter.to_local().numel() < parameter.numel(), name
        assert torch.equal(parameter.full_tensor(), written[name]), name


def test_four_processes_have_the_bytes_of_the_command_line(
    fanin_command: CommandLine, tmp_path: Path
) -> None:
    import jax

    leaves = jax.tree_util.tree_leaves_with_path(llama.shapes())
    listed = [
        {"name": jax.tree_util.keystr(path, simple=True, separator="."), "shape": leaf.shape}
        for path, leaf in leaves
    ]
    Path("list.json").write_text(json.dumps({"tensors": listed}))
    made = ["llama", "--tensors", "list.json", "--seed", str(SEED), "--backend", "cpu"]
    fanin_command("init", *made, "--out", "m.safetensors")
    on_ranks(4, tmp_path, check, str(tmp_path / "m.safetensors"))
