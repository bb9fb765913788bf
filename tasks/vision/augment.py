"""Augmentation of images, all of it timm's."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from annotated_types import Ge, Gt, Le
from PIL import Image
from torch import Tensor

from moesuite.tasks.vision.images import Transform, seeded

Share = Annotated[float, Ge(0), Le(1)]
Area = Annotated[float, Gt(0), Le(1)]


@dataclass(frozen=True)
class Augmentation:
    """Changes of training images.

    Attributes:
        crop: smallest share of the area of a random resized crop, in (0, 1]; null: no random crop.
        crop_pct: share of the image that the central crop of evaluation keeps, in (0, 1].
        hflip: probability of a horizontal flip, in [0, 1].
        auto_augment: policy of timm, e.g. rand-m9-mstd0.5-inc1; null: none.
        erase: probability of random erasing, in [0, 1].
        mixup: alpha of timm's Mixup, >= 0; 0: off.
        cutmix: alpha of timm's CutMix, >= 0; 0: off.
        smoothing: label smoothing, in [0, 1].
    """

    crop: Area | None = None
    crop_pct: Area = 0.9
    hflip: Share = 0.0
    auto_augment: str | None = None
    erase: Share = 0.0
    mixup: Annotated[float, Ge(0)] = 0.0
    cutmix: Annotated[float, Ge(0)] = 0.0
    smoothing: Share = 0.0

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
        transform = create_transform(
            shape,
            is_training=True,
            scale=(self.crop or 1.0, 1.0),
            ratio=(3 / 4, 4 / 3) if self.crop else (1.0, 1.0),
            hflip=self.hflip,
            auto_augment=self.auto_augment,
            re_prob=self.erase,
            **common,
        )
        for operation in _operations(transform):
            if "Posterize" in operation.name:
                operation.aug_fn = posterized
        return transform

    @property
    def mixes(self) -> bool:
        """Whether whole batches are mixed."""
        return bool(self.mixup or self.cutmix)

    def mix(
        self, images: Tensor, labels: Tensor, num_classes: int, seed: int
    ) -> tuple[Tensor, Tensor]:
        """Return Mixup or CutMix of at least two normalised images, and their soft labels."""
        from timm.data import Mixup

        mix = Mixup(
            self.mixup, self.cutmix, label_smoothing=self.smoothing, num_classes=num_classes
        )
        even = len(labels) // 2 * 2  # timm mixes pairs
        with seeded(seed):
            return mix(images[:even].clone(), labels[:even])


def posterized(image: Image.Image, bits: int, **options: Any) -> Image.Image:
    """Return an image with the first bits of each channel, 0 to 8; black with 0.

    timm draws 0 at the end of its range. Pillow returned black until it refused 0 in version 13.
    """
    from timm.data.auto_augment import posterize

    return posterize(image, bits, **options) if bits else Image.new(image.mode, image.size)


def _operations(transform: Any) -> Iterator[Any]:
    """Yield the operations on images that timm's policies draw from."""
    for part in transform.transforms:
        yield from getattr(part, "ops", ())  # RandAugment, AugMix
        for several in getattr(part, "policy", ()):  # AutoAugment
            yield from several
