"""Small dense models of every family that can be upcycled, with weights that repeat."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import timm
import torch
import transformers
from torch import Tensor, nn

from moesuite import (
    DenseMLP,
)

SMALL = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
}
GROUPED = SMALL | {"num_key_value_heads": 1, "vocab_size": 50}
T5 = {"d_model": 32, "d_ff": 64, "num_layers": 2, "num_heads": 2, "d_kv": 16, "vocab_size": 50}
VIT = {
    "img_size": 16,
    "patch_size": 4,
    "embed_dim": 32,
    "depth": 2,
    "num_heads": 2,
    "num_classes": 5,
}


def hf(kind: str, cls: str, **options: Any) -> nn.Module:
    config = transformers.AutoConfig.for_model(kind, **options)
    return getattr(transformers, cls).from_config(config)


MODELS: dict[str, Callable[[], nn.Module]] = {
    "vit": partial(timm.create_model, "vit_tiny_patch16_224", **VIT),
    "deit": partial(timm.create_model, "deit_tiny_distilled_patch16_224", **VIT),
    "mixer": partial(timm.create_model, "mixer_s32_224"),
    "swin": partial(
        timm.create_model,
        "swin_tiny_patch4_window7_224",
        embed_dim=24,
        depths=(1, 1),
        num_heads=(1, 1),
    ),
    "convnext": partial(
        timm.create_model, "convnext_atto", depths=(1, 1, 1, 1), dims=(8, 8, 16, 16)
    ),
    "eva02": partial(timm.create_model, "eva02_tiny_patch14_224", depth=2),
    "eva02 with norm": partial(
        timm.create_model, "eva02_base_patch14_224", depth=2, embed_dim=96, num_heads=2
    ),
    "bert": partial(hf, "bert", "AutoModelForMaskedLM", vocab_size=50, **SMALL),
    "roberta": partial(hf, "roberta", "AutoModel", vocab_size=50, **SMALL),
    "t5": partial(hf, "t5", "AutoModelForSeq2SeqLM", **T5),
    "gated t5": partial(hf, "t5", "AutoModelForSeq2SeqLM", feed_forward_proj="gated-gelu", **T5),
    "t5 encoder": partial(hf, "t5", "AutoModelForTextEncoding", **T5),
    "gpt2": partial(
        hf, "gpt2", "AutoModelForCausalLM", n_layer=2, n_embd=32, n_head=2, vocab_size=50
    ),
    "llama": partial(hf, "llama", "AutoModelForCausalLM", **GROUPED),
    "qwen2": partial(hf, "qwen2", "AutoModelForCausalLM", **GROUPED),
    "qwen3": partial(hf, "qwen3", "AutoModelForCausalLM", head_dim=16, **GROUPED),
    "mistral": partial(hf, "mistral", "AutoModelForCausalLM", head_dim=16, **GROUPED),
    "hf vit": partial(
        hf, "vit", "AutoModelForImageClassification", image_size=16, patch_size=4, **SMALL
    ),
}


def build(name: str) -> nn.Module:
    torch.manual_seed(0)
    return MODELS[name]()


class FeedForward(nn.Module):
    """An MLP that is not read: its activation is a method of a tensor, and none that is tried."""

    def __init__(self) -> None:
        super().__init__()
        self.w1, self.w2 = nn.Linear(6, 12), nn.Linear(12, 6)

    def forward(self, x: Tensor) -> Tensor:
        return self.w2(self.w1(x).hardshrink())


def take_apart(module: nn.Module) -> DenseMLP | None:
    if not isinstance(module, FeedForward):
        return None
    return DenseMLP(module.w1, None, module.w2, nn.Hardshrink(), nn.Identity(), None, nn.Identity())
