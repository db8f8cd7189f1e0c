#!/usr/bin/env python3
"""Records complete state dicts, as frameworks write them: with counters, masks and tied names.

    python3 tests/data/state_dicts.py [NAME ...]

writes tests/data/state_dicts/NAME.json for the named models, or for all of them. Each file is a tensor
list that fanin reads: name, shape and dtype of every entry, in the order of the state dict. The dtypes
are spelled as the framework spells them.

Needs torch, torchvision, timm, transformers, jax, flax and keras. Downloads nothing: each model is small,
and built from its configuration with seed 0. Older versions of transformers saved buffers that newer ones
leave out. Such buffers are made here from the code of those versions, which each function names.

Beside the list, a row has what the framework gave:

- `tied_to`: the first entry that shares its memory. Such a row has nothing else.
- `values`: the elements, for whole numbers, truth values, scalars, frequencies and tensors of two values.
- otherwise `mean`, `std`, `min` and `max`, the `kurtosis` if the elements differ (3 for a normal
  distribution), and the `zero_rows` of a matrix. They are those of the stored, rounded elements.
"""

import json
import math
import os
import sys

os.environ.setdefault("KERAS_BACKEND", "jax")
os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import torch

HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "state_dicts")


def hf(cls, config):
    """A model of transformers, which initializes its models in their constructors."""
    import transformers

    return f"transformers {transformers.__version__}: {cls.__name__}", cls(config)


def mobilenet_v3_small():
    """Counters of BatchNorm, I64 of rank 0."""
    import torchvision

    model = torchvision.models.mobilenet_v3_small(weights=None)
    return f"torchvision {torchvision.__version__}: mobilenet_v3_small", model.state_dict(), model


def timm_resnet():
    """Counters of BatchNorm. timm starts the last BatchNorm of each block at 0."""
    import timm

    name = "test_resnet"
    model = timm.create_model(name, pretrained=False)
    return f"timm {timm.__version__}: {name}", model.state_dict(), model


def swin():
    """Index tables, I64: data that no initializer gives."""
    import torchvision

    model = torchvision.models.SwinTransformer(
        patch_size=[4, 4], embed_dim=24, depths=[1, 1], num_heads=[2, 4], window_size=[4, 4], num_classes=10,
    )  # fmt: skip
    return f"torchvision {torchvision.__version__}: SwinTransformer", model.state_dict(), model


def llama2():
    """Weights in float16, and each layer's rotary_emb.inv_freq in float32, as in the files of
    meta-llama/Llama-2-7b-hf. transformers 4.31 saved it: models/llama/modeling_llama.py,
    LlamaRotaryEmbedding.__init__."""
    import transformers

    config = transformers.LlamaConfig(
        vocab_size=1000, hidden_size=128, intermediate_size=344, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=4, max_position_embeddings=512,
    )  # fmt: skip
    source, model = hf(transformers.LlamaForCausalLM, config)
    inv_freq = model.model.rotary_emb.inv_freq
    state = {}
    for key, tensor in model.state_dict().items():
        state[key] = tensor.half()
        if key.endswith("self_attn.o_proj.weight"):
            state[key.replace("o_proj.weight", "rotary_emb.inv_freq")] = inv_freq.clone()
    return source + ", inv_freq as in 4.30", state, model


def gpt2(masks, model_class="GPT2LMHeadModel"):
    """Attention masks, in models/gpt2/modeling_gpt2.py, GPT2Attention.__init__."""
    import transformers

    config = transformers.GPT2Config(
        vocab_size=1000, n_positions=32, n_embd=64, n_layer=2, n_head=4, bos_token_id=0, eos_token_id=0,
    )  # fmt: skip
    source, model = hf(getattr(transformers, model_class), config)
    n = config.n_positions
    state = {}
    for key, tensor in model.state_dict().items():
        if key.endswith("attn.c_attn.weight"):
            prefix = key.removesuffix("c_attn.weight")
            for name, mask in masks(n).items():
                state[prefix + name] = mask
        state[key] = tensor
    return source, state, model


def gpt2_uint8():
    """transformers 4.0 to 4.25 saved uint8 masks, masked_bias, and lm_head.weight beside wte.weight."""
    source, state, model = gpt2(
        lambda n: {
            "bias": torch.tril(torch.ones((n, n), dtype=torch.uint8)).view(1, 1, n, n),
            "masked_bias": torch.tensor(-1e4),
        }
    )
    return source + ", masks as in 4.25", state, model


def gpt2_bool():
    """transformers 4.26 to 4.30 saved masks of bool."""
    source, state, model = gpt2(
        lambda n: {
            "bias": torch.tril(torch.ones((n, n), dtype=torch.bool)).view(1, 1, n, n),
            "masked_bias": torch.tensor(-1e4),
        }
    )
    return source + ", masks as in 4.30", state, model


