"""Small models of every family, and ways of calling them: a padded batch, and its row alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
import transformers
from torch import Tensor, nn

from moesuite import moefy

TOKENS, REAL, VOCABULARY = 9, 6, 50
TINY = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
}
TEXT = TINY | {"vocab_size": VOCABULARY}
GPT2 = {"n_layer": 2, "n_embd": 32, "n_head": 2, "vocab_size": VOCABULARY}
T5 = {
    "d_model": 32,
    "d_ff": 64,
    "num_layers": 2,
    "num_heads": 2,
    "d_kv": 16,
    "vocab_size": VOCABULARY,
    "decoder_start_token_id": 0,
}
SPECIAL: dict[str, Any] = {"bos_token_id": 1, "eos_token_id": None, "pad_token_id": 0}


def hf(kind: str, cls: str, **options: Any) -> nn.Module:
    config = transformers.AutoConfig.for_model(kind, **SPECIAL | options)
    return getattr(transformers, cls).from_config(config)


TEXT_MODELS: dict[str, Callable[[], nn.Module]] = {
    "bert": partial(hf, "bert", "AutoModelForMaskedLM", **TEXT),
    "roberta": partial(hf, "roberta", "AutoModelForMaskedLM", **TEXT),
    "gpt2": partial(hf, "gpt2", "AutoModelForCausalLM", **GPT2),
    "llama": partial(hf, "llama", "AutoModelForCausalLM", num_key_value_heads=1, **TEXT),
    "t5": partial(hf, "t5", "AutoModelForSeq2SeqLM", **T5),
}
PARTS = {"bert": "bert", "roberta": "roberta", "gpt2": "transformer", "llama": "model"}


def moe(dense: Callable[[], nn.Module], router: str = "expert_choice", **options: Any) -> Any:
    """Return a model with MoE layers whose experts and gates differ, in evaluation mode."""
    torch.manual_seed(0)
    model = moefy(dense(), router, num_experts=4, layers="all", **options)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if ".experts." in name or ".router." in name:
                parameter.add_(torch.randn_like(parameter), alpha=0.3)
    return model.eval()


@dataclass(frozen=True)
class Batch:
    """Three rows of tokens, of which the first has padding."""

    left: bool = False

    @property
    def ids(self) -> Tensor:
        return torch.randint(2, VOCABULARY, (3, TOKENS), generator=torch.Generator().manual_seed(1))

    @property
    def mask(self) -> Tensor:
        mask = torch.ones(3, TOKENS, dtype=torch.long)
        mask[0, self.padding] = 0
        return mask

    @property
    def padding(self) -> slice:
        return slice(0, TOKENS - REAL) if self.left else slice(REAL, TOKENS)

    @property
    def real(self) -> slice:
        return slice(TOKENS - REAL, TOKENS) if self.left else slice(0, REAL)


@dataclass(frozen=True)
class T5Batch:
    """Sources whose first is padded, and targets whose first is padded more."""

    real_targets = slice(0, 4)

    @property
    def inputs(self) -> dict[str, Tensor]:
        batch = Batch()
        targets = torch.ones(3, TOKENS, dtype=torch.long)
        targets[0, 4:] = 0
        return {
            "input_ids": batch.ids,
            "attention_mask": batch.mask,
            "decoder_input_ids": batch.ids.flip(0),
            "decoder_attention_mask": targets,
        }

    @property
    def alone(self) -> dict[str, Tensor]:
        return {
            key: value[:1, self.real_targets if key.startswith("decoder") else slice(0, REAL)]
            for key, value in self.inputs.items()
        }
