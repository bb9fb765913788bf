"""Image trees as people have them: which split, which class, what is left out, what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from moesuite.sources.images.tree import read_image_tree
from tests.sources.images.made import BOTH, VAL, make, read, shown

TREES = {
    "splits by their usual names": (
        BOTH,
        "train/a:2 train/b:1 val/a:1 val/b:1 test/a:1 test/b:2",
        {"train": "train: a=2 b=1", "val": "val: a=1 b=1", "test": "test: a=1 b=2"},
        [],
    ),
    "capitals": (
        BOTH,
        "Train/a:2 Train/b:1 TEST/a:1 TEST/b:1",
        {"train": "Train: a=2 b=1", "test": "TEST: a=1 b=1"},
        [],
    ),
    "imagenet scores val and not the test images": (
        VAL,
        "train/a:2 train/b:1 val/a:1 val/b:1 test/a:1 test/b:1",
        {"train": "train: a=2 b=1", "test": "val: a=1 b=1"},
        ["not used: test/ (2 images)"],
    ),
    "imagenet with a test split only": (
        VAL,
        "train/a:2 train/b:1 test/a:1 test/b:1",
        {"train": "train: a=2 b=1", "test": "test: a=1 b=1"},
        [],
    ),
    "without a test split the validation split is scored": (
        BOTH,
        "training/a:2 training/b:1 dev/a:1 dev/b:1",
        {"train": "training: a=2 b=1", "test": "dev: a=1 b=1"},
        [],
    ),
    "no splits": (BOTH, "a:2 b:1", {"train": ": a=2 b=1"}, []),
    "folders below a class": (
        BOTH,
        "train/a/x:1 train/a/y/z:1 train/b:1",
        {"train": "train: a=2 b=1"},
        ["folders below a class are one class: a/ holds x/, y/"],
    ),
    "all folders as classes": (
        {"train": ".", "test": "test"},
        "dev:2 test:1 fold/a:1 fold/b:1",
        {"train": ": dev=2 fold=2 test=1"},
        ["folders below a class are one class: fold/ holds a/, b/"],
    ),
    "years": (
        BOTH,
        "train2017/a:2 train2017/b:1 val2017/a:1 val2017/b:1",
        {"train": "train2017: a=2 b=1", "test": "val2017: a=1 b=1"},
        [],
    ),
    "splits of one's own": (
        {"train": "tr", "test": "te"},
        "tr/a:2 tr/b:1 te/a:1 te/b:1",
        {"train": "tr: a=2 b=1", "test": "te: a=1 b=1"},
        [],
    ),
    "classes called like splits in splits": (
        BOTH,
        "train/train:2 train/test:1 train/car:1 test/test:1",
        {"train": "train: car=1 test=1 train=2", "test": "test: test=1"},
        [],
    ),
    "masks beside the images of each class": (
        BOTH,
        "a/images:2 a/masks:2 b/Images:1 b/masks:1",
        {"train": ": a=2 b=1"},
        ["not used: 3 images in no class folder (a/masks/0.png, a/masks/1.png, b/masks/0.png)"],
    ),
    "archives and lists beside": (
        BOTH,
        "train/a:2 train/b:1 train.zip official_split.txt words.txt",
        {"train": "train: a=2 b=1"},
        ["not used: official_split.txt, train.zip"],
    ),
    "kaggle's folders above": (
        VAL,
        "I/Data/CLS-LOC/train/a:2 I/Data/CLS-LOC/train/b:1 I/Data/CLS-LOC/val/a:1 "
        "I/Data/CLS-LOC/val/b:1 I/Annotations/CLS-LOC/train/a/0.xml",
        {"train": "train: a=2 b=1", "test": "val: a=1 b=1"},
        ["images are read from I/Data/CLS-LOC/"],
    ),
    "a folder above the classes": (
        BOTH,
        "photos/a:2 photos/b:1",
        {"train": ": a=2 b=1"},
        ["images are read from photos/"],
    ),
    "one split only": (BOTH, "train/a:2 train/b:1", {"train": "train: a=2 b=1"}, []),
    "a split in a folder of its own name": (
        BOTH,
        "seg_train/seg_train/a:2 seg_train/seg_train/b:1 seg_test/seg_test/a:1 "
        "seg_test/seg_test/b:1 seg_pred/seg_pred:3",
        {"train": "seg_train: a=2 b=1", "test": "seg_test: a=1 b=1"},
        ["not used: seg_pred/ (3 images)"],
    ),
    "splits below classes": (
        BOTH,
        "a/train:2 a/test:1 b/train:1 b/test:1",
        {"train": "train: a=2 b=1", "test": "test: a=1 b=1"},
        [],
    ),
    "a class called train": (
        BOTH,
        "car:2 plane:1 train:1",
        {"train": ": car=2 plane=1 train=1"},
        [],
    ),
    "classes that sound like splits": (
        BOTH,
        "bullet_train:1 test_tube:1 car:2",
        {"train": ": bullet_train=1 car=2 test_tube=1"},
        [],
    ),
    "test images without labels": (
        BOTH,
        "train/a:2 train/b:1 val/a:1 val/b:1 test:3",
        {"train": "train: a=2 b=1", "test": "val: a=1 b=1"},
        ["not used: test/ (3 images without labels)"],
    ),
    "test images in a folder that is no class": (
        BOTH,
        "train/a:2 train/b:1 test/unknown:3",
        {"train": "train: a=2 b=1"},
        ["not used: test/ (3 images without labels)"],
    ),
    "other folders and stray images": (
        BOTH,
        "train/a:2 train/b:1 train/x.png raw:4 y.png",
        {"train": "train: a=2 b=1"},
        ["not used: raw/ (4 images), 2 images in no class folder (train/x.png, y.png)"],
    ),
    "hidden and system files": (
        BOTH,
        "a:2 b:1 .ipynb_checkpoints:1 __MACOSX/a:1 a/._0.png a/.DS_Store b/Thumbs.db",
        {"train": ": a=2 b=1"},
        [],
    ),
    "formats that Pillow cannot read, and other files": (
        BOTH,
        "a:2 b:1 a/x.heic a/y.HEIC b/z.svg b/notes.txt b/box",
        {"train": ": a=2 b=1"},
        [
            "left out, for Pillow cannot read them: 2 .heic, 1 .svg (a/x.heic, a/y.HEIC, b/z.svg)",
            "left out, for they are no images: 1 without a suffix, 1 .txt (b/box, b/notes.txt)",
        ],
    ),
    "formats that Pillow reads": (
        BOTH,
        "a/0.JPEG a/1.gif a/2.webp a/3.tiff a/4.bmp b/0.jp2 b/1.ppm",
        {"train": ": a=5 b=2"},
        [],
    ),
    "empty class folders": (
        BOTH,
        "train/a:2 train/b:1 train/c/ test/a:1 test/b/",
        {"train": "train: a=2 b=1", "test": "test: a=1 b=0"},
        ["without images: 2 folders (train/c, test/b)"],
    ),
    "a split without images": (
        BOTH,
        "train/a:2 train/b:1 val/images.tar test/",
        {"train": "train: a=2 b=1"},
        ["without images: 2 folders (test, val)", "not used: val/images.tar"],
    ),
    "classes that differ are left to who maps labels": (
        BOTH,
        "train/a:2 train/b:1 test/a:1 test/c:1",
        {"train": "train: a=2 b=1", "test": "test: a=1 c=1"},
        [],
    ),
    "two splits of one meaning": (
        BOTH,
        "train/a:2 train/b:1 val/a:1 val/b:1 dev/b:1 test/a:1",
        {"train": "train: a=2 b=1", "val": "dev, val: a=1 b=2", "test": "test: a=1"},
        [],
    ),
}


@pytest.mark.parametrize("name", TREES)
def test_trees(tmp_path: Path, name: str) -> None:
    declared, files, splits, notes = TREES[name]
    tree = read(make(tmp_path, files), declared)
    assert shown(tree) == splits
    assert list(tree.notes) == notes


def test_a_validation_split_that_nobody_wants(tmp_path: Path) -> None:
    make(tmp_path, "train/a:1 train/b:1 val/a:1 test/a:1")
    tree = read_image_tree(tmp_path, BOTH, also_val=False)
    assert tree is not None
    assert [*tree.splits] == ["train", "test"]
    assert tree.notes == ("not used: val/ (1 image)",)


def test_the_order_is_that_of_torchvision(tmp_path: Path) -> None:
    """Results of earlier versions depend on it."""
    from torchvision.datasets import ImageFolder

    make(tmp_path, "B:2 a/x/y:1 a/x-z:1 a/x:2 a:1 c_d:11 c:1")
    expected = ImageFolder(str(tmp_path), loader=str)
    split = read(tmp_path).splits["train"]
    assert [str(file) for file in split.files] == [path for path, _ in expected.samples]
    assert split.labels == [expected.classes[label] for _, label in expected.samples]


def test_links_are_followed_once(tmp_path: Path) -> None:
    make(tmp_path, "far/a:2 here/b:1")
    (tmp_path / "here" / "a").symlink_to(tmp_path / "far" / "a")
    (tmp_path / "here" / "b" / "up").symlink_to(tmp_path / "here")
    (tmp_path / "here" / "b" / "1.png").symlink_to(tmp_path / "far" / "a" / "1.png")
    assert shown(read(tmp_path / "here")) == {"train": ": a=2 b=2"}


def test_rows_hold_paths_and_classes(tmp_path: Path) -> None:
    split = read(make(tmp_path, "owl:1 cat:2")).splits["train"]
    rows = split.rows()
    assert rows.features["label"].names == ["cat", "owl"]
    assert rows["label"][:] == [0, 0, 1]
    assert rows.data["image"].to_pylist() == [
        {"bytes": None, "path": str(tmp_path / name)}
        for name in ("cat/0.png", "cat/1.png", "owl/0.png")
    ]
    assert [*split.contents][2] == ("owl", tmp_path / "owl" / "0.png")
