"""Small made trees: nothing of an image is read but its name."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from moesuite.sources.images.split import ImageTree
from moesuite.sources.images.tree import read_image_tree

BOTH = {"train": "train", "test": "test"}
VAL = {"train": "train", "test": "validation"}  # as ImageNet is declared


def make(folder: Path, tree: str) -> Path:
    """Make files: `cat:3` is a folder of three images, `cat/` an empty one, `x.csv` a file."""
    for word in tree.split():
        path, _, count = word.partition(":")
        names = [f"{path}/{index}.png" for index in range(int(count or 0))] or [path]
        if path.endswith("/"):
            (folder / path).mkdir(parents=True)
            continue
        for name in names:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).touch()
    return folder


def read(folder: Path, declared: Mapping[str, str] = BOTH) -> ImageTree:
    tree = read_image_tree(folder, declared)
    assert tree is not None
    return tree


def shown(tree: ImageTree) -> dict[str, str]:
    """Return each role's split in short: its folder, and the number of images of each class."""
    return {
        role: " ".join(
            [f"{split.name}:", *(f"{name}={split.labels.count(name)}" for name in split.classes)]
        )
        for role, split in tree.splits.items()
    }
