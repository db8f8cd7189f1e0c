#!/usr/bin/env python3
"""Records the tensors of real models with the statistics of their initial weights.

    python3 tests/data/models.py [NAME ...]

writes tests/data/models/NAME.json for the named models. Without names, it writes all models, and also
the lists of two large models without statistics, as tests/data/models/lists/NAME.json.

Needs torch, torchvision, timm, transformers, jax, flax and keras. Downloads nothing: each model is built
from its configuration under torch.manual_seed(0), or with seed 0 in JAX and Keras. Parameters are in the order of the state dict. Of tied
tensors only the first is listed. Buffers of a checkpoint are marked. The statistics are the mean, the
standard deviation, the smallest and the largest element, the kurtosis (3 for a normal distribution),
and the rows of zeros in a matrix that is not all zeros.
"""

import json
import math
import os
import sys

os.environ.setdefault("KERAS_BACKEND", "jax")

import flax.linen
import flax.nnx
import jax
import jax.numpy as jnp
import keras
import numpy as np
import timm
import torch
import torchvision
import transformers
from torch import nn

HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "models")


def hf(cls, config):
    """A model of transformers, which initializes its models in their constructors."""
    return f"transformers {transformers.__version__}: {cls.__name__}({type(config).__name__})", cls(config)


def gpt2():
    return hf(transformers.GPT2LMHeadModel, transformers.GPT2Config())


def llama():
    config = transformers.LlamaConfig(
        vocab_size=4096, hidden_size=256, intermediate_size=688, num_hidden_layers=4,
        num_attention_heads=8, num_key_value_heads=2,
    )  # fmt: skip
    return hf(transformers.LlamaForCausalLM, config)


def mixtral():
    config = transformers.MixtralConfig(
        vocab_size=4096, hidden_size=256, intermediate_size=512, num_hidden_layers=3,
        num_attention_heads=8, num_key_value_heads=2, num_local_experts=4,
    )  # fmt: skip
    return hf(transformers.MixtralForCausalLM, config)


def bert():
    return hf(transformers.BertForPreTraining, transformers.BertConfig())


def t5():
    config = transformers.T5Config()  # t5-small
    return hf(transformers.T5ForConditionalGeneration, config)


def whisper():
    return hf(transformers.WhisperForConditionalGeneration, transformers.WhisperConfig())  # tiny


def gemma():
    config = transformers.Gemma3TextConfig(
        vocab_size=4096, hidden_size=256, intermediate_size=688, num_hidden_layers=4,
        num_attention_heads=4, num_key_value_heads=2, head_dim=64,
    )  # fmt: skip
    return hf(transformers.Gemma3ForCausalLM, config)


def vit():
    name = "vit_base_patch16_224"
    return f"timm {timm.__version__}: {name}", timm.create_model(name, pretrained=False)


def convnext():
    name = "convnext_tiny"
    return f"timm {timm.__version__}: {name}", timm.create_model(name, pretrained=False)


def resnet():
    return f"torchvision {torchvision.__version__}: resnet50", torchvision.models.resnet50(weights=None)


def mobilenet_v3():
    model = torchvision.models.mobilenet_v3_large(weights=None)
    return f"torchvision {torchvision.__version__}: mobilenet_v3_large", model


class TitanBlock(nn.Module):
    def __init__(self, dim, hidden, kv):
        super().__init__()
        self.attention = nn.Module()
        self.attention.wq = nn.Linear(dim, dim, bias=False)
        self.attention.wk = nn.Linear(dim, kv, bias=False)
        self.attention.wv = nn.Linear(dim, kv, bias=False)
        self.attention.wo = nn.Linear(dim, dim, bias=False)
        self.feed_forward = nn.Module()
        self.feed_forward.w1 = nn.Linear(dim, hidden, bias=False)
        self.feed_forward.w2 = nn.Linear(hidden, dim, bias=False)
        self.feed_forward.w3 = nn.Linear(dim, hidden, bias=False)
        self.attention_norm = nn.RMSNorm(dim)
        self.ffn_norm = nn.RMSNorm(dim)


class Titan(nn.Module):
    """Llama 3 with the initialization of torchtitan, written out: torchtitan/models/llama3/model/model.py,
    Transformer.init_weights, TransformerBlock.init_weights with depth_init."""

    def __init__(self, vocabulary=4096, dim=256, hidden=688, kv=64, layers=4):
        super().__init__()
        self.tok_embeddings = nn.Embedding(vocabulary, dim)
        blocks = {str(i): TitanBlock(dim, hidden, kv) for i in range(layers)}
        self.layers = nn.ModuleDict(blocks)
        self.norm = nn.RMSNorm(dim)
        self.output = nn.Linear(dim, vocabulary, bias=False)
        nn.init.normal_(self.tok_embeddings.weight)
        for i, block in enumerate(self.layers.values()):
            std = 0.02 / (2 * (i + 1)) ** 0.5
            attention, feed_forward = block.attention, block.feed_forward
            for linear in (attention.wq, attention.wk, attention.wv, feed_forward.w1):
                nn.init.trunc_normal_(linear.weight, mean=0.0, std=0.02)
            for linear in (attention.wo, feed_forward.w2, feed_forward.w3):
                nn.init.trunc_normal_(linear.weight, mean=0.0, std=std)
        std = dim**-0.5
        nn.init.trunc_normal_(self.output.weight, mean=0.0, std=std, a=-3 * std, b=3 * std)


