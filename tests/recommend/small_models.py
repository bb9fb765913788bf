"""Small models for tests of recommendations: configurations, without weights."""

from __future__ import annotations

from pathlib import Path

import transformers

WIDTH, HIDDEN = 32, 128  # of the small models
SIZES = {
    "vit": {"image_size": 32, "patch_size": 4, "num_hidden_layers": 4, "hidden_size": WIDTH},
    "gpt2": {"n_layer": 4, "n_embd": WIDTH, "n_head": 2, "vocab_size": 50},
    "bert": {"num_hidden_layers": 4, "hidden_size": WIDTH, "vocab_size": 50},
    "t5": {"num_layers": 2, "d_model": WIDTH, "d_ff": HIDDEN, "num_heads": 2, "vocab_size": 50},
}
HEADS = {
    "vit": "ViTForImageClassification",
    "gpt2": "GPT2LMHeadModel",
    "bert": "BertForMaskedLM",
    "t5": "T5ForConditionalGeneration",
}


def small(folder: Path, kind: str) -> str:
    """Write the configuration of a small model, and return its name."""
    more = (
        {"intermediate_size": HIDDEN, "num_attention_heads": 2} if kind in ("vit", "bert") else {}
    )
    config = transformers.AutoConfig.for_model(kind, **SIZES[kind], **more)
    config.architectures = [HEADS[kind]]
    config.save_pretrained(folder / kind)
    return f"hf:{folder / kind}"
