"""The models that the tests record: timm and torchvision at real size, transformers shrunk."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn

Make = Callable[[], nn.Module]

TIMM = """
beit_base_patch16_224 cait_xxs24_224 coatnet_pico_rw_224 convnext_atto convnextv2_atto
crossvit_tiny_240 deit3_small_patch16_224 densenet121 edgenext_xx_small efficientformer_l1
efficientnet_lite0 efficientvit_m0 eva02_tiny_patch14_224 fastvit_t8 gcvit_xxtiny ghostnet_050
halonet26t lambda_resnet26t levit_128s mambaout_femto maxvit_nano_rw_256 mixer_s32_224
mobilenetv4_conv_small mobilevit_xxs nest_tiny nfnet_l0 pit_ti_224 regnety_002 resnet10t
rexnet_100 sequencer2d_s swinv2_tiny_window8_256 tnt_s_legacy_patch16_224 vit_tiny_patch16_224
xcit_nano_12_p16_224
""".split()

TORCHVISION = """
convnext_tiny densenet121 efficientnet_b0 fcn_resnet50 googlenet inception_v3
lraspp_mobilenet_v3_large maxvit_t mobilenet_v3_small mvit_v2_s r3d_18 raft_small regnet_y_400mf
s3d shufflenet_v2_x0_5 squeezenet1_0 ssdlite320_mobilenet_v3_large swin_v2_t
""".split()

TRANSFORMERS = """
albert audio-spectrogram-transformer bamba bark bart beit bert big_bird bloom canine clip codegen
cohere2 convbert cvt d_fine deberta-v2 deepseek_v3 detr dinov3_vit distilbert electra encodec
falcon_h1 falcon_mamba fastspeech2_conformer flava fnet gemma2 gemma3_text glm4_moe gpt2 gpt_neox
gpt_oss granitemoehybrid groupvit ibert idefics jamba jetmoe layoutlmv3 lfm2 llama llama4_text
longformer longt5 mamba marian minimax mixtral mllama mobilebert modernbert mpt nemotron_h olmoe
opt owlv2 parakeet_ctc patchtst phi3 pix2struct qwen2_5_vl qwen3_next recurrent_gemma roformer
rwkv sam2 segformer siglip2 speecht5 swin switch_transformers t5 timesfm univnet vilt vit_mae vits
wav2vec2 wavlm whisper xlm xlstm yolos
""".split()

#: An attribute that a configuration has with a larger whole number gets the number here.
_DEPTH = """
2: num_hidden_layers num_layers n_layer n_layers encoder_layers decoder_layers
2: num_encoder_layers num_decoder_layers
1000: vocab_size
"""
_WIDTH = """
2: num_key_value_heads
4: num_attention_heads num_heads n_head encoder_attention_heads decoder_attention_heads
4: num_experts num_local_experts n_routed_experts
16: head_dim d_kv
32: moe_intermediate_size
64: hidden_size d_model n_embd dim embed_dim embedding_size hidden_dim projection_dim
64: text_embed_dim image_size
96: intermediate_size encoder_ffn_dim decoder_ffn_dim d_ff ffn_dim n_inner ffn_hidden_size
128: max_position_embeddings
"""


def _sizes(table: str) -> dict[str, int]:
    lines = (line.partition(": ") for line in table.strip().splitlines())
    return {attribute: int(size) for size, _, text in lines for attribute in text.split()}


#: Real width, and at most two layers of a kind.
SHALLOW = _sizes(_DEPTH)
#: The same, and narrow.
SHRUNK = _sizes(_DEPTH + _WIDTH)

_TOKENS = ("pad_token_id", "bos_token_id", "eos_token_id", "decoder_start_token_id")


def timm_model(name: str) -> Make:
    """Returns a maker of a timm model without pretrained weights."""

    def make() -> nn.Module:
        import timm

        return timm.create_model(name, pretrained=False)

    return make


def torchvision_model(name: str) -> Make:
    """Returns a maker of a torchvision model without pretrained weights."""

    def make() -> nn.Module:
        from torchvision import models

        folder = models.get_model_builder(name).__module__.split(".")[-2]
        backbone = {"weights_backbone": None} if folder in ("detection", "segmentation") else {}
        return models.get_model(name, weights=None, **backbone)

    return make


def transformers_model(kind: str, sizes: dict[str, int] | None = None) -> Make:
    """Returns a maker of a transformers model of a type such as "llama".

    Args:
        kind: A key of transformers' `CONFIG_MAPPING`.
        sizes: The largest number of some attributes of the configuration; None takes `SHRUNK`.
    """

    def make() -> nn.Module:
        from transformers.models.auto.configuration_auto import CONFIG_MAPPING

        configuration = CONFIG_MAPPING[kind]
        model = model_class(kind)
        if model is None:
            raise LookupError(f"transformers has no model class for the type {kind!r}")
        limits = SHRUNK if sizes is None else sizes
        return model._from_config(configuration(**_shrink(configuration, limits)))

    return make


def model_class(kind: str) -> Any:
    """Returns the model class of a type: that with the most heads, or None."""
    from transformers.models.auto import modeling_auto
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    for mapping in ("CAUSAL_LM", "IMAGE_TEXT_TO_TEXT", "PRETRAINING", ""):
        name = f"MODEL_FOR_{mapping}_MAPPING" if mapping else "MODEL_MAPPING"
        try:
            found = getattr(modeling_auto, name)[CONFIG_MAPPING[kind]]
        except (AttributeError, KeyError, ValueError, ImportError):
            continue
        return found[0] if isinstance(found, (list, tuple)) else found
    return None


def _shrink(configuration: Any, sizes: dict[str, int], depth: int = 0) -> dict[str, Any]:
    """Returns arguments that make a configuration small, and those of the configurations inside."""
    try:
        default = configuration()
    except Exception:  # Some inner configurations have no default. The outer one makes them.
        return {}
    arguments: dict[str, Any] = {}
    for attribute, size in sizes.items():
        value = getattr(default, attribute, None)
        if type(value) is int and value > size:
            arguments[attribute] = size
    for token in _TOKENS:
        value = getattr(default, token, None)
        if isinstance(value, int) and value >= arguments.get("vocab_size", value + 1):
            arguments[token] = 3
    inner = getattr(configuration, "sub_configs", None) or {}
    for name, kind in inner.items():
        if hasattr(kind, "sub_configs") and kind.__name__ != "AutoConfig" and depth < 3:
            smaller = _shrink(kind, sizes, depth + 1)
            if smaller:
                arguments[name] = smaller
    return arguments


def models() -> dict[str, Make]:
    """Returns a maker for each model of the tests, by a name such as "timm/resnet10t"."""
    return {
        **{f"timm/{name}": timm_model(name) for name in TIMM},
        **{f"torchvision/{name}": torchvision_model(name) for name in TORCHVISION},
        **{f"transformers/{kind}": transformers_model(kind) for kind in TRANSFORMERS},
    }
