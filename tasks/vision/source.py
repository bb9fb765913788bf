"""Where images come from and what shape they get: options of a task."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import inf
from typing import Annotated, Literal

from annotated_types import Ge, Gt, Le

from moesuite.task import HubSource, Readable, UserError
from moesuite.tasks.vision.decoding import Decoding

READABLE = Readable(
    "class folders of images (<class>/<image>, also below train/ and test/), MNIST's idx files, or "
    "tables (parquet, csv, jsonl, ...) with an image and a label column",
    images=True,
)
Count = Annotated[int, Ge(1)]
Level = Annotated[int, Ge(0), Le(255)]


@dataclass(frozen=True)
class ImageSource(HubSource):
    """A data set of images with a label each.

    Attributes:
        embedded: data set of an installed package, read unless `source` is given: digits, mnist5k.
        config: name of the configuration on the hub.
        splits: name of the split of each role: train, test, optionally val; train: . is all of a
            folder, whose folders are classes, whatever they are called.
        columns: names of the columns of the image and the label; where there are none of these
            names, the usual ones are looked for.
        cache: decode all images once into memory-mapped arrays of `image_size`.
        streaming: read from the hub while training; needs trainer.max_steps.
        strict: stop at an unreadable image; false: leave it out and count it.
        background: behind transparent pixels, a grey level or [red, green, blue], each 0 to 255.
        value_range: values of black and white, [low, high], in images of more than 8 bits; null:
            the full range of integers of 16 bits, floats are refused.
    """

    embedded: Literal["digits", "mnist5k"] | None = None
    config: str | None = None
    splits: dict[str, str] = field(default_factory=lambda: {"train": "train", "test": "test"})
    columns: dict[str, str] = field(default_factory=lambda: {"image": "image", "label": "label"})
    cache: bool = False
    streaming: bool = False
    strict: bool = True
    background: Level | list[Level] = 255
    value_range: list[float] | None = None

    def decoding(self, channels: Literal[1, 3]) -> Decoding:
        """Return what pixels become; raises `UserError` for a background or range of no sense."""
        levels = self.background if isinstance(self.background, list) else [self.background] * 3
        if len(levels) != 3:
            raise UserError(
                f"task.background={levels}: expected a grey level or red, green and blue; type for "
                "example task.background=[255,255,255]"
            )
        red, green, blue = levels
        if self.value_range is None:
            return Decoding(channels, (red, green, blue))
        if len(self.value_range) != 2 or not 0 < self.value_range[1] - self.value_range[0] < inf:
            raise UserError(
                f"task.value_range={self.value_range}: expected the values of black and white, the "
                "smaller first; type for example task.value_range=[0,4095]"
            )
        low, high = self.value_range
        return Decoding(channels, (red, green, blue), (float(low), float(high)))

    @property
    def as_arrays(self) -> bool:
        """Whether images are read as arrays of bytes, whole batches at once."""
        if self.embedded is not None and self.source is None:
            return True
        return self.cache and not self.streaming


@dataclass(frozen=True)
class ImageFormat:
    """Number of classes, and what the model sees.

    Attributes:
        num_classes: classes, >= 1; checked against the data.
        image_size: height and width in pixels that the model sees, >= 1.
        channels: 1 (grey) or 3 (RGB).
        mean: mean of each channel of pixels scaled to 0..1, subtracted.
        std: standard deviation of each channel of pixels scaled to 0..1, > 0, divided by.
    """

    num_classes: Count = 10
    image_size: Count = 32
    channels: Literal[1, 3] = 3
    mean: list[float] = field(default_factory=lambda: [0.485, 0.456, 0.406])
    std: list[Annotated[float, Gt(0)]] = field(default_factory=lambda: [0.229, 0.224, 0.225])

    def of_channels(self, name: Literal["mean", "std"]) -> list[float]:
        """Return mean or std, one a channel; one value alone is that of all channels.

        Of three, grey images have the first.

        Raises:
            UserError: for another number of them.
        """
        values = self.mean if name == "mean" else self.std
        if len(values) == 1:
            return values * self.channels
        if len(values) != 3:
            example = ",".join(["0.5"] * self.channels)
            raise UserError(
                f"task.{name}={values}: expected 1 or 3 values; "
                f"type for example 'task.{name}=[{example}]'"
            )
        return values[: self.channels]

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape of an image: [channels, height, width]."""
        return self.channels, self.image_size, self.image_size