def gpt2_float():
    """openai-community/gpt2 has masks of float32 and names without the prefix `transformer.`."""
    source, state, model = gpt2(
        lambda n: {"bias": torch.tril(torch.ones(n, n)).view(1, 1, n, n)}, model_class="GPT2Model"
    )
    return source + ", masks as in openai-community/gpt2", state, model


def bert():
    """position_ids, I64, and the tied decoder. transformers 4.30 saved the position_ids:
    models/bert/modeling_bert.py, BertEmbeddings.__init__."""
    import transformers

    config = transformers.BertConfig(
        vocab_size=1000, hidden_size=64, num_hidden_layers=2, num_attention_heads=4, intermediate_size=128,
        max_position_embeddings=64,
    )  # fmt: skip
    source, model = hf(transformers.BertForPreTraining, config)
    state = {"bert.embeddings.position_ids": torch.arange(config.max_position_embeddings).expand((1, -1))}
    return source + ", position_ids as in 4.30", state | model.state_dict(), model


def t5():
    """One matrix under four names."""
    import transformers

    config = transformers.T5Config(
        vocab_size=1000, d_model=64, d_kv=16, d_ff=128, num_layers=2, num_decoder_layers=2, num_heads=4,
    )  # fmt: skip
    source, model = hf(transformers.T5ForConditionalGeneration, config)
    return source, model.state_dict(), model


def whisper():
    """The tied proj_out.weight. The vocabulary is that of the released English models: the padding
    token is its last but some hundreds."""
    import transformers

    config = transformers.WhisperConfig(
        d_model=16, encoder_layers=2, decoder_layers=2, encoder_attention_heads=2, decoder_attention_heads=2,
        encoder_ffn_dim=32, decoder_ffn_dim=32, max_source_positions=100, max_target_positions=40,
    )  # fmt: skip
    source, model = hf(transformers.WhisperForConditionalGeneration, config)
    return source, model.state_dict(), model


