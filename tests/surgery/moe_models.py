"""Small Hugging Face models with MoE layers of their own, for rerouting."""

from __future__ import annotations

from typing import Any

import torch
import transformers
from torch import Tensor, nn

from moesuite.nn.moe import moe_layers

SMALL: dict[str, Any] = {
    "vocab_size": 50,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "num_experts_per_tok": 2,
    "bos_token_id": None,
    "eos_token_id": None,
    "pad_token_id": None,
}
DEEPSEEK = SMALL | {
    "n_routed_experts": 8,
    "moe_intermediate_size": 24,
    "n_shared_experts": 2,
    "first_k_dense_replace": 1,
    "num_hidden_layers": 3,
    "num_key_value_heads": 2,
    "q_lora_rank": 16,
    "kv_lora_rank": 16,
    "qk_rope_head_dim": 8,
    "qk_nope_head_dim": 8,
    "v_head_dim": 16,
    "n_group": 4,
    "topk_group": 2,
    "routed_scaling_factor": 2.5,
}
QWEN = SMALL | {"num_experts": 8, "moe_intermediate_size": 24}
MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "olmoe": ("olmoe", SMALL | {"num_experts": 8}),
    "mixtral": ("mixtral", SMALL | {"num_local_experts": 8}),
    "qwen2_moe": ("qwen2_moe", QWEN | {"shared_expert_intermediate_size": 40}),
    "qwen3_moe": ("qwen3_moe", QWEN | {"head_dim": 16, "norm_topk_prob": True}),
    "deepseek_v2": ("deepseek_v2", DEEPSEEK | {"topk_method": "group_limited_greedy"}),
    "deepseek_v3": ("deepseek_v3", DEEPSEEK),
}


def build(name: str) -> Any:
    """Return a small model with sharp weights.

    With these, another choice of experts gives another answer.
    """
    kind, options = MODELS[name]
    torch.manual_seed(0)
    model = transformers.AutoModelForCausalLM.from_config(
        transformers.AutoConfig.for_model(kind, **options)
    ).eval()
    for parameter in model.parameters():
        if parameter.ndim >= 2:
            nn.init.normal_(parameter, std=0.3)
    if name == "deepseek_v3":
        for module in model.modules():
            if hasattr(module, "e_score_correction_bias"):
                module.e_score_correction_bias.normal_(std=0.3)
    return model


def batch(padding: int = 3, left: bool = False) -> dict[str, Tensor]:
    ids = torch.randint(50, (2, 12), generator=torch.Generator().manual_seed(0))
    mask, fill = torch.ones_like(ids), ids.new_zeros(2, padding)
    sides = (fill, ids) if left else (ids, fill)
    masks = (fill, mask) if left else (mask, fill)
    return {"input_ids": torch.cat(sides, dim=1), "attention_mask": torch.cat(masks, dim=1)}


def observed(model: Any) -> list[tuple[Tensor, Tensor]]:
    """Return inputs [2, 12, 32] and combine weights [2, 12, 8] of the MoE layers of a model."""
    seen: dict[str, Tensor] = {}
    handles = [
        layer.register_forward_pre_hook(
            lambda _, args, name=name: seen.update({name: args[0].detach()})
        )
        for name, layer in moe_layers(model)
    ]
    model(**batch(padding=0))
    for handle in handles:
        handle.remove()
    return [
        (seen[name], layer.routing.dense()[1].sum(-1).detach()) for name, layer in moe_layers(model)
    ]
