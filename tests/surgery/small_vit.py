"""A small vision transformer and images for it."""

from __future__ import annotations

import timm
import torch
from torch import nn


def small_vit(**options: object) -> nn.Module:
    torch.manual_seed(0)
    size = {
        "img_size": 8,
        "patch_size": 2,
        "in_chans": 1,
        "num_classes": 10,
        "embed_dim": 16,
        "depth": 4,
        "num_heads": 2,
    }
    return timm.create_model("vit_tiny_patch16_224", **{**size, **options})


def images() -> torch.Tensor:
    return torch.randn(3, 1, 8, 8, generator=torch.Generator().manual_seed(0))
