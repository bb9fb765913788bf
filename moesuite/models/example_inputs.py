"""Inputs that a model can be called with, if the user gives none."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from moesuite.errors import UserError

GROUPS, TOKENS = 2, 16  # of a random text


def default_example(model: nn.Module) -> Tensor | None:
    """Return one blank image of the size that a timm model was made for; None for other models."""
    size = getattr(model, "default_cfg", {}).get("input_size")
    if size is None:
        return None
    embed = getattr(model, "patch_embed", None)
    height, width = getattr(embed, "img_size", None) or size[-2:]
    parameter = next(model.parameters())
    channels = next((m.in_channels for m in model.modules() if isinstance(m, nn.Conv2d)), size[0])
    return parameter.new_zeros(1, channels, height, width)


def is_text(model: Any) -> bool:
    """Return whether a Hugging Face model takes tokens."""
    return hasattr(getattr(model, "config", None), "vocab_size")


@contextmanager
def told_of_random_example(model: nn.Module, example: Any) -> Iterator[None]:
    """Ask for an example where a model cannot be called with a random one; `example`: the user's.

    Raises:
        UserError: in place of the model's own error, if `example` is None.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        if example is not None:
            raise
        says = (str(error).strip().splitlines() or [""])[0]
        raise UserError(
            f"{type(model).__name__} cannot be called with a random input of ours "
            f"({type(error).__name__}: {says}); type example=<a tensor, or a dict of keyword "
            "arguments>"
        ) from error


def random_example(model: Any) -> Any:
    """Return an input of a timm or Hugging Face model, always the same.

    Pixels are standard normal, tokens uniform and without padding.

    Raises:
        UserError: for a model whose inputs are not known.
    """
    random = torch.Generator().manual_seed(0)
    config: Any = getattr(model, "config", None)
    parameter = next(model.parameters())
    if (blank := default_example(model)) is not None:
        return torch.randn(blank.shape, generator=random).to(parameter)
    if is_text(model):
        ids = torch.randint(config.vocab_size, (GROUPS, TOKENS), generator=random).to(
            parameter.device
        )
        text = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
        return text | {
            f"decoder_{key}": value for key, value in text.items() if config.is_encoder_decoder
        }
    if hasattr(config, "image_size") and hasattr(config, "num_channels"):
        shape = (GROUPS, config.num_channels, config.image_size, config.image_size)
        return {"pixel_values": torch.randn(shape, generator=random).to(parameter)}
    raise UserError(
        f"{type(model).__name__}: its inputs are not known, and the receipt needs one; type "
        "example=<a tensor, or a dict of keyword arguments>"
    )
