#!/usr/bin/env python3
"""Records the weights of torch, Keras and JAX themselves, for tests/library/frameworks.rs.

    KERAS_BACKEND=jax python3 tests/data/frameworks.py > tests/data/frameworks.json

Needs torch, keras, jax, numpy and scipy. Each random sample is recorded as its moments and quantiles.
Tensors without random numbers are recorded whole.
"""

import inspect
import json
import math
import os

os.environ.setdefault("KERAS_BACKEND", "jax")

import jax
import keras
import numpy as np
import scipy
import torch
from jax._src.nn import initializers as jax_initializers
from torch import nn

QUANTILES = [0.001, 0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99, 0.999]
OUT_IN, IN_OUT = "out_in", "in_out"
jax.config.update("jax_platforms", "cpu")


def digits(x):
    return float(f"{float(x):.9g}")


def sample(framework, call, spec, layout, shape, values):
    x = np.asarray(values, dtype=np.float64).ravel()
    mean, std = x.mean(), x.std()
    return {
        "framework": framework,
        "call": call,
        "spec": spec,
        "layout": layout,
        "shape": list(shape),
        "n": x.size,
        "mean": digits(mean),
        "std": digits(std),
        "kurtosis": digits(((x - mean) ** 4).mean() / std**4),
        "min": digits(x.min()),
        "max": digits(x.max()),
        "quantiles": [digits(q) for q in np.quantile(x, QUANTILES)],
    }


def torch_samples():
    torch.manual_seed(1)
    init = nn.init
    square, conv2, conv1, conv3 = (512, 768), (96, 64, 5, 5), (256, 96, 7), (64, 32, 3, 4, 5)
    cases = [
        ("normal_", {}, "normal", square),
        ("normal_", {"mean": 0.5, "std": 0.02}, "normal(mean=0.5,std=0.02)", square),
        ("uniform_", {}, "uniform", square),
        ("uniform_", {"a": -0.3, "b": 0.1}, "uniform_(a=-0.3,b=0.1)", square),
        ("trunc_normal_", {}, "trunc_normal", square),
        ("trunc_normal_", {"std": 0.02, "a": -0.04, "b": 0.06}, "trunc_normal(std=0.02,a=-0.04,b=0.06)", square),
        ("trunc_normal_", {"mean": 1.0, "std": 2.0, "a": 0.0, "b": 3.0}, "trunc_normal_(mean=1,std=2,a=0,b=3)", square),
    ]  # fmt: skip
    for shape in (square, conv1, conv2, conv3):
        cases += [
            ("xavier_uniform_", {}, "xavier_uniform", shape),
            ("xavier_normal_", {"gain": 1.5}, "xavier_normal(gain=1.5)", shape),
            ("kaiming_uniform_", {"a": math.sqrt(5)}, f"kaiming_uniform(a={math.sqrt(5)})", shape),
            ("kaiming_normal_", {}, "kaiming_normal", shape),
            ("kaiming_normal_", {"mode": "fan_out", "nonlinearity": "relu"}, "kaiming_normal(mode=fan_out,nonlinearity=relu)", shape),
            ("kaiming_uniform_", {"nonlinearity": "tanh"}, "kaiming_uniform(nonlinearity=tanh)", shape),
            ("kaiming_normal_", {"nonlinearity": "selu"}, "kaiming_normal(nonlinearity=selu)", shape),
            ("kaiming_normal_", {"a": 0.3}, "kaiming_normal(a=0.3)", shape),
        ]  # fmt: skip
    version = f"torch {torch.__version__}"
    for name, arguments, spec, shape in cases:
        x = torch.empty(shape)
        getattr(init, name)(x, **arguments)
        yield sample(version, f"{name}({arguments})", spec, OUT_IN, shape, x.numpy())
    linear = nn.Linear(768, 512)
    yield sample(version, "Linear.weight", "torch_linear", OUT_IN, (512, 768), linear.weight.detach())
    bias = torch.cat([nn.Linear(50, 4096).bias.detach() for _ in range(32)])
    yield sample(version, "Linear.bias", "bias_uniform(fan_in=50)", OUT_IN, (131072,), bias)
    conv = nn.Conv2d(64, 96, 5)
    yield sample(version, "Conv2d.weight", "torch_linear", OUT_IN, (96, 64, 5, 5), conv.weight.detach())
    embedding = nn.Embedding(512, 768)
    yield sample(version, "Embedding.weight", "embedding", OUT_IN, (512, 768), embedding.weight.detach())