def deepseek_fp8():
    """Weights in float8_e4m3fn with a scale for each block of 128 x 128, as in the files of
    deepseek-ai/DeepSeek-V3: experts apart, the router's bias in float32. The scales are 1, so that the
    weights are those of the model, rounded."""
    import transformers

    config = transformers.DeepseekV3Config(
        vocab_size=1000, hidden_size=256, intermediate_size=384, moe_intermediate_size=64, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=4, n_shared_experts=1, n_routed_experts=4, n_group=2,
        topk_group=1, num_experts_per_tok=2, first_k_dense_replace=1, q_lora_rank=96, kv_lora_rank=64,
        qk_rope_head_dim=16, qk_nope_head_dim=32, v_head_dim=32,
    )  # fmt: skip
    source, model = hf(transformers.DeepseekV3ForCausalLM, config)
    state = {}

    def quantized(key, weight):
        state[key] = weight.to(torch.float8_e4m3fn)
        blocks = [-(-size // 128) for size in weight.shape]
        state[key + "_scale_inv"] = torch.ones(blocks)

    for key, tensor in model.state_dict().items():
        if key.endswith("experts.gate_up_proj"):
            for expert, pair in enumerate(tensor):
                for name, weight in zip(["gate", "up"], pair.chunk(2)):
                    quantized(key.replace("gate_up_proj", f"{expert}.{name}_proj.weight"), weight)
        elif key.endswith("experts.down_proj"):
            for expert, weight in enumerate(tensor):
                quantized(key.replace("down_proj", f"{expert}.down_proj.weight"), weight)
        elif "_proj" in key and key.endswith(".weight"):
            quantized(key, tensor)
        elif key.endswith("e_score_correction_bias"):
            state[key] = tensor
        else:
            state[key] = tensor.bfloat16()
    return source + ", names and dtypes of deepseek-ai/DeepSeek-V3", state, model


def flax_linen():
    """A variable dict of flax.linen, one of each layer with parameters: kernels of rank 3 in attention,
    one layer in bfloat16, counts of BatchNorm."""
    import flax
    import flax.linen as nn
    import jax
    import jax.numpy as jnp

    class Model(nn.Module):
        @nn.compact
        def __call__(self, tokens, images):
            x = nn.Embed(1000, 96)(tokens)
            x = nn.LayerNorm()(x)
            x = nn.MultiHeadDotProductAttention(num_heads=6, qkv_features=96)(x, x)
            x = nn.RMSNorm()(x)
            x = nn.Dense(192, param_dtype=jnp.bfloat16)(x)
            x = nn.DenseGeneral(features=(4, 32))(x)
            x = nn.DenseGeneral(features=64, axis=(-2, -1))(x)
            x = nn.RNN(nn.OptimizedLSTMCell(48))(x)
            x = nn.RNN(nn.GRUCell(48))(x)
            y = nn.Conv(32, (3, 3))(images)
            y = nn.BatchNorm(use_running_average=True)(y)
            y = nn.Conv(64, (3, 3), feature_group_count=4)(y)
            y = nn.GroupNorm(num_groups=8)(y)
            y = nn.ConvTranspose(24, (2, 2))(y)
            return nn.Dense(100)(x.mean(1)), y

    model = Model()
    inputs = jnp.zeros((1, 7), jnp.int32), jnp.zeros((1, 8, 8, 3))
    variables = model.init(jax.random.key(0), *inputs)
    flat = flax.traverse_util.flatten_dict(variables, sep=".")
    return f"flax {flax.__version__}, jax {jax.__version__}: linen", flat, (model, inputs)


def keras():
    """Weights of Keras layers under their paths: an LSTM whose forget gate's bias is 1, orthogonal
    recurrent kernels, kernels of rank 3 in attention."""
    import keras

    keras.utils.set_random_seed(0)
    layers = keras.layers
    tokens = keras.Input((7,), dtype="int32", name="tokens")
    images = keras.Input((8, 8, 3), name="images")
    x = layers.Embedding(1000, 96, name="embedding")(tokens)
    x = layers.LayerNormalization(name="norm")(x)
    x = layers.MultiHeadAttention(6, 16, name="attention")(x, x)
    x = layers.LSTM(64, return_sequences=True, name="lstm")(x)
    x = layers.GRU(64, name="gru")(x)
    x = layers.Dense(100, name="dense")(x)
    y = layers.Conv2D(32, 3, name="conv")(images)
    y = layers.BatchNormalization(name="batch_norm")(y)
    y = layers.DepthwiseConv2D(3, name="depthwise")(y)
    y = layers.Conv2DTranspose(24, 2, name="transpose")(y)
    model = keras.Model([tokens, images], [x, y])
    state = {weight.path: weight.value for weight in model.weights}
    return f"keras {keras.__version__}, backend {keras.backend.backend()}", state, model


# Each function returns where the model is from, its state dict, and the framework's model.
MODELS = {
    "mobilenet_v3_small": mobilenet_v3_small,
    "timm_resnet": timm_resnet,
    "swin": swin,
    "llama2": llama2,
    "gpt2_uint8": gpt2_uint8,
    "gpt2_bool": gpt2_bool,
    "gpt2_float": gpt2_float,
    "bert": bert,
    "t5": t5,
    "whisper": whisper,
    "deepseek_fp8": deepseek_fp8,
    "flax_linen": flax_linen,
    "keras": keras,
}


def number(x):
    return float(f"{x:.7g}")


def statistics(key, tensor):
    if isinstance(tensor, torch.Tensor):
        x = tensor.detach()
        whole = not x.is_floating_point()
        x = x.numpy() if whole else x.double().numpy()
    else:
        x = np.asarray(tensor)
        whole = x.dtype.kind in "iub"
        x = x if whole else x.astype(np.float64)
    # Masks and the biases of gates have two values.
    if whole or x.ndim == 0 or key.endswith(".inv_freq") or len(np.unique(x)) == 2:
        return {"values": x.reshape(-1).tolist()}
    mean, std = x.mean(), x.std()
    row = {"mean": number(mean), "std": number(std), "min": number(x.min()), "max": number(x.max())}
    if std > 0:
        row["kurtosis"] = number(((x - mean) ** 4).mean() / std**4)
        if x.ndim == 2 and (zero := np.flatnonzero((x == 0).all(1)).tolist()):
            row["zero_rows"] = zero
    assert all(map(math.isfinite, (mean, std))), key
    return row


def write(name):
    torch.manual_seed(0)
    source, state, _ = MODELS[name]()
    # Tied entries are one storage; a buffer that is a view of nothing else has its own.
    first = {}
    lines = []
    elements = 0
    for key, tensor in state.items():
        row = {"name": key, "shape": list(tensor.shape), "dtype": str(tensor.dtype)}
        elements += math.prod(tensor.shape)
        pointer = tensor.data_ptr() if isinstance(tensor, torch.Tensor) else id(tensor)
        if tensor.shape and pointer in first:
            row["tied_to"] = first[pointer]
        else:
            first[pointer] = key
            row |= statistics(key, tensor)
        lines.append(json.dumps(row))
    head = json.dumps({"model": name, "source": source, "seed": 0})[:-1]
    with open(os.path.join(HERE, name + ".json"), "w") as file:
        file.write(head + ', "tensors": [\n' + ",\n".join(lines) + "\n]}\n")
    print(name, len(lines), f"{elements:,}", source, flush=True)


if __name__ == "__main__":
    for name in sys.argv[1:] or MODELS:
        write(name)
