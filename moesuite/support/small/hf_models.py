"""One small model of every model type of transformers."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from typing import Any

import torch
import transformers
from torch import nn
from transformers.models.auto import modeling_auto

from moesuite.support.small.hf_configs import check_size, small_configs

# the class of a model type with a head is the first one of these
HEADS = (
    "SEQ_TO_SEQ_CAUSAL_LM",
    "SPEECH_SEQ_2_SEQ",
    "MASKED_LM",
    "IMAGE_TEXT_TO_TEXT",
    "CAUSAL_LM",
    "MULTIMODAL_LM",
    "ZERO_SHOT_IMAGE_CLASSIFICATION",
    "IMAGE_CLASSIFICATION",
    "VIDEO_CLASSIFICATION",
    "CTC",
    "AUDIO_CLASSIFICATION",
    "",
)


def model_types() -> dict[str, list[str]]:
    """Return the classes of each model type: one with a head, and the base."""
    classes_of: dict[str, list[str]] = {}
    for head in HEADS:
        key = f"MODEL_FOR_{head}_MAPPING_NAMES" if head else "MODEL_MAPPING_NAMES"
        for name, classes in getattr(modeling_auto, key).items():
            first = classes if isinstance(classes, str) else classes[0]
            classes_of.setdefault(name, []).append(first)
    return dict(sorted(classes_of.items()))


def builders(name: str) -> Iterator[Callable[[], nn.Module]]:
    """Yield functions that build a model of a type, the smallest one first."""
    for config in small_configs(transformers.CONFIG_MAPPING[name]):
        for cls in model_types()[name]:
            yield partial(_build, getattr(transformers, cls), config)


def _build(cls: Any, config: Any) -> nn.Module:
    """Build a model with random weights.

    Raises:
        ValueError: for a model that is not small.
    """
    config = copy.deepcopy(config)
    config.use_cache = False
    with torch.device("meta"), suppress(RuntimeError, NotImplementedError):
        check_size(cls(config))
    torch.manual_seed(0)
    return cls(config)
