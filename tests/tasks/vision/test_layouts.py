"""Layouts of images on disk, read by a task: the label of each image is that of its pixels."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.tasks.vision.pictures import rows_of, vision

LEVELS = {"n01": 0, "n02": 100, "n03": 200}  # the grey of all images of a class
FORMAT: dict[str, Any] = {"image_size": 4, "channels": 1, "mean": [0.0], "std": [1.0]}
TEST = ("n02", "n03", "n01", "n02")


def save(file: Path, name: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (4, 4), LEVELS[name]).save(file)


def tiny_imagenet(folder: Path) -> None:
    for name in LEVELS:
        save(folder / "train" / name / "images" / f"{name}_0.JPEG", name)
    for number, name in enumerate(TEST):
        save(folder / "val" / "images" / f"val_{number}.JPEG", name)
        save(folder / "test" / "images" / f"test_{number}.JPEG", name)
    lines = [f"val_{number}.JPEG\t{name}\t0\t0\t3\t3\n" for number, name in enumerate(TEST)]
    (folder / "val" / "val_annotations.txt").write_text("".join(lines), encoding="utf-8")


def kaggle(folder: Path) -> None:
    inner = folder / "ILSVRC" / "Data" / "CLS-LOC"
    for name in LEVELS:
        save(inner / "train" / name / f"{name}_0.JPEG", name)
    lines = ["ImageId,PredictionString"]
    for number, name in enumerate(TEST, start=1):
        save(inner / "val" / f"ILSVRC2012_val_0000000{number}.JPEG", name)
        lines.append(f"ILSVRC2012_val_0000000{number},{name} 0 0 3 3 ")
    (folder / "LOC_val_solution.csv").write_text("\n".join(lines), encoding="utf-8")


def class_folders(folder: Path) -> None:
    for number, name in enumerate((*LEVELS, *TEST)):
        split = "Train" if number < len(LEVELS) else "VALID"
        save(folder / split / name / f"{number}.gif", name)


def idx(folder: Path) -> None:
    for split, names in (("train", (*LEVELS,)), ("t10k", TEST)):
        pixels = b"".join(bytes([LEVELS[name]] * 16) for name in names)
        labels = bytes(int(name[1:]) for name in names)
        head = struct.pack(">HBB3I", 0, 8, 3, len(names), 4, 4)
        (folder / f"{split}-images-idx3-ubyte").write_bytes(head + pixels)
        head = struct.pack(">HBBI", 0, 8, 1, len(names))
        (folder / f"{split}-labels-idx1-ubyte").write_bytes(head + labels)


@pytest.mark.parametrize("columns", [("image", "label"), ("img", "fine_label")])
@pytest.mark.parametrize("make", [tiny_imagenet, kaggle, class_folders, idx])
def test_layouts(tmp_path: Path, make: Callable[[Path], None], columns: tuple[str, str]) -> None:
    """Whatever the names of a task's columns."""
    make(tmp_path)
    names = dict(zip(("image", "label"), columns, strict=True))
    task = vision(source=tmp_path, columns=names, **FORMAT)
    for split, count in (("train", 3), ("test", 4)):
        rows = rows_of(task, split)
        # label 0 is black, 1 is 100, 2 is 200
        levels = [255 * float(image.mean()) for image, *_ in rows]
        assert levels == pytest.approx([100 * label for _, label, *_ in rows], abs=1)
        assert len(rows) == count