def llama_torchtitan():
    return "torchtitan: Transformer.init_weights, depth_init", Titan()


class Layers(nn.Module):
    """One of each layer that PyTorch initializes in its constructor."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(300, 200)
        self.conv1 = nn.Conv1d(24, 32, 5)
        self.conv2 = nn.Conv2d(16, 32, 3, groups=2)
        self.conv3 = nn.Conv3d(4, 8, 3)
        self.convt = nn.ConvTranspose2d(16, 24, 3)
        self.emb = nn.Embedding(500, 64)
        self.ln = nn.LayerNorm(64)
        self.bn = nn.BatchNorm2d(32)
        self.gn = nn.GroupNorm(4, 32)
        self.rnn = nn.RNN(48, 64)
        self.lstm = nn.LSTM(48, 64, num_layers=2)
        self.gru = nn.GRU(48, 64)
        self.encoder = nn.TransformerEncoderLayer(96, 4, 256)
        self.prelu = nn.PReLU(8)


def torch_layers():
    return f"torch {torch.__version__}: layers by themselves", Layers()


class Linen(flax.linen.Module):
    """One of each layer of Linen that initializes parameters."""

    @flax.linen.compact
    def __call__(self, tokens):
        nn = flax.linen
        x = nn.Embed(500, 64)(tokens)
        x = nn.LayerNorm()(x)
        x = nn.MultiHeadDotProductAttention(num_heads=4, qkv_features=96, out_features=64)(x)
        x = nn.RMSNorm()(x)
        x = nn.GroupNorm(num_groups=4)(x)
        x = nn.Conv(128, (5,))(x)
        x = nn.PReLU()(x)
        x = nn.Conv(64, (3,), feature_group_count=2)(x)
        x = nn.ConvTranspose(64, (3,))(x)
        x = nn.BatchNorm(use_running_average=True)(x)
        for cell in (nn.LSTMCell, nn.OptimizedLSTMCell, nn.GRUCell, nn.MGUCell, nn.SimpleCell):
            x = nn.RNN(cell(64))(x)
        image = x[:, :, :, None]
        image = nn.Conv(32, (3, 3))(image)
        image = nn.Conv(48, (3, 3))(image)
        return nn.Dense(300)(x), image


class Nnx(flax.nnx.Module):
    """Layers of NNX whose parameters differ from those of Linen."""

    def __init__(self, rngs):
        nnx = flax.nnx
        self.embed = nnx.Embed(500, 64, rngs=rngs)
        self.attention = nnx.MultiHeadAttention(num_heads=4, in_features=64, qkv_features=96, rngs=rngs)
        self.linear = nnx.Linear(64, 300, rngs=rngs)
        self.conv = nnx.Conv(16, 32, (3, 3), rngs=rngs)
        self.norm = nnx.BatchNorm(32, rngs=rngs)
        self.lstm = nnx.LSTMCell(48, 64, rngs=rngs)
        self.fused = nnx.OptimizedLSTMCell(48, 64, rngs=rngs)
        self.gru = nnx.GRUCell(48, 64, rngs=rngs)
        self.simple = nnx.SimpleCell(48, 64, rngs=rngs)


def flax_layers():
    variables = Linen().init(jax.random.key(0), jnp.zeros((1, 16), jnp.int32))
    tensors = flax.traverse_util.flatten_dict(variables, sep="/")
    state = flax.nnx.state(Nnx(flax.nnx.Rngs(0)), flax.nnx.Any(flax.nnx.Param, flax.nnx.BatchStat))
    for path, variable in flax.nnx.to_flat_state(state):
        tensors["nnx." + ".".join(map(str, path))] = variable[...]
    return f"flax {flax.__version__}, jax {jax.__version__}: layers by themselves", tensors


def keras_layers():
    keras.utils.set_random_seed(0)
    layers = keras.layers
    tokens = keras.Input((16,), dtype="int32")
    x = layers.Embedding(500, 64)(tokens)
    x = layers.LayerNormalization()(x)
    x = layers.MultiHeadAttention(num_heads=4, key_dim=24)(x, x)
    x = layers.RMSNormalization()(x)
    x = layers.GroupNormalization(groups=4)(x)
    x = layers.EinsumDense("abc,cde->abde", output_shape=(None, 6, 24), bias_axes="de")(x)
    x = layers.Reshape((16, 144))(x)
    x = layers.Conv1D(128, 5, padding="same")(x)
    x = layers.PReLU()(x)
    x = layers.LSTM(64, return_sequences=True)(x)
    x = layers.Bidirectional(layers.LSTM(48, return_sequences=True))(x)
    x = layers.GRU(64, return_sequences=True)(x)
    x = layers.SimpleRNN(64, return_sequences=True)(x)
    image = layers.Reshape((16, 64, 1))(x)
    image = layers.Conv2D(32, 3)(image)
    image = layers.BatchNormalization()(image)
    image = layers.DepthwiseConv2D(3)(image)
    image = layers.SeparableConv2D(48, 3)(image)
    image = layers.Conv2DTranspose(24, 3)(image)
    frames = layers.Reshape((4, 4, 64, 1))(x)
    frames = layers.ConvLSTM2D(16, 3)(frames)
    scaled = layers.Normalization()(x)
    model = keras.Model(tokens, [layers.Dense(300)(scaled), image, frames])
    tensors = {variable.path: np.asarray(variable.value) for variable in model.weights}
    return f"keras {keras.__version__}: layers by themselves", tensors


MODELS = {
    "gpt2": gpt2,
    "llama": llama,
    "llama_torchtitan": llama_torchtitan,
    "mixtral": mixtral,
    "gemma": gemma,
    "bert": bert,
    "t5": t5,
    "whisper": whisper,
    "vit": vit,
    "convnext": convnext,
    "resnet": resnet,
    "mobilenet_v3": mobilenet_v3,
    "torch": torch_layers,
    "flax": flax_layers,
    "keras": keras_layers,
}


def lists():
    """Names and shapes of models that are too large to build here."""
    with torch.device("meta"):
        yield "llama-3-8b", transformers.LlamaForCausalLM(
            transformers.LlamaConfig(
                vocab_size=128256, hidden_size=4096, intermediate_size=14336,
                num_hidden_layers=32, num_attention_heads=32, num_key_value_heads=8,
            )  # fmt: skip
        )
        yield "mixtral-8x7b", transformers.MixtralForCausalLM(transformers.MixtralConfig())


def write_lists():
    for name, model in lists():
        lines = [
            json.dumps({"name": key, "shape": list(tensor.shape)})
            for key, tensor in model.state_dict().items()
        ]
        with open(os.path.join(HERE, "lists", name + ".json"), "w") as file:
            file.write('{"tensors": [\n' + ",\n".join(lines) + "\n]}\n")
        print(name, len(lines), sum(p.numel() for p in model.parameters()), flush=True)


def number(x):
    return float(f"{x:.7g}")


def statistics(tensor):
    x = tensor.detach().double().flatten()
    mean = x.mean()
    centered = x - mean
    variance = (centered**2).mean()
    kurtosis = (centered**4).mean() / variance**2 if variance > 0 else torch.tensor(math.nan)
    row = {
        "mean": number(mean),
        "std": number(variance.sqrt()),
        "min": number(x.min()),
        "max": number(x.max()),
    }
    if variance > 0:
        row["kurtosis"] = number(kurtosis)
    if tensor.dim() == 2 and variance > 0:
        zero = (tensor == 0).all(1).nonzero().flatten().tolist()
        if zero:
            row["zero_rows"] = zero
    return row


def write(name):
    torch.manual_seed(0)
    source, model = MODELS[name]()
    if isinstance(model, dict):
        # Without marks: what a pytree calls a buffer depends on the framework.
        tensors = {key: torch.from_numpy(np.array(value)) for key, value in model.items()}
        parameters = {tensor.data_ptr() for tensor in tensors.values()}
    else:
        tensors = model.state_dict()
        parameters = {p.data_ptr() for p in model.parameters()}
    seen = set()
    lines = []
    for key, tensor in tensors.items():
        if not tensor.is_floating_point() or tensor.data_ptr() in seen:
            continue
        seen.add(tensor.data_ptr())
        row = {"name": key, "shape": list(tensor.shape)}
        if tensor.data_ptr() not in parameters:
            row["buffer"] = True
        lines.append(json.dumps(row | statistics(tensor)))
    head = json.dumps({"model": name, "source": source, "seed": 0})[:-1]
    with open(os.path.join(HERE, name + ".json"), "w") as file:
        file.write(head + ', "tensors": [\n' + ",\n".join(lines) + "\n]}\n")
    print(name, len(lines), source, flush=True)


for name in sys.argv[1:] or MODELS:
    write(name)
if not sys.argv[1:]:
    write_lists()
