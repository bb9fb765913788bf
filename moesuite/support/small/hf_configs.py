"""Small configurations of transformers' models: the default one, with small numbers in it."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from torch import nn

WIDTH, HEADS, HEAD_DIM, LAYERS, VOCABULARY, EXPERTS = 64, 4, 16, 2, 128, 4
LARGEST = 30_000_000  # parameters of a model that counts as small
SPECIAL = 20  # ids below are of special tokens
# the first rule whose pattern is the end of an option's name decides; a name that no rule knows
# keeps its default
SHAPES: dict[str, int] = {
    "num_key_value_heads|num_kv_heads|n_head_kv|multi_query_group_num|kv_heads": 2,
    "num_attention_heads|num_heads|n_heads?|attention_heads|num_attention_head": HEADS,
    "linear_num_key_heads|linear_num_value_heads|mamba_n_heads|mamba_num_heads": HEADS,
    "qk_rope_head_dim|qk_nope_head_dim": HEAD_DIM // 2,
    "head_dim|d_kv|v_head_dim|q_lora_rank|kv_lora_rank|d_head|head_size": HEAD_DIM,
    "attention_head_size": HEAD_DIM,
    "moe_intermediate_size|moe_ffn_hidden_size|expert_ffn_hidden_size": WIDTH // 2,
    "shared_expert_intermediate_size": WIDTH // 2,
    "intermediate_size|ffn_dim|d_ff|n_inner|dim_feedforward|mlp_dim|d_inner": 2 * WIDTH,
    "ffn_hidden_size|ffn_embed_dim|feed_forward_size|feedforward_dim|block_ff_dim": 2 * WIDTH,
    "num_hidden_layers|num_layers|n_layers?|encoder_layers|decoder_layers|depth": LAYERS,
    "num_block_layers|num_blocks|n_encoder_layers|n_decoder_layers|num_transformer_layers": LAYERS,
    "num_experts_per_tok|moe_k|moe_topk|top_k_experts|num_experts_per_token|moe_top_k": 2,
    "num_local_experts|n_routed_experts|num_experts|moe_num_experts": EXPERTS,
    "n_shared_experts|num_shared_experts|moe_num_shared_experts": 1,
    "n_group|topk_group|first_k_dense_replace": 1,
    "num_kv_shared_layers": 0,
    "max_source_positions|max_target_positions": 64,
    "vocab_size|vocab_size_per_layer_input|encoder_hash_byte_group_vocab": VOCABULARY,
    "rotary_dim": HEAD_DIM // 2,
    "hidden_size|hidden_dim|d_model|n_embd|embed_dim|embedding_size|embedding_dim": WIDTH,
    "projection_dim|projection_size|dim|width|output_dim|emb_dim|proj_dim|hidden_channels": WIDTH,
}
RULES = [(re.compile(rf"(?:.*_)?(?:{names})"), value) for names, value in SHAPES.items()]
TOKEN = re.compile(r".*token_(?:id|index|idx)|.*_token")
PLACES = re.compile(r"(?:max_|n_)(?:.*_)?positions?(?:_embeddings)?")
# options that some models cannot do without
NEVER_NONE = {
    "head_dim": HEAD_DIM,
    "n_routed_experts": EXPERTS,
    "num_experts_per_tok": 2,
    "n_shared_experts": 1,
    "vocab_size": VOCABULARY,
}
ROPE = {"rope_type": "default", "rope_theta": 10000.0}
RESNET = {
    "model_type": "resnet",
    "embedding_size": 32,
    "hidden_sizes": [32, 64, 96, 128],
    "depths": [1, 1, 1, 1],
    "layer_type": "basic",
}
# what a small model also needs, by model type
NEEDS: dict[str, dict[str, Any]] = {
    "esm": {"pad_token_id": 1, "mask_token_id": 2},
    "gpt_neo": {"attention_types": [[["global", "local"], 1]]},
    "lfm2_moe": {"layer_types": ["conv", "full_attention"]},
    "mamba2": {"num_heads": 8},
    "glm4v_moe_text": {"rope_parameters": ROPE | {"mrope_section": [1, 1, 2]}},
    **{
        name: {"rope_parameters": ROPE | {"mrope_section": [2, 3, 3]}}
        for name in ("glm4v_text", "glm46v_text", "glm_image_text", "glm_ocr_text", "glmga_text")
    },
    **{
        name: {"use_timm_backbone": False, "backbone": None, "backbone_config": RESNET}
        for name in ("detr", "conditional_detr", "dab-detr", "deformable_detr", "table-transformer")
    },
}


def check_size(model: nn.Module) -> None:
    """Refuse a model that is not small.

    Raises:
        ValueError: says how many parameters it has.
    """
    if (size := sum(parameter.numel() for parameter in model.parameters())) > LARGEST:
        raise ValueError(f"not small: {size / 1e6:,.0f} M parameters")


def small_configs(cls: Any) -> Iterator[Any]:
    """Yield configurations of a class, the smallest first; some do not build.

    See `small_config` for the levels.
    """
    for level in range(4):
        with suppress(Exception):  # of any kind: configurations check themselves
            yield small_config(cls, level, {})


def small_config(cls: Any, level: int, special: dict[str, int]) -> Any:
    """Return a small configuration of a class.

    Args:
        cls: of the configuration.
        level: 0 to change all that is known, 1 without lists, 2 without lists and images, 3 for
            layers and vocabulary only.
        special: ids of special tokens by name, one for all configurations of a model; is added to.
    """
    usual = cls()
    values = {field.name: _default(field) for field in dataclasses.fields(cls)}
    inner = {
        name: small_config(type(value), level, special)
        for name, value in vars(usual).items()
        if name in values and _is_config(value)
    }
    changed = {
        name: _small(name, value, level, special)
        for name, value in values.items()
        if name not in inner
    }
    if level < 2 and "image_size" in changed:
        changed["image_size"] = _image(values["image_size"], values.get("patch_size"))
    if level < 1 and isinstance(values.get("window_size"), int):
        changed["window_size"] = 2
    if values.get("num_key_value_heads") == values.get("num_attention_heads") is not None:
        changed["num_key_value_heads"] = changed["num_attention_heads"]
    if level < 3:
        changed |= _sections(usual, values)
    changed |= _kinds(usual, values)
    changed = {name: value for name, value in changed.items() if value != values[name]}
    return cls(**{**changed, **inner, **NEEDS.get(cls.model_type, {})})


def _kinds(usual: Any, values: dict[str, Any]) -> dict[str, Any]:
    """Return the options that list something of each layer, with as many kinds as fit."""
    layers = values.get("num_hidden_layers")
    shorter: dict[str, Any] = {}
    for name, value in vars(usual).items():
        listed = name in values and isinstance(value, list | tuple) and len(value) == layers
        if listed and all(isinstance(each, str | int) for each in value):
            kinds = list(dict.fromkeys(value))
            shorter[name] = type(value)([*kinds, *value][:LAYERS])
    return shorter


def _sections(usual: Any, values: dict[str, Any]) -> dict[str, Any]:
    """Return rotary embeddings whose sections, if there are any, fill half a small head."""
    rope = vars(usual).get("rope_parameters")
    if not isinstance(rope, dict) or "mrope_section" not in rope:
        return {}
    whole = {"partial_rotary_factor": 1.0} if "partial_rotary_factor" in values else {}
    return {"rope_parameters": ROPE | {"mrope_section": [2, 3, 3]}, **whole}


def _default(field: Any) -> Any:
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return None if field.default is dataclasses.MISSING else field.default


def _is_config(value: Any) -> bool:
    return hasattr(value, "to_json_string")


def _small(name: str, value: Any, level: int, special: dict[str, int]) -> Any:
    """Return what an option becomes."""
    if TOKEN.fullmatch(name):
        return _special(name, value, special)
    if level == 0 and isinstance(value, list | tuple):
        return _shorter(name, value)
    if value is None and level < 3 and name in NEVER_NONE:
        return NEVER_NONE[name]
    if isinstance(value, bool) or not isinstance(value, int):
        return value
    if PLACES.fullmatch(name) and value <= 1024:
        return value
    for pattern, small in RULES:
        if pattern.fullmatch(name):
            return min(small, value) if level < 3 or small in (LAYERS, VOCABULARY) else value
    return value


def _special(name: str, value: Any, special: dict[str, int]) -> Any:
    """Return an id below `SPECIAL` in place of one; a list of one becomes one."""
    if isinstance(value, list | tuple) and value:
        value = value[0]
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        return value
    return special.setdefault(name, 1 + len(special) % (SPECIAL - 1))


def _image(value: Any, patch: Any) -> Any:
    """Return about 64 pixels, in whole patches."""
    if isinstance(value, list | tuple):
        return type(value)(_image(each, patch) for each in value)
    patch = patch[-1] if isinstance(patch, list | tuple) else patch
    if not isinstance(value, int) or not isinstance(patch, int):
        return min(value, 64) if isinstance(value, int) else value
    return min(value, patch * max(2, 64 // patch))


def _shorter(name: str, value: Any) -> Any:
    """Return one block for each stage, and narrow ones."""
    if not all(isinstance(each, int) for each in value):
        return value
    if re.fullmatch("(.*_)?(depths|num_blocks|depth|layers|layer_depths)", name):
        return type(value)(1 for _ in value)
    if re.fullmatch("(.*_)?(num_heads|num_attention_heads)", name):
        return type(value)(2 for _ in value)
    if re.fullmatch("(.*_)?(hidden_sizes|embed_dims?|embed_dim|dims)", name):
        return type(value)(32 * (place + 1) for place, _ in enumerate(value))
    return value
