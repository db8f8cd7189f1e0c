"""The layers of torch.nn, each with arguments that make a small one."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn.utils import parametrizations

#: Classes that are not recorded by themselves.
EXCLUDED = {
    "DataParallel": "a wrapper of another module, whose prefix `module.` is stripped from names",
    "Container": "a deprecated name of Module",
    "NLLLoss2d": "a deprecated name of NLLLoss",
}

#: Classes whose parameters have no shape before the first batch: `record` refuses them by name.
LAZY = {
    "LazyBatchNorm1d": (),
    "LazyBatchNorm2d": (),
    "LazyBatchNorm3d": (),
    "LazyConv1d": (4, 3),
    "LazyConv2d": (4, 3),
    "LazyConv3d": (4, 3),
    "LazyConvTranspose1d": (4, 3),
    "LazyConvTranspose2d": (4, 3),
    "LazyConvTranspose3d": (4, 3),
    "LazyInstanceNorm1d": (),
    "LazyInstanceNorm2d": (),
    "LazyInstanceNorm3d": (),
    "LazyLinear": (4,),
}

#: Positional arguments of the classes that need some. A class that is not listed takes none.
ARGUMENTS: dict[str, tuple[Any, ...]] = {
    "AdaptiveAvgPool1d": (2,),
    "AdaptiveAvgPool2d": (2,),
    "AdaptiveAvgPool3d": (2,),
    "AdaptiveLogSoftmaxWithLoss": (8, 20, [4, 10]),
    "AdaptiveMaxPool1d": (2,),
    "AdaptiveMaxPool2d": (2,),
    "AdaptiveMaxPool3d": (2,),
    "AvgPool1d": (2,),
    "AvgPool2d": (2,),
    "AvgPool3d": (2,),
    "BatchNorm1d": (4,),
    "BatchNorm2d": (4,),
    "BatchNorm3d": (4,),
    "Bilinear": (3, 4, 5),
    "ChannelShuffle": (2,),
    "CircularPad1d": (1,),
    "CircularPad2d": (1,),
    "CircularPad3d": (1,),
    "ConstantPad1d": (1, 0.5),
    "ConstantPad2d": (1, 0.5),
    "ConstantPad3d": (1, 0.5),
    "Conv1d": (4, 6, 3),
    "Conv2d": (4, 6, 3),
    "Conv3d": (4, 6, 3),
    "ConvTranspose1d": (4, 6, 3),
    "ConvTranspose2d": (4, 6, 3),
    "ConvTranspose3d": (4, 6, 3),
    "CrossMapLRN2d": (2,),
    "Embedding": (10, 4),
    "EmbeddingBag": (10, 4),
    "Fold": (4, 2),
    "FractionalMaxPool2d": (2, 3),
    "FractionalMaxPool3d": (2, 3),
    "GRU": (3, 4),
    "GRUCell": (3, 4),
    "GroupNorm": (2, 4),
    "InstanceNorm1d": (4,),
    "InstanceNorm2d": (4,),
    "InstanceNorm3d": (4,),
    "LPPool1d": (2, 2),
    "LPPool2d": (2, 2),
    "LPPool3d": (2, 2),
    "LSTM": (3, 4),
    "LSTMCell": (3, 4),
    "LayerNorm": (4,),
    "Linear": (6, 4),
    "LinearCrossEntropyLoss": (6, 4),
    "LocalResponseNorm": (2,),
    "MaxPool1d": (2,),
    "MaxPool2d": (2,),
    "MaxPool3d": (2,),
    "MaxUnpool1d": (2,),
    "MaxUnpool2d": (2,),
    "MaxUnpool3d": (2,),
    "MultiheadAttention": (8, 2),
    "PixelShuffle": (2,),
    "PixelUnshuffle": (2,),
    "RMSNorm": (4,),
    "RNN": (3, 4),
    "RNNBase": ("LSTM", 3, 4),
    "RNNCell": (3, 4),
    "RNNCellBase": (3, 4, True, 2),
    "ReflectionPad1d": (1,),
    "ReflectionPad2d": (1,),
    "ReflectionPad3d": (1,),
    "ReplicationPad1d": (1,),
    "ReplicationPad2d": (1,),
    "ReplicationPad3d": (1,),
    "SyncBatchNorm": (4,),
    "Threshold": (0.5, 0.0),
    "Transformer": (8, 2, 2, 2, 16),
    "TransformerDecoderLayer": (8, 2, 16),
    "TransformerEncoderLayer": (8, 2, 16),
    "Unflatten": (1, (2, 2)),
    "Unfold": (2,),
    "ZeroPad1d": (1,),
    "ZeroPad2d": (1,),
    "ZeroPad3d": (1,),
}


def _deterministic_parameters() -> nn.ParameterDict:
    return nn.ParameterDict({"a": torch.arange(5.0), "b": torch.full((2, 3), 0.1)})


#: More ways to make a layer: options that change its tensors, and wrappers of `torch.nn.utils`.
VARIANTS: dict[str, Callable[[], nn.Module]] = {
    "TransformerEncoder": lambda: nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16), 3),
    "TransformerDecoder": lambda: nn.TransformerDecoder(nn.TransformerDecoderLayer(8, 2, 16), 3),
    "Sequential of layers": lambda: nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2)),
    "ParameterList of draws": lambda: nn.ParameterList([torch.randn(4), torch.rand(3, 3)]),
    "ParameterDict of values": _deterministic_parameters,
    "Linear without bias": lambda: nn.Linear(6, 4, bias=False),
    "Linear without inputs": lambda: nn.Linear(0, 4),
    "Linear without outputs": lambda: nn.Linear(4, 0),
    "Linear in bfloat16": lambda: nn.Linear(6, 4, dtype=torch.bfloat16),
    "Linear in float16": lambda: nn.Linear(6, 4).half(),
    "Linear in float64": lambda: nn.Linear(6, 4, dtype=torch.float64),
    "Conv2d with groups": lambda: nn.Conv2d(4, 6, 3, groups=2),
    "Embedding with a padding row": lambda: nn.Embedding(10, 4, padding_idx=-3),
    "EmbeddingBag with a padding row": lambda: nn.EmbeddingBag(10, 4, padding_idx=0),
    "Embedding from values": lambda: nn.Embedding.from_pretrained(torch.eye(4) * 2),
    "InstanceNorm with weights": lambda: nn.InstanceNorm2d(
        4, affine=True, track_running_stats=True
    ),
    "BatchNorm without weights": lambda: nn.BatchNorm1d(4, affine=False),
    "LSTM with projection": lambda: nn.LSTM(
        3, 6, num_layers=2, bidirectional=True, proj_size=2, batch_first=True
    ),
    "GRU of three layers": lambda: nn.GRU(3, 4, num_layers=3, bidirectional=True),
    "MultiheadAttention with sizes": lambda: nn.MultiheadAttention(
        8, 2, kdim=6, vdim=4, add_bias_kv=True
    ),
    "MultiheadAttention without bias": lambda: nn.MultiheadAttention(8, 2, bias=False),
    "AdaptiveLogSoftmaxWithLoss with bias": lambda: nn.AdaptiveLogSoftmaxWithLoss(
        8, 20, [5, 9], head_bias=True
    ),
    "PReLU of channels": lambda: nn.PReLU(8, init=0.1),
    "weight_norm": lambda: parametrizations.weight_norm(nn.Linear(6, 4)),
    "weight_norm of a transposed convolution": lambda: parametrizations.weight_norm(
        nn.ConvTranspose1d(4, 6, 3), dim=1
    ),
    "old weight_norm": lambda: nn.utils.weight_norm(nn.Conv1d(4, 6, 3)),
    "spectral_norm": lambda: parametrizations.spectral_norm(nn.Linear(6, 4)),
    "old spectral_norm": lambda: nn.utils.spectral_norm(nn.Linear(6, 4)),
    "orthogonal": lambda: parametrizations.orthogonal(nn.Linear(6, 6)),
    "orthogonal by Householder": lambda: parametrizations.orthogonal(
        nn.Linear(4, 6), orthogonal_map="householder"
    ),
    "skip_init": lambda: nn.utils.skip_init(nn.Linear, 6, 4),
    "meta device": lambda: nn.Linear(6, 4, device="meta").to_empty(device="cpu"),
}


def names() -> list[str]:
    """Returns the names of all classes of layers that this torch has."""
    found = set()
    for namespace in (nn, nn.modules):
        for name, value in vars(namespace).items():
            if inspect.isclass(value) and issubclass(value, nn.Module):
                found.add(name)
    return sorted(found)


def constructible() -> dict[str, Callable[[], nn.Module]]:
    """Returns a maker for every layer that has tensors of its own, or none at all."""
    made: dict[str, Callable[[], nn.Module]] = {}
    for name in names():
        if name in EXCLUDED or name in LAZY or name in VARIANTS:
            continue
        made[name] = _maker(getattr(nn, name, None) or getattr(nn.modules, name), name)
    return made | VARIANTS


def _maker(layer: type[nn.Module], name: str) -> Callable[[], nn.Module]:
    def make() -> nn.Module:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return layer(*ARGUMENTS.get(name, ()))

    return make
