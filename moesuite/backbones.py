"""Backbones by name: `timm:<name>`, with any keyword argument of its constructor. No backbone is written by hand."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from moesuite.errors import UserError, nearest


def build_backbone(name: str, pretrained: bool, seed: int, fit: dict[str, Any], kwargs: dict[str, Any]) -> nn.Module:
    """Build a backbone.

    Args:
        name: `timm:<model name>`.
        pretrained: load timm's weights.
        seed: of its initialisation, apart from every other seed, >= 0.
        fit: what the task asks for: num_classes, in_chans, img_size (left out where the model takes any size).
        kwargs: of the model's constructor; they win over `fit`.

    Raises:
        UserError: for an unknown name (lists the nearest) or arguments that the model refuses.
    """
    import timm

    library, _, model = name.partition(":")
    if library != "timm":
        raise UserError(
            f"backbone={name}: unknown library {library!r}; allowed: timm:<name>; type for example backbone=vit_s16"
        )
    if not timm.is_model(model.split(".")[0]):
        close = nearest(model, timm.list_models(), count=5)[:5]
        raise UserError(f"unknown backbone {name!r}; nearest: {', '.join('timm:' + option for option in close)}")
    arguments = {**fit, **kwargs}
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return _create(model, pretrained, arguments)
    except (TypeError, AssertionError, ValueError) as error:
        given = ", ".join(f"{key}={value}" for key, value in arguments.items())
        raise UserError(f"backbone={name} refuses its arguments ({given}): {error}") from None
    except (OSError, RuntimeError) as error:
        if not pretrained:
            raise
        raise UserError(
            f"backbone={name}: pretrained weights cannot be loaded ({str(error).splitlines()[0]}); run once where "
            "there is a network and copy the cache of HF_HOME, or type backbone.pretrained=false"
        ) from None


def _create(model: str, pretrained: bool, arguments: dict[str, Any]) -> nn.Module:
    """Build a model of timm, without `img_size` where it takes images of any size and no such argument."""
    import timm

    try:
        return timm.create_model(model, pretrained=pretrained, **arguments)
    except TypeError as error:
        if "img_size" not in str(error):
            raise
        rest = {key: value for key, value in arguments.items() if key != "img_size"}
        return timm.create_model(model, pretrained=pretrained, **rest)
