"""Models whose papers print their cost, rebuilt on the meta device."""

from __future__ import annotations

from dataclasses import dataclass

import timm
import torch
from torch import nn

from moesuite.surgery.moefy import moefy

JFT_CLASSES = 29_593


@dataclass(frozen=True)
class Published:
    """A model and the figures of its paper.

    Attributes:
        name: as in the tables.
        backbone: timm's name.
        num_experts: of Soft MoE layers in the last half of the blocks, one slot each; None: dense.
        params: number of parameters as printed, with the size of its last digit; None: not known
            here.
        gflop: per image of 224 x 224 pixels, as printed; None: not known here.
    """

    name: str
    backbone: str
    num_experts: int | None = None
    params: tuple[float, float] | None = None
    gflop: float | None = None

    def build(self) -> nn.Module:
        """Return the model on the meta device: average pooling, no class token, the head of JFT."""
        with torch.device("meta"):
            model = timm.create_model(
                self.backbone, num_classes=JFT_CLASSES, class_token=False, global_pool="avg"
            )
            if self.num_experts is None:
                return model
            return moefy(model, "soft", num_experts=self.num_experts, slots_per_expert=1)


MILLION, BILLION = 1e6, 1e9

# Puigcerver et al., "From Sparse to Soft Mixtures of Experts" (2023),
# https://arxiv.org/abs/2308.00951
SOFT_MOE = [
    Published("ViT-S/16", "vit_small_patch16_224", None, (33 * MILLION, MILLION), 9.2),
    Published("Soft-S/16-128E", "vit_small_patch16_224", 128, (933 * MILLION, MILLION), 8.6),
    Published("ViT-B/16", "vit_base_patch16_224", None, (108 * MILLION, MILLION), 35.1),
    Published("Soft-B/16-128E", "vit_base_patch16_224", 128),
    Published("ViT-L/16", "vit_large_patch16_224"),
    Published("Soft-L/16-128E", "vit_large_patch16_224", 128),
    Published("ViT-H/14", "vit_huge_patch14_224", None, (669 * MILLION, MILLION), 334.2),
    Published(
        "Soft-H/14-128E", "vit_huge_patch14_224", 128, (27.3 * BILLION, 0.1 * BILLION), 284.6
    ),
    Published("Soft-H/14-256E", "vit_huge_patch14_224", 256),
]
TABLES = {"soft_moe": SOFT_MOE}