def keras_samples():
    shapes = [(768, 512), (7, 96, 256), (5, 5, 64, 96)]
    version = f"keras {keras.__version__}"
    k = keras.initializers
    cases = [
        (k.RandomNormal(seed=1), "RandomNormal"),
        (k.RandomUniform(seed=2), "RandomUniform"),
        (k.TruncatedNormal(seed=3), "TruncatedNormal"),
        (k.TruncatedNormal(mean=0.1, stddev=0.2, seed=3), "TruncatedNormal(mean=0.1,stddev=0.2)"),
        (k.GlorotNormal(seed=4), "GlorotNormal"),
        (k.GlorotUniform(seed=5), "GlorotUniform"),
        (k.HeNormal(seed=6), "HeNormal"),
        (k.HeUniform(seed=7), "HeUniform"),
        (k.LecunNormal(seed=8), "LecunNormal"),
        (k.LecunUniform(seed=9), "LecunUniform"),
    ]
    for mode in ("fan_in", "fan_out", "fan_avg"):
        for distribution in ("truncated_normal", "untruncated_normal", "uniform"):
            spec = f"VarianceScaling(scale=1.3,mode={mode},distribution={distribution})"
            cases.append((k.VarianceScaling(1.3, mode, distribution, seed=10), spec))
    for shape in shapes:
        for initializer, spec in cases:
            values = initializer(shape)
            yield sample(version, spec, spec, IN_OUT, shape, values)


def jax_samples():
    shapes = [(768, 512), (7, 96, 256), (5, 5, 64, 96)]
    version = f"jax {jax.__version__}"
    j = jax.nn.initializers
    cases = [
        (j.normal(), "normal(std=0.01)"),
        (j.uniform(), "uniform(low=0,high=0.01)"),
        (j.truncated_normal(), "truncated_normal(stddev=0.01)"),
        (j.truncated_normal(0.5, lower=-1.0, upper=3.0), "truncated_normal(std=0.5,lower=-1,upper=3)"),
        (j.lecun_normal(), "lecun_normal"),
        (j.lecun_uniform(), "lecun_uniform"),
        (j.glorot_normal(), "glorot_normal"),
        (j.glorot_uniform(), "glorot_uniform"),
        (j.he_normal(), "he_normal"),
        (j.he_uniform(), "he_uniform"),
    ]  # fmt: skip
    for mode in ("fan_in", "fan_out", "fan_avg"):
        for distribution in ("truncated_normal", "normal", "uniform"):
            spec = f"variance_scaling(scale=0.7,mode={mode},distribution={distribution})"
            cases.append((j.variance_scaling(0.7, mode, distribution), spec))
    key = jax.random.key(1)
    for shape in shapes:
        for initializer, spec in cases:
            key, this = jax.random.split(key)
            yield sample(version, spec, spec, IN_OUT, shape, initializer(this, shape))


