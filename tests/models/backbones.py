"""Small Hugging Face backbones, and batches with padding for them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from moesuite.models.backbones import build_backbone

VOCABULARY, LENGTH = 100, 64
SMALL_BERT: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
}
T5: dict[str, Any] = {"d_model": 32, "d_ff": 64, "num_layers": 2, "num_heads": 2, "d_kv": 16}
MODELS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "gpt2": ("hf:gpt2", "causal", {"n_layer": 2, "n_embd": 32, "n_head": 2}),
    "llama": ("hf:llama", "causal", SMALL_BERT | {"num_key_value_heads": 1}),
    "bert": ("hf:bert", "masked", SMALL_BERT),
    "roberta": ("hf:roberta", "masked", SMALL_BERT | {"pad_token_id": 1}),
    "t5": ("hf:t5", "span_corruption", T5),
    "gated t5": ("hf:t5", "span_corruption", T5 | {"feed_forward_proj": "gated-gelu"}),
}


def build(name: str) -> Any:
    model, head, kwargs = MODELS[name]
    fit = {"head": head, "vocab_size": VOCABULARY}
    if head != "span_corruption":  # T5 has relative positions
        fit["max_position_embeddings"] = LENGTH + 2
    return build_backbone(model, False, 0, fit, kwargs).eval()


def batch(name: str, length: int = 12, padding: int = 4) -> dict[str, Tensor]:
    """Three sequences, the first of them padded on its right."""
    ids = torch.randint(2, VOCABULARY, (3, length), generator=torch.Generator().manual_seed(0))
    mask = torch.ones_like(ids)
    ids = torch.cat([ids, ids.new_ones(3, padding)], dim=1)
    inputs = {
        "input_ids": ids,
        "attention_mask": torch.cat([mask, mask.new_zeros(3, padding)], dim=1),
    }
    if MODELS[name][1] == "span_corruption":
        inputs |= {
            "decoder_input_ids": ids[:, :7].clone(),
            "decoder_attention_mask": mask[:, :7].clone(),
        }
        inputs["decoder_attention_mask"][0, 5:] = 0
    return inputs
