"""Pixels of image files: 8-bit grey or RGB, whatever a file holds.

More than 8 bits are scaled instead of clipped, transparency is composed on a background, the
orientation that a camera noted (EXIF) is applied, and of several frames the first is read.
"""

from __future__ import annotations

import io
import struct
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from PIL import Image, ImageOps

VERSION = 2  # of decoding: pixels cached by another are not read; raise it when pixels change
IMAGES = "images"  # counted beside traits
ORIENTATION, BITS, PHOTOMETRIC, SAMPLE_FORMAT = 0x0112, 258, 262, 339  # tags of EXIF and TIFF
WHITE_IS_ZERO, UNSIGNED, SIGNED = 0, 1, 2  # values of the last two
WITH_16_BITS = ("PNG", "PPM")  # formats whose pixels of mode I have 16 bits, not 32
ANIMATED = ("GIF", "PNG", "WEBP", "AVIF", "TIFF")  # others hold previews and sizes of one image
# what Pillow raises for broken files, beside OSError
BROKEN = (SyntaxError, ValueError, EOFError, IndexError, RuntimeError, struct.error)


class RangeUnknown(OSError):
    """Pixels of which only `task.value_range` can tell what is black and white."""


@dataclass(frozen=True)
class Decoding:
    """What pixels become.

    Attributes:
        channels: 1 (grey) or 3 (RGB).
        background: red, green and blue, 0 to 255, behind transparent pixels.
        value_range: values that become 0 and 255, of pixels of more than 8 bits; None: the full
            range of their type.
    """

    channels: Literal[1, 3]
    background: tuple[int, int, int] = (255, 255, 255)
    value_range: tuple[float, float] | None = None

    def notes(self, traits: Counter[str]) -> list[str]:
        """Return a sentence for each trait of the images that were looked at."""
        values = "their full range"
        if self.value_range is not None:
            values = "{:g}..{:g}".format(*self.value_range)
        treatments = {
            "transparency": f"composed on the background {[*self.background]} (task.background)",
            "an EXIF orientation": "turned upright",
            "several frames": "the first is read",
            "more than 8 bits": f"{values} is scaled to 0..255 (task.value_range)",
        }
        return [
            f"{traits[trait]} of {traits[IMAGES]} images with {trait}: {treatment}"
            for trait, treatment in treatments.items()
            if traits[trait]
        ]


@contextmanager
def opened(cell: dict[str, Any] | None) -> Iterator[Image.Image]:
    """Open an image cell of a data set, {bytes, path}; pixels are read on access.

    Raises:
        OSError: for an image that Pillow cannot read, also on access.
    """
    content, path = (cell["bytes"], cell["path"]) if cell is not None else (None, None)
    stream = path if content is None else io.BytesIO(content)
    if stream is None:
        raise OSError("no image")
    try:
        with Image.open(stream) as image:
            yield image
    except (*BROKEN, Image.DecompressionBombError) as error:
        raise OSError(str(error)) from None


def decode(cell: dict[str, Any] | None, decoding: Decoding) -> Image.Image:
    """Decode an image cell of a data set, {bytes, path}, to grey or RGB.

    Raises:
        OSError: for an image that Pillow cannot decode.
        RangeUnknown: see `limits`.
    """
    with opened(cell) as image:
        return pixels(image, decoding)


def pixels(image: Image.Image, decoding: Decoding) -> Image.Image:
    """Return an opened image in grey or RGB; raises like `decode`."""
    black_and_white = limits(image, decoding)
    image.load()
    if _orientation(image) != 1:
        ImageOps.exif_transpose(image, in_place=True)
    picture = image if black_and_white is None else _scaled(image, *black_and_white)
    if picture.has_transparency_data:
        behind = Image.new("RGBA", picture.size, (*decoding.background, 255))
        picture = Image.alpha_composite(behind, picture.convert("RGBA"))
    return picture.convert("L" if decoding.channels == 1 else "RGB")


