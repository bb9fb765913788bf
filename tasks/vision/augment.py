"""Augmentation of images, all of it timm's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from moesuite.tasks.vision.images import Transform, seeded


@dataclass(frozen=True)
class Augmentation:
    """What is done to training images; see `Vision` for each option."""

    crop: float | None
    crop_pct: float
    hflip: float
    auto_augment: str | None
    erase: float
    mixup: float
    cutmix: float
    smoothing: float

    @property
    def by_image(self) -> bool:
        """Whether images are changed one by one."""
        return bool(
            self.crop is not None or self.hflip or self.auto_augment is not None or self.erase
        )

    def transform(
        self, shape: tuple[int, int, int], mean: Sequence[float], std: Sequence[float], train: bool
    ) -> Transform:
        """Return timm's transform from a picture to a normalised tensor of `shape`."""
        from timm.data import create_transform

        common: dict[str, Any] = {"mean": tuple(mean), "std": tuple(std)}
        if not (train and self.by_image):
            return create_transform(shape, crop_pct=self.crop_pct, **common)
        return create_transform(
            shape,
            is_training=True,
            scale=(self.crop or 1.0, 1.0),
            ratio=(3 / 4, 4 / 3) if self.crop else (1.0, 1.0),
            hflip=self.hflip,
            auto_augment=self.auto_augment,
            re_prob=self.erase,
            **common,
        )

    @property
    def mixes(self) -> bool:
        """Whether whole batches are mixed."""
        return bool(self.mixup or self.cutmix)

    def mix(
        self, images: Tensor, labels: Tensor, num_classes: int, seed: int
    ) -> tuple[Tensor, Tensor]:
        """Return Mixup or CutMix of at least two normalised images, and their labels as shares of classes."""
        from timm.data import Mixup

        mix = Mixup(
            self.mixup, self.cutmix, label_smoothing=self.smoothing, num_classes=num_classes
        )
        even = len(labels) // 2 * 2  # timm mixes pairs
        with seeded(seed):
            return mix(images[:even].clone(), labels[:even])
