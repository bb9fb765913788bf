"""Pixels of made files, worked by hand: depth, alpha, orientation, frames, colours."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
import pytest
from PIL import Image, features

from moesuite.tasks.vision.decoding import Decoding, RangeUnknown, decode, opened, traits_of
from tests.tasks.vision.raw_files import GREY, GREY_ALPHA, PALETTE, RGB, png, saved, tiff

ORIENTATION = 0x0112


def pixels(file: bytes, channels: Any = 1, **options: Any) -> list[Any]:
    """Return the decoded pixels, row by row; of one row that row."""
    if "value_range" in options:
        options["value_range"] = tuple(map(float, options["value_range"]))
    rows = np.asarray(decode({"bytes": file, "path": None}, Decoding(channels, **options))).tolist()
    return rows[0] if len(rows) == 1 else rows


def traits(file: bytes) -> list[str]:
    with opened({"bytes": file, "path": None}) as image:
        return traits_of(image)


# 1000 / 257 = 3.9, 32896 / 257 = 128, 65535 / 257 = 255
DEEP = struct.pack("<HHH", 1000, 32896, 65535)
DEEP_BIG = struct.pack(">HHH", 1000, 32896, 65535)
SCALED = [4, 128, 255]
PFM = b"Pf\n2 1\n-1.0\n" + struct.pack("<ff", 0.25, 1.5)
INT16 = tiff(16, struct.pack("<hhh", -1000, 0, 1000), 3, kind=2)
UINT32 = tiff(32, struct.pack("<II", 0, 2**32 - 1))
FLOATS = tiff(32, struct.pack("<fff", -0.5, 0.25, 1.5), 3, kind=3)


@pytest.mark.parametrize(
    ("file", "expected"),
    [
        (png(16, GREY, DEEP_BIG, 3), SCALED),
        (tiff(16, DEEP, 3), SCALED),
        (tiff(16, DEEP_BIG, 3, order=">"), SCALED),
        (b"P5 3 1 65535\n" + DEEP_BIG, SCALED),
        (tiff(16, DEEP, 3, photometric=0), [251, 127, 0]),  # 255 - 4, ...: the least is white
        # 12 bits, 0x800 = 2048 and 0xfff = 4095: 2048 * 255 / 4095 = 127.5, to even
        (tiff(12, b"\x80\x0f\xff"), [128, 255]),
        # of 4095: 1024 * 255 / 4095 = 63.8
        (b"P5 2 1 4095\n" + struct.pack(">HH", 1024, 4095), [64, 255]),
    ],
    ids=["png", "tiff", "tiff big", "pgm", "white is 0", "12 bits", "pgm of 12 bits"],
)
def test_more_than_8_bits_are_scaled(file: bytes, expected: list[int]) -> None:
    assert pixels(file) == expected
    assert pixels(file, 3) == [[level] * 3 for level in expected]
    assert traits(file) == ["more than 8 bits"]


def test_colours_of_16_bits_are_scaled() -> None:
    row = struct.pack(">6H", 1000, 32896, 65535, 0, 256, 65280)
    # Pillow takes the upper byte: 1000 // 256 = 3, within a level of 3.9
    assert pixels(png(16, RGB, row), 3) == [[3, 128, 255], [0, 1, 255]]
    assert traits(png(16, RGB, row)) == ["more than 8 bits"]
    with pytest.raises(RangeUnknown, match=r"by their full range only; type task.value_range=null"):
        pixels(png(16, RGB, row), 3, value_range=(0, 4095))


@pytest.mark.parametrize(
    ("file", "value_range", "expected"),
    [
        (FLOATS, (0, 1), [0, 64, 255]),  # 0.25 * 255 = 63.75; beyond both ends
        (FLOATS, (-0.5, 1.5), [0, 96, 255]),  # 0.75 / 2 * 255 = 95.6
        (PFM, (0, 1), [64, 255]),
        (INT16, (-1000, 1000), [0, 128, 255]),  # 127.5, to even
        (UINT32, (0, 2**32 - 1), [0, 255]),
        (tiff(8, struct.pack("<bb", -128, 127), kind=2), (-128, 127), [0, 255]),
        (tiff(16, struct.pack("<HH", 1024, 4095)), (0, 4095), [64, 255]),  # 63.8
        (png(16, GREY, struct.pack(">HH", 100, 300)), (100, 355), [0, 200]),
        (png(8, GREY, bytes([10, 200])), (0, 4095), [10, 200]),  # of 8 bits: as they are
    ],
    ids=["0..1", "-.5..1.5", "pfm", "int16", "uint32", "int8", "12 of 16", "png", "8 bits"],
)
def test_a_told_range(file: bytes, value_range: Any, expected: list[int]) -> None:
    assert pixels(file, value_range=value_range) == expected


@pytest.mark.parametrize(
    ("file", "message"),
    [
        (FLOATS, r"are floating-point numbers; .* type for example task.value_range=\[0,1\]"),
        (PFM, "are floating-point numbers"),
        (INT16, r"are signed or 32-bit integers; .* for example task.value_range=\[0,4095\]"),
        (UINT32, "are signed or 32-bit integers"),
        (tiff(8, b"\xff\x01", kind=2), "are signed or 32-bit integers"),
    ],
    ids=["float", "pfm", "int16", "uint32", "int8"],
)
def test_pixels_of_no_known_range_are_refused(file: bytes, message: str) -> None:
    with pytest.raises(RangeUnknown, match=message):
        pixels(file)


def test_pixels_that_are_no_numbers_make_an_image_unreadable() -> None:
    file = tiff(32, struct.pack("<ff", 0.5, float("nan")), kind=3)
    with pytest.raises(OSError, match="some pixels are no numbers"):
        pixels(file, value_range=(0, 1))


# 10 with alpha 128 on white: (10 * 128 + 255 * 127) / 255 = 132.02; on black 5.02
HALF = Image.new("RGBA", (1, 1), (10, 20, 30, 128))
WHITE, BLACK = (255, 255, 255), (0, 0, 0)
RED_GREEN = bytes([255, 0, 0, 0, 255, 0])


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF", "ICO"])
def test_alpha_is_composed_on_the_background(kind: str) -> None:
    options = {"lossless": True} if kind == "WEBP" else {}
    image = HALF.resize((16, 16)) if kind == "ICO" else HALF
    file = saved(image, kind, **options)
    found = {
        background: np.asarray(pixels(file, 3, background=background)).reshape(-1, 3)[0].tolist()
        for background in (WHITE, BLACK, (0, 255, 0))
    }
    # 20: 137.04, 10.04; 30: 142.06, 15.06; on green 10.04 + 127
    assert found == {WHITE: [132, 137, 142], BLACK: [5, 10, 15], (0, 255, 0): [5, 137, 15]}
    assert traits(file) == ["transparency"]


@pytest.mark.parametrize(
    ("file", "on_white", "on_black"),
    [
        (saved(Image.new("LA", (1, 1), (10, 128)), "PNG"), [132], [5]),
        # the first pixel has the transparent colour
        (png(8, GREY, bytes([10, 200]), tRNS=b"\0\x0a"), [255, 200], [0, 200]),
        (png(1, GREY, b"\x40", tRNS=b"\0\0"), [255, 255], [0, 255]),
        (png(16, GREY, DEEP[2:], tRNS=DEEP[2:4]), [255, 255], [0, 255]),
        # 200 * 0.299 + 1 * 0.587 + 2 * 0.114 = 60.6
        (
            png(8, RGB, bytes([1, 2, 3, 200, 1, 2]), tRNS=b"\0\1\0\2\0\3"),
            [255, 61],
            [0, 61],
        ),
        # green: 255 * 0.587 = 149.7
        (png(8, PALETTE, b"\0\1", PLTE=RED_GREEN, tRNS=b"\0"), [255, 150], [0, 150]),
        # alpha of 16 bits: 32896 / 257 = 128
        (png(16, GREY_ALPHA, struct.pack(">HH", 2570, 32896), 1), [132], [5]),
    ],
    ids=["LA", "grey", "1 bit", "16 bits", "RGB", "palette", "LA of 16 bits"],
)
def test_transparency_in_grey(file: bytes, on_white: list[int], on_black: list[int]) -> None:
    assert pixels(file) == on_white
    assert pixels(file, background=BLACK) == on_black
    assert "transparency" in traits(file)


# a row of red, then one of blue, as a camera held on its side stores it
ROWS = Image.new("RGB", (2, 2), (255, 0, 0))
ROWS.paste((0, 0, 255), (0, 1, 2, 2))
R, B = [255, 0, 0], [0, 0, 255]
UPRIGHT = {  # orientation -> first row; 6: turned clockwise, so that the lower row is left
    1: [R, R], 2: [R, R], 3: [B, B], 4: [B, B], 5: [R, B], 6: [B, R], 7: [B, R], 8: [R, B],
}  # fmt: skip


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", UPRIGHT)
def test_the_orientation_of_exif_is_applied(kind: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    file = saved(ROWS, kind, exif=exif, **({"lossless": True} if kind == "WEBP" else {}))
    assert pixels(file, 3)[0] == UPRIGHT[orientation]
    assert traits(file) == (["an EXIF orientation"] if orientation > 1 else [])


def test_the_orientation_of_a_photo_and_broken_exif() -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    photo = Image.new("RGB", (16, 8), (255, 0, 0))
    file = saved(photo, "JPEG", exif=exif)
    assert np.shape(pixels(file, 3)) == (16, 8, 3)
    assert np.shape(pixels(file.replace(b"MM\0*", b"XX\0*"), 3)) == (8, 16, 3)
    # a PNG file may hold it behind its pixels, where the header does not show it
    late = saved(ROWS, "PNG", exif=exif)
    start = late.index(b"eXIf") - 4
    chunk = late[start : late.index(b"IDAT") - 4]
    late = late[:start] + late[start + len(chunk) : -12] + chunk + late[-12:]
    assert pixels(late, 3)[0] == UPRIGHT[6] and traits(late) == []


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "AVIF", "TIFF"])
def test_the_first_of_several_frames_is_read(kind: str) -> None:
    if not features.check(kind.lower()) and kind in ("WEBP", "AVIF"):
        pytest.skip(f"this Pillow has no {kind}")
    frames = [Image.new("RGB", (8, 8), colour) for colour in ((255, 0, 0), (0, 0, 255))]
    file = saved(frames[0], kind, save_all=True, append_images=frames[1:])
    assert traits(file) == ["several frames"]
    assert np.allclose(pixels(file, 3), (255, 0, 0), atol=3)
    assert "several frames" not in traits(saved(frames[0], kind))


def test_the_preview_in_a_photo_is_no_frame() -> None:
    photo, preview = Image.new("RGB", (8, 8), (255, 0, 0)), Image.new("RGB", (4, 4))
    file = saved(photo, "MPO", save_all=True, append_images=[preview])
    assert traits(file) == [] and np.allclose(pixels(file, 3), (255, 0, 0), atol=3)


@pytest.mark.parametrize(
    ("image", "kind", "expected"),
    [
        (Image.new("CMYK", (1, 1), (0, 255, 255, 0)), "JPEG", [254, 0, 0]),
        (Image.new("CMYK", (1, 1), (0, 255, 255, 0)), "TIFF", [255, 0, 0]),
        (Image.new("1", (1, 1), 1), "PNG", [255, 255, 255]),
        (Image.new("1", (1, 1), 0), "TIFF", [0, 0, 0]),
        (Image.new("RGB", (1, 1), (7, 8, 9)).quantize(2), "PNG", [7, 8, 9]),
        (Image.new("RGB", (1, 1), (7, 8, 9)).quantize(2), "BMP", [7, 8, 9]),
        (Image.new("L", (1, 1), 200), "PNG", [200, 200, 200]),
    ],
)
def test_other_colours_are_as_before(image: Image.Image, kind: str, expected: list[int]) -> None:
    file = saved(image, kind)
    assert np.abs(np.array(pixels(file, 3)[0]) - expected).max() <= 1
    assert traits(file) == []
    grey = 0.299 * expected[0] + 0.587 * expected[1] + 0.114 * expected[2]
    assert pixels(file)[0] == pytest.approx(grey, abs=1)


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_few_bits_are_spread_over_all_levels(bits: int) -> None:
    assert pixels(png(bits, GREY, bytes([1 << (8 - 2 * bits)])))[1] == 255 // (2**bits - 1)
    assert pixels(png(bits, GREY, b"\x0f"))[0] == 0
    assert pixels(png(bits, GREY, b"\xff")) == [255, 255]


@pytest.mark.parametrize(
    "cell", [None, {"bytes": None, "path": None}, {"bytes": b"GIF89a", "path": None}]
)
def test_what_is_no_image_is_unreadable(cell: Any) -> None:
    with pytest.raises(OSError, match="no image|cannot identify"):
        decode(cell, Decoding(3))
