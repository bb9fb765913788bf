"""Backbones by name, with any keyword argument.

`timm:<name>`, `hf:<name>`, `mlp:<activation>`, `token_mlp:<activation>`: none is written by hand
but the perceptron of Tesauro's paper, and the MLP of tokens that are vectors.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from moesuite.errors import UserError, nearest
from moesuite.models.huggingface import (
    build_huggingface,
    huggingface_architecture,
    load_saved,
)
from moesuite.models.plain.perceptron import build_perceptron
from moesuite.models.plain.token_mlp import build_token_mlp

TEXT, VECTORS, IMAGES = "head", "width", ""  # by the argument that only such tasks ask for
TAKES = {"timm": IMAGES, "hf": TEXT, "mlp": TEXT, "token_mlp": VECTORS}
FITTING = {
    TEXT: "hf:<name>, e.g. backbone=gpt_mini",
    VECTORS: "token_mlp:<activation>, e.g. backbone=token_mlp",
    IMAGES: "timm:<name>",
}


def build_backbone(
    name: str, pretrained: bool, seed: int, fit: dict[str, Any], kwargs: dict[str, Any]
) -> nn.Module:
    """Build a backbone.

    Args:
        name: `timm:<model name>`; or `hf:<model type, local folder or hub id>`: from a
            configuration, or pretrained.
        pretrained: load the weights.
        seed: of its initialisation, separate from all other seeds, >= 0.
        fit: what the task asks for. Of timm: num_classes, in_chans, img_size (dropped for models
            that take any size). Of Hugging Face: head, one of `moesuite.models.huggingface.HEADS`;
            vocab_size; max_position_embeddings; num_labels; pad_token_id. Of vectors: width.
        kwargs: of the model's constructor (timm) or configuration (Hugging Face); they override
            `fit`.

    Raises:
        UserError: for an unknown name (lists the nearest) or arguments that the model refuses.
    """
    library, _, model = name.partition(":")
    if library not in BUILDERS:
        raise UserError(
            f"backbone={name}: unknown library {library!r}; expected timm:<name>, hf:<name>, "
            "mlp:<activation>, token_mlp:<activation>, e.g. backbone=vit_s16"
        )
    wanted = next((key for key in (TEXT, VECTORS) if key in fit), IMAGES)
    if TAKES[library] != wanted:
        raise UserError(f"backbone={name} does not fit this task; expected {FITTING[wanted]}")
    arguments = {**fit, **kwargs}
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return BUILDERS[library](model, pretrained, arguments)
    except UserError:
        raise
    except (TypeError, AssertionError, ValueError) as error:
        listed = ", ".join(f"{key}={value}" for key, value in arguments.items())
        raise UserError(
            f"backbone={name} refuses its arguments ({listed}): {str(error).splitlines()[0]}"
        ) from None
    except (OSError, RuntimeError) as error:
        if not pretrained:
            raise
        raise UserError(
            f"backbone={name}: pretrained weights cannot be loaded ({str(error).splitlines()[0]}); "
            "run once where there is a network and copy the cache of HF_HOME, or type "
            "backbone.pretrained=false"
        ) from None


def load_pretrained(name: str) -> nn.Module:
    """Load a trained model with the head that it was saved with, in evaluation mode.

    Args:
        name: `timm:<pretrained name>`, or `hf:<local folder or hub id>`.

    Raises:
        UserError: for an unknown name, or weights that cannot be loaded.
    """
    library, _, model = name.partition(":")
    try:
        if library == "timm":
            return build_timm(model, True, {}).eval()
        if library == "hf":
            return load_saved(model).eval()
    except (OSError, ValueError, RuntimeError) as error:
        raise UserError(
            f"{name}: pretrained weights cannot be loaded ({str(error).splitlines()[0]}); expected "
            "a local folder, or a name whose weights are in the cache or can be reached; run once "
            "where there is a network and copy the cache of HF_HOME"
        ) from None
    raise UserError(
        f"{name}: unknown library {library!r}; expected timm:<name>, hf:<folder or hub id>, "
        "e.g. timm:vit_base_patch16_224"
    )


def load_architecture(name: str) -> nn.Module:
    """Build a model on the meta device, with the head it was saved with and without weights.

    Args:
        name: `timm:<name>`, or `hf:<model type, local folder or hub id>`.

    Raises:
        UserError: for an unknown name.
    """
    library, _, model = name.partition(":")
    if library not in ("timm", "hf"):
        raise UserError(
            f"{name}: unknown library {library!r}; expected timm:<name>, hf:<folder or hub id>, "
            "or the checkpoint of a dense run, e.g. timm:vit_base_patch16_224"
        )
    with torch.device("meta"):
        return (
            build_timm(model, False, {}) if library == "timm" else huggingface_architecture(model)
        )


def build_timm(model: str, pretrained: bool, arguments: dict[str, Any]) -> nn.Module:
    """Build a timm model, without `img_size` if it has no such argument and takes any size."""
    import timm

    if not timm.is_model(model.split(".")[0]):
        close = nearest(model, timm.list_models(), count=5)[:5]
        names = ", ".join("timm:" + name for name in close)
        raise UserError(f"unknown backbone 'timm:{model}'; nearest: {names}")
    try:
        built: Any = timm.create_model(model, pretrained=pretrained, **arguments)
    except TypeError as error:
        if "img_size" not in str(error):
            raise
        arguments = {key: value for key, value in arguments.items() if key != "img_size"}
        built = timm.create_model(model, pretrained=pretrained, **arguments)
    built.built_from = {"timm": model, "arguments": arguments}
    return built


BUILDERS = {
    "timm": build_timm,
    "hf": build_huggingface,
    "mlp": build_perceptron,
    "token_mlp": build_token_mlp,
}
