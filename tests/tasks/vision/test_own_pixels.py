"""Images of one's own: pixels as a task reads them, and what it notes of them."""

from __future__ import annotations

import struct
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from moesuite import UserError
from moesuite.config.sections import Data
from moesuite.task import Task
from moesuite.tasks.vision import decoding
from moesuite.tasks.vision.decoding import IMAGES, Decoding
from moesuite.train.dataloaders import eval_loader
from tests.tasks.vision.pictures import vision, write_split
from tests.tasks.vision.raw_files import GREY, png, tiff

# an image of 1x1: a pixel is mean 0, deviation 1 of 0..1
ONE = {"image_size": 1, "channels": 1, "mean": [0.0], "std": [1.0], "num_classes": 2}
CACHE = pytest.mark.parametrize("cache", [False, True])


def tree_of(folder: Path, suffix: str, *files: bytes) -> Path:
    """Write the same files to two classes, for training and testing."""
    for split in ("train", "test"):
        for name in ("a", "b"):
            place = folder / split / name
            place.mkdir(parents=True)
            for number, content in enumerate(files):
                (place / f"{number}{suffix}").write_bytes(content)
    return folder


def level(task: Task) -> float:
    """Return the mean of the test images, 0 to 1."""
    batches = [task.inputs(batch) for batch in eval_loader(task, Data(workers=0), "test")]
    images = torch.cat([batch for batch in batches if isinstance(batch, torch.Tensor)])
    return float(images.mean())


@CACHE
def test_images_of_16_bits(tmp_path: Path, cache: bool) -> None:
    dark, bright = (png(16, GREY, struct.pack(">H", value), 1) for value in (8481, 16962))
    task = vision(source=tree_of(tmp_path, ".png", dark, bright), cache=cache, **ONE)
    # 8481 / 257 = 33, 16962 / 257 = 66: (33 + 66) / 2 / 255 = 0.194; clipped they were white
    assert level(task) == pytest.approx(0.1941, abs=1e-4)
    assert (
        "8 of 8 images with more than 8 bits: their full range is scaled to 0..255 "
        "(task.value_range)" in task.notes
    )
    task = vision(source=tmp_path, cache=cache, value_range=[0.0, 16962.0], **ONE)
    assert level(task) == pytest.approx(0.751, abs=1e-3)  # (128 + 255) / 2 / 255


@CACHE
def test_dark_images_of_16_bits_are_told(tmp_path: Path, cache: bool) -> None:
    """Many scanners write 12 bits into 16: white is 4095, and of 65535 a sixteenth."""
    tree = tree_of(tmp_path, ".png", png(16, GREY, struct.pack(">H", 4000), 1))
    warning = (
        "pixels of the first images reach 4000 of 65535: to brighten them, type for example "
        "task.value_range=[0,4095]"
    )
    assert warning in vision(source=tree, cache=cache, **ONE).notes
    told = vision(source=tree, cache=cache, value_range=[0.0, 4095.0], **ONE)
    assert not any("brighter" in note for note in told.notes)


@CACHE
@pytest.mark.parametrize("strict", [False, True])
def test_floats_are_refused_until_their_range_is_told(
    tmp_path: Path, cache: bool, strict: bool
) -> None:
    tree = tree_of(tmp_path, ".tif", tiff(32, struct.pack("<f", 0.4), 1, kind=3))
    with pytest.raises(UserError) as error:
        vision(source=tree, cache=cache, strict=strict, **ONE)
    assert str(error.value).endswith(
        "pixels are floating-point numbers; expected the values that are black and white; type for "
        "example task.value_range=[0,1]"
    )
    assert level(vision(source=tree, cache=cache, value_range=[0.0, 1.0], **ONE)) == pytest.approx(
        0.4
    )


def test_floats_in_a_table_are_refused_before_training(tmp_path: Path) -> None:
    cells = [{"bytes": tiff(32, struct.pack("<f", 0.4), 1, kind=3), "path": None}] * 4
    write_split(tmp_path / "train.parquet", cells, [0, 1, 0, 1], ["a", "b"])
    with pytest.raises(UserError, match=r"row 0: pixels are floating.*task.value_range=\[0,1\]"):
        vision(source=tmp_path, **ONE)


