"""Inputs of transformers' models: texts, images, sound, by what their `forward` takes."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from moesuite.support.small.hf_configs import SPECIAL, VOCABULARY

ROWS, TOKENS, FRAMES, SAMPLES = 2, 12, 4, 4000


def inputs_of(model: Any) -> Iterator[dict[str, Tensor]]:
    """Yield keyword arguments that a model may be called with, the likeliest first."""
    parameters = inspect.signature(model.forward).parameters
    text = _text(model.config, "")
    decoder = _text(model.config, "decoder_") if model.config.is_encoder_decoder else {}
    images = [{"pixel_values": image} for image in _images(model.config)]
    videos = [{"pixel_values": video} for video in _videos(model.config)]
    sounds = [*_sounds(model.config)]
    boxes = {"bbox": torch.zeros(ROWS, TOKENS, 4, dtype=torch.long)}
    first = [[text], [text | boxes], images, [{**text, **image} for image in images], videos]
    if model.main_input_name != "input_ids":
        first = [images, videos, sounds, [text], [{**text, **image} for image in images]]
    first.append(sounds)
    first.append([{**text, **sound} for sound in sounds])
    for group in first:
        for arguments in group:
            for full in ([{**arguments, **decoder}] if decoder else []) + [arguments]:
                known = {key: value for key, value in full.items() if key in parameters}
                required = {name for name, each in parameters.items() if _is_required(each)}
                if known and required <= known.keys() and set(arguments) - known.keys() <= MASKS:
                    yield known


MASKS = {"attention_mask", "decoder_attention_mask"}  # not every model takes one


def _is_required(parameter: inspect.Parameter) -> bool:
    return parameter.default is inspect.Parameter.empty and parameter.kind not in (
        inspect.Parameter.VAR_KEYWORD,
        inspect.Parameter.VAR_POSITIONAL,
    )


def _text(config: Any, prefix: str) -> dict[str, Tensor]:
    sizes = [getattr(each, "vocab_size", None) for each in (config.get_text_config(), config)]
    size = min([size for size in sizes if isinstance(size, int)], default=VOCABULARY)
    random = torch.Generator().manual_seed(len(prefix))
    ids = torch.randint(min(SPECIAL, size - 1), size, (ROWS, TOKENS), generator=random)
    return {f"{prefix}input_ids": ids, f"{prefix}attention_mask": torch.ones_like(ids)}


def _option(config: Any, *names: str, default: Any) -> Any:
    """Return an option of a configuration, or of one inside."""
    inner = [value for value in vars(config).values() if hasattr(value, "to_json_string")]
    for each in (config, *inner):
        for name in names:
            if (value := getattr(each, name, None)) is not None:
                return value
    return default


def _random(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def _images(config: Any) -> Iterator[Tensor]:
    size = _option(config, "image_size", "input_size", default=64)
    channels = _option(config, "num_channels", "in_channels", "in_chans", default=3)
    height, width = size if isinstance(size, list | tuple) else (size, size)
    for sizes in dict.fromkeys([(height, width), (64, 64)]):
        yield _random(ROWS, channels, *sizes)


def _videos(config: Any) -> Iterator[Tensor]:
    frames = _option(config, "num_frames", "frames_per_clip", default=FRAMES)
    for image in _images(config):
        yield image.unsqueeze(1).repeat(1, frames, 1, 1, 1)


def _sounds(config: Any) -> Iterator[dict[str, Tensor]]:
    yield {"input_values": _random(ROWS, SAMPLES)}
    bins = _option(
        config, "num_mel_bins", "input_feat_per_channel", "feature_size", "n_mels", default=80
    )
    positions = _option(config, "max_source_positions", default=32)
    for name in ("input_features", "input_values"):
        for shape in ((bins, 2 * positions), (2 * positions, bins), (1024, bins)):
            yield {name: _random(ROWS, *shape)}
    yield {"input_values": _random(ROWS, 1, SAMPLES)}