def formula_samples():
    """Samples by published formulas that no framework has as a function, in numpy."""
    rng = np.random.default_rng(1)
    version = f"numpy {np.__version__}"
    shape = (512, 768)
    uniform = lambda bound: rng.uniform(-bound, bound, shape)  # noqa: E731
    yield sample(version, "SIREN, first layer", "siren_first", OUT_IN, shape, uniform(1 / 768))
    yield sample(version, "SIREN", "siren", OUT_IN, shape, uniform(math.sqrt(6 / 768) / 30))
    yield sample(version, "LoRA A", "lora_a", OUT_IN, shape, uniform(math.sqrt(1 / 768)))
    normal = lambda std: rng.normal(0, std, shape)  # noqa: E731
    yield sample(version, "small init", "small_init(dim=768)", OUT_IN, shape, normal(math.sqrt(2 / (5 * 768))))
    yield sample(version, "Wang", "wang_init(dim=768,layers=12)", OUT_IN, shape, normal(2 / 12 / math.sqrt(768)))
    yield sample(version, "mu-P hidden", "mup(role=hidden,std=0.02,base=256)", OUT_IN, shape, normal(0.02 / math.sqrt(3)))
    yield sample(version, "mu-P output", "mup(role=output,std=0.02,base=256)", OUT_IN, shape, normal(0.02 / 3))
    yield sample(version, "DeepNorm", "deepnorm(layers=18)", OUT_IN, shape, normal(144**-0.25 * math.sqrt(2 / 1280)))
    yield sample(version, "Fixup", "fixup(layers=16,m=3)", OUT_IN, shape, normal(16**-0.25 * math.sqrt(2 / 768)))
    bound = (9 * 6) ** -0.25 * math.sqrt(6 / 1280)
    yield sample(version, "T-Fixup decoder", "t_fixup(layers=6,side=decoder)", OUT_IN, shape, uniform(bound))
    yield sample(version, "T-Fixup encoder", "t_fixup(layers=6)", OUT_IN, shape, uniform(0.67 * 6**-0.25 * math.sqrt(6 / 1280)))
    yield sample(version, "mamba_ssm Mamba2 A_log", "mamba2_a_log", OUT_IN, shape, np.log(rng.uniform(1, 16, shape)))
    dt = np.exp(rng.uniform(0, 1, shape) * (math.log(0.1) - math.log(0.001)) + math.log(0.001))
    dt = np.maximum(dt, 1e-4)
    yield sample(version, "mamba_ssm Mamba dt_proj.bias", "mamba_dt_bias", OUT_IN, shape, dt + np.log(-np.expm1(-dt)))
    version = f"scipy {scipy.__version__}"
    for a, b in ((3, 12), (0.5, 0.6), (-7, -2)):
        values = scipy.stats.truncnorm.rvs(a, b, size=shape, random_state=1)
        yield sample(version, f"truncnorm({a}, {b})", f"trunc_normal(a={a},b={b})", OUT_IN, shape, values)


def whole(call, spec, layout, values):
    values = np.asarray(values, dtype=np.float64)
    return {
        "call": call,
        "spec": spec,
        "layout": layout,
        "shape": list(values.shape),
        "values": [digits(x) for x in values.ravel()],
    }


def wholes():
    init = nn.init
    for shape in ((3, 3), (2, 5), (5, 2)):
        yield whole("torch eye_", "eye", OUT_IN, init.eye_(torch.empty(shape)))
    for shape, groups in (((4, 4, 3), 1), ((6, 2, 4), 2), ((4, 3, 3, 2), 2), ((3, 3, 2, 3, 2), 1)):
        x = init.dirac_(torch.empty(shape), groups)
        yield whole("torch dirac_", f"dirac(groups={groups})", OUT_IN, x)
    yield whole("keras Identity", "Identity(gain=0.5)", IN_OUT, keras.initializers.Identity(0.5)((3, 4)))
    from transformers.models.whisper.modeling_whisper import sinusoids

    yield whole("transformers whisper sinusoids", "sinusoids", OUT_IN, sinusoids(12, 8))
    position = np.arange(12)[:, None]
    frequency = np.exp(np.arange(0, 10, 2) * -(math.log(10000.0) / 10))
    table = np.zeros((12, 10))
    table[:, 0::2] = np.sin(position * frequency)
    table[:, 1::2] = np.cos(position * frequency)
    yield whole("Vaswani et al. 2017", "sinusoidal", OUT_IN, table)
    a = np.log(np.tile(np.arange(1, 17, dtype=np.float64), (3, 1)))
    yield whole("mamba_ssm Mamba A_log", "mamba_a_log", OUT_IN, a)


    mask = torch.tril(torch.ones(7, 7)).view(1, 1, 7, 7)
    yield whole("torch tril, attn.bias of transformers GPT2Attention", "causal_mask", OUT_IN, mask)
    yield whole("torch tril", "causal_mask(value=-0.5)", OUT_IN, torch.tril(torch.full((2, 3, 5), -0.5)))
    yield whole("torch tril", "tril", OUT_IN, torch.tril(torch.ones(5, 3)))
    positions = torch.arange(12).expand((1, -1))
    yield whole("torch arange, position_ids of transformers BertEmbeddings", "arange", OUT_IN, positions)
    yield whole("torch arange", "arange(start=-3,step=2)", OUT_IN, torch.arange(-3, 9, 2))


