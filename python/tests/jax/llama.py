"""The parameters of a Llama as a tree, and their shardings over a mesh of data and model."""

from __future__ import annotations

from typing import Any

import jax
from jax.sharding import PartitionSpec

WIDTH, HIDDEN, WORDS, LAYERS = 48, 88, 202, 4


def _linear(outputs: int, inputs: int) -> dict[str, Any]:
    return {"weight": jax.ShapeDtypeStruct((outputs, inputs), "float32")}


def shapes() -> dict[str, Any]:
    """Returns the tree, with the names and shapes of the checkpoints of Hugging Face."""
    norm = {"weight": jax.ShapeDtypeStruct((WIDTH,), "float32")}
    layer = {
        "self_attn": {
            "q_proj": _linear(WIDTH, WIDTH),
            "k_proj": _linear(WIDTH // 2, WIDTH),
            "v_proj": _linear(WIDTH // 2, WIDTH),
            "o_proj": _linear(WIDTH, WIDTH),
        },
        "mlp": {
            "gate_proj": _linear(HIDDEN, WIDTH),
            "up_proj": _linear(HIDDEN, WIDTH),
            "down_proj": _linear(WIDTH, HIDDEN),
        },
        "input_layernorm": norm,
        "post_attention_layernorm": norm,
    }
    return {
        "model": {
            "embed_tokens": _linear(WORDS, WIDTH),
            "layers": [layer] * LAYERS,
            "norm": norm,
        },
        "lm_head": _linear(WORDS, WIDTH),
    }


def specs(tree: Any) -> Any:
    """Returns a spec for each leaf: matrices over both axes, vectors over the data axis."""
    by_rank = {1: PartitionSpec("data"), 2: PartitionSpec("model", "data")}
    return jax.tree.map(lambda leaf: by_rank[len(leaf.shape)], tree)
