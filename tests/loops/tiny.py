"""Tiny models with MoE layers, and their data."""

from __future__ import annotations

from typing import Any

import torch
import transformers
from torch import nn

import moesuite

WIDTH, LENGTH, ROWS, WORDS = 16, 6, 4, 20


def gpt() -> Any:
    torch.manual_seed(0)
    config = transformers.GPT2Config(
        vocab_size=WORDS, n_positions=LENGTH, n_embd=WIDTH, n_layer=2, n_head=2
    )
    config.attn_pdrop = config.embd_pdrop = config.resid_pdrop = 0.0
    model = transformers.GPT2LMHeadModel(config)
    return moesuite.moefy(model, "switch", num_experts=2, layers="all", jitter=0.0)


def bert(cls: Any = transformers.BertForMaskedLM) -> Any:
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=WORDS,
        hidden_size=WIDTH,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=2 * WIDTH,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )
    return moesuite.moefy(cls(config), "token_choice", num_experts=2, layers="all").train()


def rows() -> list[dict[str, torch.Tensor]]:
    random = torch.Generator().manual_seed(1)
    ids = torch.randint(WORDS, (ROWS, LENGTH), generator=random)
    # nothing predicts the first token: the Trainer would count it among the items of a batch
    labels = ids.index_fill(1, torch.tensor(0), -100)
    return [{"input_ids": row, "labels": label} for row, label in zip(ids, labels, strict=True)]


def batch() -> dict[str, torch.Tensor]:
    return {key: torch.stack([row[key] for row in rows()]) for key in ("input_ids", "labels")}


def gradients(model: nn.Module) -> list[torch.Tensor]:
    return [p.grad.clone() for p in model.parameters() if p.grad is not None]
