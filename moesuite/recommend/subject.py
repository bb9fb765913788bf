"""The dense model that is to be upcycled: its architecture without weights, and its kind."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from moesuite.config.options import as_path
from moesuite.errors import UserError
from moesuite.models.backbones import load_architecture
from moesuite.models.candidates import survey
from moesuite.models.example_inputs import is_text, random_example
from moesuite.models.forward import is_encoder_decoder
from moesuite.models.huggingface import is_model_type
from moesuite.models.selection import select
from moesuite.nn.moe import moe_layers
from moesuite.surgery.checkpoint import load_moe

Kind = Literal["images", "causal text", "text", "encoder-decoder"]
KINDS: dict[Kind, str] = {
    "images": "a model of images",
    "causal text": "a causal language model: its router must not look ahead",
    "text": "an encoder of text",
    "encoder-decoder": "an encoder-decoder: the router of its decoder must not look ahead",
}
CAUSAL_HEADS = ("ForCausalLM", "LMHeadModel")


@dataclass(frozen=True)
class Subject:
    """A dense model.

    Attributes:
        name: as typed.
        kind: what its router has to respect, and which tasks tell something about it.
        model: with weights of any value, or on the meta device.
        inputs: one example.
        mlps: names of the MLPs that can become MoE layers, in order.
        has_weights: whether the name stands for trained weights, not only for an architecture.
    """

    name: str
    kind: Kind
    model: nn.Module
    inputs: Any
    mlps: list[str]
    has_weights: bool


def read_subject(name: str, length: int) -> Subject:
    """Build the architecture of a model; no pretrained weight is read of timm and the hub.

    Args:
        name: `timm:<name>`; `hf:<model type, local folder or hub id>`; or the checkpoint of a dense
            run.
        length: tokens of an example of text, >= 1; at most what the model takes.

    Raises:
        UserError: for an unknown name, or a model without an MLP that can become an MoE layer.
    """
    model = load_moe(name) if as_path(name).is_file() else load_architecture(name)
    if list(moe_layers(model)):
        raise UserError(f"model={name}: it has MoE layers; expected a dense model")
    known = select(survey(model), "all", model)  # says why there is none
    return Subject(
        name=name,
        kind=_kind(model),
        model=model,
        inputs=_inputs(model, length),
        mlps=[candidate.name for candidate in known],
        has_weights=not is_model_type(name.removeprefix("hf:")),
    )


def _kind(model: Any) -> Kind:
    if not is_text(model):
        return "images"
    if is_encoder_decoder(model):
        return "encoder-decoder"
    import transformers

    config = type(model.config)
    has_causal_head = type(model).__name__.endswith(CAUSAL_HEADS)
    # of a model without a head, the architecture tells
    is_decoder = config in transformers.MODEL_FOR_CAUSAL_LM_MAPPING
    is_encoder = config in transformers.MODEL_FOR_MASKED_LM_MAPPING
    return "causal text" if has_causal_head or (is_decoder and not is_encoder) else "text"


def _inputs(model: Any, length: int) -> Any:
    """Return one example; of text, `length` tokens without padding."""
    inputs = random_example(model)
    if isinstance(inputs, Tensor):
        return inputs[:1]
    longest = getattr(getattr(model, "config", None), "max_position_embeddings", None) or length
    size = (1, min(length, int(longest)))
    # on the CPU: routers read padding masks
    return {
        key: torch.ones(size, dtype=value.dtype) if value.ndim == 2 else value[:1]
        for key, value in inputs.items()
    }
