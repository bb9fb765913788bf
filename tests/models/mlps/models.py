"""Small models of timm and Hugging Face whose MLPs are not what their names say, or not tokens'."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import timm
import torch
import transformers
from torch import nn
from transformers.models.falcon_h1.modeling_falcon_h1 import FalconH1MLP

SMALL = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
}
TEXT = SMALL | {"num_key_value_heads": 1, "vocab_size": 50, "pad_token_id": 0}
IMAGE = SMALL | {"image_size": 16, "patch_size": 4}
VIT = {"embed_dim": 32, "depth": 2, "num_heads": 2, "img_size": 32}
SPARSE = TEXT | {"num_experts_per_tok": 2}


def hf(kind: str, **options: Any) -> nn.Module:
    return transformers.AutoModel.from_config(transformers.AutoConfig.for_model(kind, **options))


def siglip() -> nn.Module:
    text = SMALL | {"vocab_size": 50, "bos_token_id": 1, "eos_token_id": 2}
    config = transformers.SiglipConfig(text_config=text, vision_config=IMAGE)
    return transformers.SiglipModel(config)


def falcon_h1() -> nn.Module:
    """Return an MLP of the model, whose state spaces take seconds to build."""
    config = transformers.FalconH1Config(mlp_multipliers=[1.1, 0.9], **TEXT)
    return nn.Sequential(FalconH1MLP(config))


MODELS: dict[str, Callable[[], nn.Module]] = {
    "tiny_vit": partial(
        timm.create_model,
        "tiny_vit_5m_224",
        embed_dims=(16, 16, 32, 32),
        depths=(1, 1, 1, 1),
        num_heads=(1, 1, 1, 1),
    ),
    "siglip vit": partial(timm.create_model, "vit_base_patch16_siglip_224", **VIT),
    "cait": partial(timm.create_model, "cait_xxs24_224", **VIT),
    "xcit": partial(timm.create_model, "xcit_nano_12_p8_224", **VIT),
    "volo": partial(timm.create_model, "volo_d1_224"),
    "gcresnext": partial(timm.create_model, "gcresnext26ts"),
    "vit_relpos": partial(timm.create_model, "vit_relpos_small_patch16_224", **VIT),
    "vit_srelpos": partial(timm.create_model, "vit_srelpos_small_patch16_224", **VIT),
    "coatnet_rmlp": partial(timm.create_model, "coatnet_rmlp_1_rw_224", img_size=64),
    "maxvit_rmlp": partial(timm.create_model, "maxvit_rmlp_nano_rw_256", img_size=64),
    "swinv2_cr": partial(
        timm.create_model, "swinv2_cr_tiny_ns_224", embed_dim=24, depths=(1, 1), num_heads=(1, 1)
    ),
    "falcon_h1": falcon_h1,
    "gemma3n": partial(
        hf,
        "gemma3n_text",
        head_dim=16,
        hidden_size_per_layer_input=8,
        vocab_size_per_layer_input=50,
        laurel_rank=4,
        num_kv_shared_layers=0,
        activation_sparsity_pattern=[0.95, 0.0],
        layer_types=["sliding_attention", "full_attention"],
        **TEXT,
    ),
    "deepseek_v4": partial(hf, "deepseek_v4", **TEXT),
    "moonshine": partial(
        hf,
        "moonshine",
        hidden_size=32,
        intermediate_size=64,
        encoder_num_hidden_layers=1,
        decoder_num_hidden_layers=2,
        encoder_num_attention_heads=2,
        decoder_num_attention_heads=2,
        encoder_num_key_value_heads=2,
        decoder_num_key_value_heads=2,
        vocab_size=50,
    ),
    "mobilebert": partial(
        hf,
        "mobilebert",
        vocab_size=50,
        embedding_size=32,
        intra_bottleneck_size=32,
        true_hidden_size=32,
        **SMALL,
    ),
    "seed_oss": partial(hf, "seed_oss", head_dim=16, residual_dropout=0.1, **TEXT),
    "phi3": partial(hf, "phi3", **TEXT),
    "modernbert": partial(
        hf, "modernbert", mlp_dropout=0.1, **SMALL, vocab_size=50, pad_token_id=0
    ),
    "beit": partial(hf, "beit", **IMAGE),
    "siglip_vision": partial(hf, "siglip_vision_model", **IMAGE),
    "siglip": siglip,
    "switch": partial(
        hf,
        "switch_transformers",
        d_model=32,
        d_ff=64,
        d_kv=16,
        num_layers=2,
        num_decoder_layers=2,
        num_heads=2,
        num_sparse_encoder_layers=1,
        num_sparse_decoder_layers=1,
        num_experts=4,
        vocab_size=50,
    ),
    "qwen2_moe": partial(
        hf,
        "qwen2_moe",
        num_experts=4,
        moe_intermediate_size=32,
        shared_expert_intermediate_size=32,
        **SPARSE,
    ),
    "gpt_oss": partial(hf, "gpt_oss", num_local_experts=4, head_dim=16, **SPARSE),
    "minimax_m2": partial(
        hf,
        "minimax_m2",
        num_local_experts=4,
        head_dim=16,
        rotary_dim=8,
        bos_token_id=1,
        eos_token_id=2,
        **SPARSE,
    ),
}


def build(name: str) -> nn.Module:
    torch.manual_seed(0)
    return MODELS[name]()


def on_meta(name: str) -> nn.Module:
    with torch.device("meta"):
        return MODELS[name]()
