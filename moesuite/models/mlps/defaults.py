"""Which MLPs become MoE layers only if they are named: they see no tokens, or routing is there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from torch import Tensor, nn

from moesuite.models.example_inputs import random_example, takes_images
from moesuite.models.meta_device import input_shapes
from moesuite.models.moe_blocks.blocks import moe_modules
from moesuite.nn.experts import DenseMLP

# A number of images that divides no table of relative positions: those have an odd number of rows,
# (2w - 1)² for windows of w², or w⁴ rows
IMAGES = 38
BESIDE, INSIDE = "is beside a mixture of experts", "is part of a mixture of experts"


def in_mixtures(model: nn.Module, names: Iterable[str]) -> dict[str, str]:
    """Return all the MLPs of a model that is a mixture of experts already, and why not these."""
    blocks = tuple(f"{name}." for name in moe_modules(model))
    return {name: INSIDE if name.startswith(blocks) else BESIDE for name in names if blocks}


def seeing_no_tokens(model: nn.Module, mlps: Mapping[str, DenseMLP]) -> dict[str, str]:
    """Return the MLPs that see one token of each image, or none, and which of the two.

    Those are the MLPs of class tokens, pooled features, channel attention and positions. Measured
    on images of the size that `model` was made for; empty for a model of other inputs.
    """
    if not takes_images(model):
        return {}
    try:
        shapes = input_shapes(model, mlps, _images(random_example(model)))
    except Exception:  # the inputs of this model are not known, or it needs values
        return {}
    reasons: dict[str, str] = {}
    for name, shape in shapes.items():
        tokens = shape.numel() // mlps[name].up.in_features
        if tokens == IMAGES:
            reasons[name] = "sees one token of each image"
        elif tokens % IMAGES:
            reasons[name] = "sees no tokens of the images"
    return reasons


def _images(example: Any) -> Any:
    """Return `IMAGES` times the first of the images of an example."""
    if isinstance(example, Tensor):
        return example[:1].expand(IMAGES, *example.shape[1:])
    return {key: _images(value) for key, value in example.items()}