def limits(image: Image.Image, decoding: Decoding) -> tuple[float, float] | None:
    """Return the values that become 0 and 255, by the header; None for pixels of 8 bits.

    Raises:
        RangeUnknown: for floats, 32-bit and signed integers, which fill no known range, and for
            colours of 16 bits, which Pillow reads by their full range only.
    """
    if _is_deep_colour(image) and decoding.value_range is not None:
        raise RangeUnknown(
            "colours of 16 bits are read by their full range only; type task.value_range=null, or "
            "store them with 8 bits"
        )
    if not _is_deep(image):
        return None
    if decoding.value_range is not None:
        return decoding.value_range
    if image.mode.startswith("I;16"):
        return 0.0, 2.0 ** _tag(image, BITS, 16) - 1
    if image.mode == "I" and image.format in WITH_16_BITS:
        return 0.0, 2.0**16 - 1
    kind, example = "signed or 32-bit integers", "[0,4095]"
    if image.mode == "F":
        kind, example = "floating-point numbers", "[0,1]"
    raise RangeUnknown(
        f"pixels are {kind}; expected the values that are black and white; type for example "
        f"task.value_range={example}"
    )


def dark(cells: Iterable[dict[str, Any] | None], decoding: Decoding) -> str:
    """Return a warning where images use less than a quarter of their full range; empty for none."""
    peak = high = 0
    for cell in cells:
        with suppress(OSError), opened(cell) as image:
            if (black_and_white := limits(image, decoding)) is not None:
                peak = max(peak, int(np.asarray(image).max()))
                high = max(high, int(black_and_white[1]))
    if decoding.value_range is not None or peak == 0 or 4 * peak >= high:
        return ""
    return (
        f"pixels of the first images reach {peak} of {high}: to brighten them, type for example "
        f"task.value_range=[0,{2 ** peak.bit_length() - 1}]"
    )


def traits_of(image: Image.Image) -> list[str]:
    """Return what is unusual of an opened image by its header, as `Decoding.notes` names it."""
    traits = {
        "transparency": image.has_transparency_data,
        "an EXIF orientation": _orientation(image) != 1,
        "several frames": _has_frames(image),
        "more than 8 bits": _is_deep(image) or _is_deep_colour(image),
    }
    return [trait for trait, present in traits.items() if present]


def _scaled(image: Image.Image, low: float, high: float) -> Image.Image:
    """Return a deep image in 8-bit grey, with alpha if it has a transparent value."""
    values = np.asarray(image)
    if (
        image.mode == "I"
        and _tag(image, BITS, 16) == 32
        and _tag(image, SAMPLE_FORMAT, 1) == UNSIGNED
    ):
        values = values.view(np.uint32)  # Pillow reads them as signed
    if image.mode == "L":
        values = values.view(np.int8)  # and these as unsigned
    values = values.astype(np.float64)
    if np.isnan(values).any():
        raise OSError("some pixels are no numbers (NaN)")
    levels = np.rint((values - low) * (255 / (high - low))).clip(0, 255).astype(np.uint8)
    if _tag(image, PHOTOMETRIC, 1) == WHITE_IS_ZERO:
        levels = 255 - levels
    grey = Image.fromarray(levels)
    if (clear := image.info.get("transparency")) is not None:  # one value
        grey.putalpha(Image.fromarray(np.where(values == clear, 0, 255).astype(np.uint8)))
    return grey


def _is_deep(image: Image.Image) -> bool:
    """Whether an image has one channel whose values have to be scaled."""
    is_signed = image.mode == "L" and _tag(image, SAMPLE_FORMAT, UNSIGNED) == SIGNED
    return image.mode in ("I", "F") or image.mode.startswith("I;16") or is_signed


def _is_deep_colour(image: Image.Image) -> bool:
    """Whether Pillow reduces colours of 16 bits to 8; unknown once they are loaded."""
    tiles: Any = getattr(image, "tile", [])
    return image.mode.startswith("RGB") and any(";16" in str(tile[3]) for tile in tiles)


def _has_frames(image: Image.Image) -> bool:
    """Whether a first frame is followed by others."""
    try:
        return image.format in ANIMATED and getattr(image, "is_animated", False)
    except (OSError, *BROKEN):
        return False  # cut off behind the first


def _orientation(image: Image.Image) -> int:
    """Return EXIF's orientation, 1 (upright) to 8.

    A PNG file that has it after its pixels shows it once they are loaded.
    """
    if image.format == "PNG" and not {"exif", "Raw profile type exif", "xmp"} & image.info.keys():
        return 1  # `getexif` would load the pixels
    try:
        return int(image.getexif().get(ORIENTATION, 1))
    except (TypeError, *BROKEN):
        return 1  # EXIF that is broken


def _tag(image: Image.Image, tag: int, default: int) -> int:
    """Return the first value of a tag of TIFF."""
    tags: Any = getattr(image, "tag_v2", {})
    value: int | Sequence[int] = tags.get(tag, default)
    return value if isinstance(value, int) else value[0]