@CACHE
def test_transparent_images_on_a_told_background(tmp_path: Path, cache: bool) -> None:
    tree = tmp_path / "tree"
    for name in ("a", "b"):
        for split in ("train", "test"):
            (tree / split / name).mkdir(parents=True)
            Image.new("LA", (1, 1), (0, 51)).save(tree / split / name / "clear.png")
    # alpha 51 / 255 = 0.2 of black: 0.8 of the background is left
    levels = {
        str(background): level(vision(source=tree, cache=cache, background=background, **ONE))
        for background in (255, 0, [100, 100, 100])
    }
    assert levels == pytest.approx({"255": 0.8, "0": 0.0, "[100, 100, 100]": 80 / 255}, abs=2e-3)
    assert vision(source=tree, cache=cache, **ONE).notes == [
        "4 of 4 images with transparency: composed on the background [255, 255, 255] "
        "(task.background)"
    ]


def test_cached_pixels_of_another_decoding_are_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree = tree_of(tmp_path, ".png", png(8, GREY, b"\x33", 1))
    assert level(vision(source=tree, cache=True, **ONE)) == pytest.approx(0.2)
    monkeypatch.setattr("moesuite.tasks.vision.splits.pixels", lambda *_: Image.new("L", (1, 1)))
    assert level(vision(source=tree, cache=True, **ONE)) == pytest.approx(0.2)
    monkeypatch.setattr("moesuite.tasks.vision.splits.VERSION", decoding.VERSION + 1)
    assert level(vision(source=tree, cache=True, **ONE)) == 0


@CACHE
def test_photos_are_turned_and_frames_counted(tmp_path: Path, cache: bool) -> None:
    exif = Image.Exif()
    exif[0x0112] = 3
    still, moving = Image.new("L", (2, 1), 255), Image.new("RGB", (2, 1))
    still.putpixel((0, 0), 0)
    for name in ("a", "b"):
        for split in ("train", "test"):
            place = tmp_path / split / name
            place.mkdir(parents=True)
            still.resize((2, 2), Image.Resampling.NEAREST).save(place / "turned.png", exif=exif)
            moving.save(
                place / "moving.webp",
                save_all=True,
                append_images=[Image.new("RGB", (2, 1), "red")],
            )
    task = vision(source=tmp_path, cache=cache, **{**ONE, "image_size": 2})
    assert [note for note in task.notes if "images with" in note] == [
        "4 of 8 images with an EXIF orientation: turned upright",
        "4 of 8 images with several frames: the first is read",
    ]
    if cache:  # pixels of the right size pass through unchanged
        pixels = task.dataset("test").images[..., 0].tolist()  # type: ignore[union-attr]
        assert [[255, 0], [255, 0]] in pixels and [[0, 0], [0, 0]] in pixels


def test_notes_say_what_was_counted_and_done() -> None:
    counted = Counter({IMAGES: 40, "transparency": 3, "several frames": 1, "more than 8 bits": 2})
    assert Decoding(3).notes(counted) == [
        "3 of 40 images with transparency: composed on the background [255, 255, 255] "
        "(task.background)",
        "1 of 40 images with several frames: the first is read",
        "2 of 40 images with more than 8 bits: their full range is scaled to 0..255 "
        "(task.value_range)",
    ]
    deep = Counter({IMAGES: 2, "more than 8 bits": 2})
    (note,) = Decoding(1, value_range=(0.0, 4095.0)).notes(deep)
    assert "bits: 0..4095 is scaled to 0..255" in note
    assert Decoding(3).notes(Counter({IMAGES: 40})) == []


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"background": [1, 2]}, "task.background=[1, 2]: expected a grey level or red, green "),
        ({"value_range": [1.0]}, "task.value_range=[1.0]: expected the values of black and white"),
        ({"value_range": [5.0, 5.0]}, "task.value_range=[5.0, 5.0]: expected the values of black"),
        ({"value_range": [0.0, float("inf")]}, "task.value_range=[0.0, inf]: expected the values"),
    ],
)
def test_options_of_no_sense(tree: Path, options: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError) as error:
        vision(source=tree, **options)
    assert str(error.value).startswith(words) and "type for example task." in str(error.value)


def test_a_decompression_bomb_is_unreadable(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 200)  # more than twice as many: 21 x 21
    with pytest.raises(UserError, match="3 unreadable images: "):
        vision(source=tree)


def test_unreadable_images_are_noted(tree: Path) -> None:
    (tree / "dog" / "3.png").write_bytes(b"not an image")
    notes = vision(source=tree, strict=False).notes
    assert any("1 unreadable images left out: " in note and "3.png" in note for note in notes)


def test_a_split_without_a_readable_image(tree: Path) -> None:
    for path in tree.rglob("*.png"):
        path.write_bytes(b"not an image")
    with pytest.raises(UserError, match="split train: none of its images is readable"):
        vision(source=tree, strict=False)
