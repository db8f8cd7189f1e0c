"""A Llama on two processes with FSDP2, initialized without messages between them.

    torchrun --nproc-per-node 2 python/examples/llama_fsdp2.py

Each process makes its own rows of every matrix. The printed hash is the same for any number of
processes, because the weights are. On GPUs, replace "cpu" by "cuda" and "gloo" by "nccl".
"""

import hashlib

import torch
import torch.distributed as dist
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from transformers import LlamaConfig, LlamaForCausalLM

from fanin.torch import init_, record

CONFIG = LlamaConfig(
    vocab_size=1001,
    hidden_size=64,
    intermediate_size=176,
    num_hidden_layers=2,
    num_attention_heads=4,
    pad_token_id=0,
)


def main() -> None:
    """Shards, initializes and trains the model for one step."""
    dist.init_process_group("gloo")
    mesh = init_device_mesh("cpu", (dist.get_world_size(),))

    # 1. The model without memory, sharded, then with memory of the shards alone.
    with torch.device("meta"):
        model = LlamaForCausalLM(CONFIG)
    for layer in model.model.layers:
        fully_shard(layer, mesh=mesh)
    fully_shard(model, mesh=mesh)
    model.to_empty(device="cpu")

    # 2. The weights, as transformers' own code starts them. The rotary buffers are right, too.
    report = init_(model, seed=42, recipe=record(LlamaForCausalLM, CONFIG))
    if dist.get_rank() == 0:
        print(report)

    # 3. A check: gathering is for this example only.
    total = hashlib.sha256()
    for _, parameter in sorted(model.named_parameters()):
        total.update(parameter.full_tensor().detach().numpy().tobytes())

    # 4. One step of training.
    tokens = torch.arange(32)[None] % CONFIG.vocab_size
    loss = model(tokens, labels=tokens).loss
    loss.backward()
    if dist.get_rank() == 0:
        processes, weights = dist.get_world_size(), total.hexdigest()[:16]
        print(f"{processes} processes, weights {weights}, loss {loss.item():.6f}")
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
