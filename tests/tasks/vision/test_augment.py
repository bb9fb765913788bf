"""Augmentation: whatever timm's policies draw, Pillow can do."""

from __future__ import annotations

import pytest
from PIL import Image

from moesuite.tasks.vision.augment import Augmentation, posterized
from moesuite.tasks.vision.images import seeded
from tests.tasks.vision.pictures import picture


@pytest.mark.parametrize("policy", ["rand-m10-n3-inc1", "rand-m0-n3", "augmix-m0", "v0"])
def test_posterize_may_keep_no_bit(policy: str) -> None:
    augmentation = Augmentation(auto_augment=policy)
    transform = augmentation.transform((3, 8, 8), (0.0, 0.0, 0.0), (1.0, 1.0, 1.0), train=True)
    for seed in range(60):
        with seeded(seed):
            assert transform(picture(1)).shape == (3, 8, 8)


def test_posterized_images_keep_the_first_bits() -> None:
    image = Image.new("RGB", (1, 1), (255, 127, 129))
    pixels = [posterized(image, bits).getpixel((0, 0)) for bits in (0, 1, 2, 8)]
    assert pixels == [(0, 0, 0), (128, 0, 128), (192, 64, 128), (255, 127, 129)]