def rotary():
    """The buffers inv_freq of transformers, which computes them in binary32."""
    from transformers import LlamaConfig
    from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS
    from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

    def frequencies(spec, kind, theta, head_dim, length=8192, seq_len=None, **parameters):
        parameters |= {"rope_type": kind, "rope_theta": theta}
        config = LlamaConfig(
            hidden_size=8 * head_dim, num_attention_heads=8, head_dim=head_dim, max_position_embeddings=length,
            rope_parameters=parameters,
        )  # fmt: skip
        if kind == "default":
            values, _ = LlamaRotaryEmbedding.compute_default_rope_parameters(config)
        else:
            values, _ = ROPE_INIT_FUNCTIONS[kind](config, "cpu", seq_len=seq_len)
        parameters = {key: value for key, value in parameters.items() if not key.startswith("rope_t")}
        call = f"transformers {kind}, theta {theta}, head_dim {head_dim}"
        return whole(f"{call}, {parameters}" if parameters else call, spec, OUT_IN, values)

    yield frequencies("inv_freq", "default", 10000.0, 128)
    yield frequencies("inv_freq(theta=500000)", "default", 500000.0, 128)
    yield frequencies("inv_freq(theta=1e6)", "default", 1e6, 64)
    yield frequencies("inv_freq(theta=1e7,dim=6)", "default", 1e7, 6)
    yield frequencies("inv_freq_linear(factor=4)", "linear", 10000.0, 128, factor=4.0)
    yield frequencies("inv_freq", "dynamic", 10000.0, 128, factor=2.0)
    yield frequencies("inv_freq_dynamic(factor=2)", "dynamic", 10000.0, 128, factor=2.0)
    yield frequencies("inv_freq_dynamic(factor=2,length=4)", "dynamic", 10000.0, 128, seq_len=4 * 8192, factor=2.0)
    llama = {"low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 8192}
    yield frequencies("inv_freq_llama3(factor=8)", "llama3", 500000.0, 128, 131072, factor=8.0, **llama)
    yield frequencies("inv_freq_llama3(factor=32)", "llama3", 500000.0, 64, 131072, factor=32.0, **llama)
    yield frequencies(
        "inv_freq_llama3(factor=16,low_freq_factor=0.5,high_freq_factor=8,original_max_position_embeddings=4096,theta=10000)",
        "llama3", 10000.0, 96, factor=16.0, low_freq_factor=0.5, high_freq_factor=8.0,
        original_max_position_embeddings=4096,
    )  # fmt: skip
    original = {"original_max_position_embeddings": 32768}
    yield frequencies(
        "inv_freq_yarn(factor=4,original_max_position_embeddings=32768,theta=1e6)",
        "yarn", 1e6, 128, 131072, factor=4.0, **original,
    )  # fmt: skip
    # DeepSeek-V3 and gpt-oss.
    yield frequencies(
        "inv_freq_yarn(factor=40,original_max_position_embeddings=4096,beta_fast=32,beta_slow=1)",
        "yarn", 10000.0, 64, 163840, factor=40.0, beta_fast=32, beta_slow=1, original_max_position_embeddings=4096,
    )  # fmt: skip
    yield frequencies(
        "inv_freq_yarn(factor=32,original_max_position_embeddings=4096,truncate=false,theta=150000)",
        "yarn", 150000.0, 64, 131072, factor=32.0, truncate=False, original_max_position_embeddings=4096,
    )  # fmt: skip
    yield frequencies(
        "inv_freq_proportional(partial_rotary_factor=0.25,theta=1e6)",
        "proportional", 1e6, 128, partial_rotary_factor=0.25,
    )  # fmt: skip
    yield frequencies(
        "inv_freq_proportional(partial_rotary_factor=0.3,factor=8,theta=1e6)",
        "proportional", 1e6, 128, partial_rotary_factor=0.3, factor=8.0,
    )  # fmt: skip


def sparse():
    for rows, columns, sparsity in ((10, 4, 0.1), (11, 3, 0.1), (64, 5, 0.9), (7, 7, 0.5)):
        x = nn.init.sparse_(torch.empty(rows, columns), sparsity)
        zeros = (x == 0).sum(0)
        assert (zeros == zeros[0]).all()
        yield {"shape": [rows, columns], "sparsity": sparsity, "zeros": int(zeros[0])}


def fans():
    calculate = nn.init._calculate_fan_in_and_fan_out
    for shape in ((1, 1), (10, 3), (3, 10), (512, 784), (50257, 768), (16, 8, 5), (64, 16, 3, 3), (64, 4, 3, 3),
                  (32, 1, 7, 7), (8, 3, 2, 3, 4), (1, 1, 1, 1, 1), (96, 3, 4, 4)):  # fmt: skip
        yield {"layout": OUT_IN, "shape": list(shape), "fans": list(calculate(torch.empty(shape)))}
    compute = jax_initializers._compute_fans
    for shape, inputs, outputs, batch in (
        ((784, 512), -2, -1, ()),
        ((5, 8, 16), -2, -1, ()),
        ((3, 3, 16, 64), -2, -1, ()),
        ((2, 3, 4, 3, 8), -2, -1, ()),
        ((64, 16, 3, 3), 1, 0, ()),
        ((768, 12, 64), 0, (1, 2), ()),
        ((12, 64, 768), (0, 1), 2, ()),
        ((8, 512, 2048), 1, 2, 0),
        ((8, 512, 2048), -2, -1, (0,)),
        ((5, 8, 512, 2048), -2, -1, (0,)),
        ((4, 3, 3, 16, 64), -2, -1, (0,)),
    ):  # fmt: skip
        fan_in, fan_out = compute(shape, in_axis=inputs, out_axis=outputs, batch_axis=batch)
        row = {"layout": IN_OUT, "shape": list(shape), "fans": [round(float(fan_in)), round(float(fan_out))]}
        listed = lambda axes: [axes] if isinstance(axes, int) else list(axes)  # noqa: E731
        yield row | {"axes": [listed(inputs), listed(outputs), listed(batch)]}


def gains():
    names = ["linear", "sigmoid", "tanh", "relu", "selu"]
    names += [f"conv{t}{d}d" for t in ("", "_transpose") for d in (1, 2, 3)]
    for name in names:
        yield {"nonlinearity": name, "a": None, "gain": nn.init.calculate_gain(name)}
    for a in (0.0, 0.01, 0.2, 1.0, math.sqrt(5)):
        yield {"nonlinearity": "leaky_relu", "a": a, "gain": nn.init.calculate_gain("leaky_relu", a)}


def defaults():
    """The default arguments of the frameworks, under fanin's names of the keys."""
    keys = {"stddev": "std", "minval": "low", "maxval": "high", "val": "value"}
    init = nn.init
    k = keras.initializers
    for name, function, skipped in [
        ("normal", init.normal_, ()),
        ("uniform", init.uniform_, ()),
        ("trunc_normal", init.trunc_normal_, ()),
        ("xavier_uniform", init.xavier_uniform_, ()),
        ("xavier_normal", init.xavier_normal_, ()),
        ("kaiming_uniform", init.kaiming_uniform_, ()),
        ("kaiming_normal", init.kaiming_normal_, ()),
        ("orthogonal", init.orthogonal_, ()),
        ("sparse", init.sparse_, ()),
        ("random_normal", k.RandomNormal.__init__, ()),
        ("random_uniform", k.RandomUniform.__init__, ()),
        ("variance_scaling", k.VarianceScaling.__init__, ()),
        ("identity", k.Identity.__init__, ()),
        ("orthogonal", k.Orthogonal.__init__, ()),
        ("truncated_normal", jax.nn.initializers.truncated_normal, ("stddev",)),
    ]:
        found = {}
        for key, parameter in inspect.signature(function).parameters.items():
            default = parameter.default
            if default is not inspect.Parameter.empty and default is not None and key not in skipped:
                if isinstance(default, (int, float, str)):
                    found[keys.get(key, key)] = default
        for key in ("dtype", "seed", "generator"):
            found.pop(key, None)
        yield {"name": name, "defaults": found}


def lines(rows):
    return "[\n" + ",\n".join(json.dumps(row) for row in rows) + "\n]"


samples = [row for part in (torch_samples, keras_samples, jax_samples, formula_samples) for row in part()]
print('{"probabilities": ' + json.dumps(QUANTILES))
for name, rows in (
    ("samples", samples),
    ("wholes", wholes()),
    ("rotary", rotary()),
    ("sparse", sparse()),
    ("fans", fans()),
    ("gains", gains()),
    ("defaults", defaults()),
):
    print(f', "{name}": {lines(rows)}')
print("}")
