"""Inputs that a model can be called with, if the user gives none."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from moesuite.errors import UserError
from moesuite.models.forward import run_once
from moesuite.models.meta_device import KernelsOfRealDevices

GROUPS, TOKENS = 2, 16  # of a random text
SAMPLES = 8000  # of a random sound: half a second at 16 kHz


def default_example(model: nn.Module) -> Tensor | None:
    """Return one blank image of the size that a timm model was made for; None for other models."""
    of_timm = any(cls.__module__.startswith("timm.") for cls in type(model).__mro__)
    if not (of_timm or hasattr(model, "default_cfg")):
        return None
    # those that were built for another size keep it, `features_only` within, or timm recorded it
    models = (model, getattr(model, "model", None))
    parts = [getattr(holder, name, None) for name in ("patch_embed", "stem") for holder in models]
    sizes = [getattr(holder, "img_size", None) for holder in (*models, *parts)]
    recorded = getattr(model, "_model_args", {}).get("img_size")
    size = getattr(model, "default_cfg", {}).get("input_size", ())
    side = next(filter(None, [*sizes, recorded, size[-2:]]), None)
    if side is None:
        return None
    height, width = (side, side) if isinstance(side, int) else side
    parameter = next(model.parameters())
    channels = next((m.in_channels for m in model.modules() if isinstance(m, nn.Conv2d)), 3)
    return parameter.new_zeros(1, channels, height, width)


def is_text(model: Any) -> bool:
    """Return whether a Hugging Face model takes tokens of a text, and no images."""
    modalities = getattr(model, "input_modalities", None)
    if modalities is None:
        return hasattr(getattr(model, "config", None), "vocab_size")
    return "text" in modalities and "image" not in modalities


def takes_images(model: Any) -> bool:
    """Return whether a model is one of timm, or one of Hugging Face that takes images."""
    return hasattr(model, "default_cfg") or "image" in getattr(model, "input_modalities", ())


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

    Pixels are standard normal, tokens uniform and without padding. A model of several kinds of
    input gets all of them if it takes them together, or else the first that it takes alone; that
    is tried out.

    Raises:
        UserError: for a model whose inputs are not known.
    """
    if (blank := default_example(model)) is not None:
        return torch.randn(blank.shape, generator=_random()).to(next(model.parameters()))
    kinds = [inputs for inputs in (_text(model), _image(model), _sound(model)) if inputs]
    if len(kinds) == 1:
        return kinds[0]
    together = {name: value for inputs in kinds for name, value in inputs.items()}
    for inputs in (together, *kinds) if kinds else ():
        try:
            with KernelsOfRealDevices():
                run_once(model, inputs, [])
        except Exception:  # of a model that is not known
            continue
        return inputs
    raise UserError(
        f"{type(model).__name__}: its inputs are not known, and one is needed; type "
        "example=<a tensor, or a dict of keyword arguments>"
    )


def _random() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def _taken(model: Any) -> set[str]:
    """Return the names of the arguments of a Hugging Face model, also of one with adapters."""
    if getattr(model, "config", None) is None:
        return set()
    model = model.get_base_model() if hasattr(model, "get_base_model") else model  # of peft
    return set(inspect.signature(model.forward).parameters)


def _text(model: Any) -> dict[str, Tensor]:
    config: Any = getattr(model, "config", None)
    config = getattr(config, "text_config", config)
    size, taken = getattr(config, "vocab_size", None), _taken(model)
    if size is None:
        return {}
    ids = torch.randint(size, (GROUPS, TOKENS), generator=_random())
    ids = ids.to(next(model.parameters()).device)
    text: dict[str, Tensor] = {}
    for prefix in ("", "decoder_"):
        if f"{prefix}input_ids" in taken:
            text |= {f"{prefix}input_ids": ids, f"{prefix}attention_mask": torch.ones_like(ids)}
    return {name: value for name, value in text.items() if name in taken}


def _image(model: Any) -> dict[str, Tensor]:
    config: Any = getattr(model, "config", None)
    config = getattr(config, "vision_config", config)
    size, channels = getattr(config, "image_size", None), getattr(config, "num_channels", None)
    if size is None or channels is None or "pixel_values" not in _taken(model):
        return {}
    height, width = (size, size) if isinstance(size, int) else size
    pixels = torch.randn(GROUPS, channels, height, width, generator=_random())
    return {"pixel_values": pixels.to(next(model.parameters()))}


def _sound(model: Any) -> dict[str, Tensor]:
    """Return a wave, or a spectrum of bins and frames."""
    config: Any = getattr(model, "config", None)
    bins, frames = getattr(config, "num_mel_bins", 0), getattr(config, "max_source_positions", 0)
    shapes = {"input_values": (GROUPS, SAMPLES), "input_features": (GROUPS, bins, 2 * frames)}
    for name in _taken(model) & shapes.keys():
        sound = torch.randn(shapes[name], generator=_random())
        return {name: sound.to(next(model.parameters()))}
    return {}
