"""Image trees that are refused, in the exact words, and folders that are none."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from moesuite import UserError
from moesuite.sources.images.tree import read_image_tree
from tests.sources.images.made import BOTH, make

REFUSED = {
    "validation images without labels": (
        "train/a:2 train/b:1 val:3",
        "3 images of val/ in no class folders (0.png, ...), and no list of their labels; expected "
        "val/<class>/<image>, or val/labels.csv with the columns file_name and label",
    ),
    "ImageNet's validation images without the devkit": (
        "train/a:2 train/b:1 val/ILSVRC2012_val_00000001.JPEG",
        "1 image of val/ in no class folders (ILSVRC2012_val_00000001.JPEG, ...), and no list of "
        "their labels; expected val/<class>/<image>, or below {0} ILSVRC2012_devkit_t12/data/ with "
        "its ground truth and meta.mat, or LOC_val_solution.csv",
    ),
    "splits without classes": (
        "train:2 val:2",
        "2 images of train/ in no class folders (0.png, ...), and no list of their labels; "
        "expected train/<class>/<image>, or train/labels.csv with the columns file_name and label",
    ),
    "no folders": (
        "x.png y.png",
        "2 images of it in no class folders (x.png, ...), and no list of their labels; expected "
        "<class>/<image>, or labels.csv with the columns file_name and label",
    ),
    "one class": (
        "train/a:2 test/a:1",
        "all images for training are of one class, a; expected two or more: <class>/<image>, or "
        "train/<class>/<image>",
    ),
    "no training split": (
        "val/a:2 val/b:1",
        "no split train, only val/; expected train/<class>/<image>",
    ),
    "classes beside a validation split": (
        "a:2 b:1 val/a:1 val/b:1",
        "no split train, only val/ and beside them a/, b/; move the class folders of that split "
        "into {0}/train",
    ),
    "a class beside that is called test": (
        "a:2 b:1 test:1",
        "no split train, only test/ and beside them a/, b/; move the class folders of that split "
        "into {0}/train, or, if all of them are classes, type task.splits.train=.",
    ),
    "training images still in archives": (
        "train/n01.tar train/n02.tar val/n01:1 val/n02:1",
        "no split train, only val/; train/ holds no images: it holds 2 .tar (n01.tar, n02.tar); "
        "expected train/<class>/<image>",
    ),
    "splits in a word, without classes": (
        "train_images:2 test_images:1",
        "2 images of train_images/ in no class folders (0.png, ...), and no list of their labels; "
        "expected train_images/<class>/<image>, or train_images/labels.csv with the columns "
        "file_name and label",
    ),
    "segmentation": (
        "train/images:2 train/masks:2 val/images:1 val/masks:1",
        "train/ holds images/, masks/, which are no classes; expected a folder for each class: "
        "<class>/<image>",
    ),
    "detection": (
        "train/images:2 train/labels/0.txt",
        "all images for training are of one class, images; expected two or more: <class>/<image>, "
        "or train/<class>/<image>",
    ),
    "splits in a split": (
        "train/train/a:2 train/train/b:1 train/val/a:1 test/a:1",
        "train/ holds train/, val/: splits in a split; expected <split>/<class>/<image>; type for "
        "example task.source={0}/train",
    ),
    "splits in a split without classes": (
        "train/train:2 train/val:1 test/a:1",
        "train/ holds train/, val/: splits in a split; expected <split>/<class>/<image>; rename "
        "them if they are classes",
    ),
    "folds": (
        "fold1/a:1 fold1/b:1 fold2/a:1 fold2/b:1",
        "fold1/, fold2/, each with a/, b/: splits, folds or classes? if they are splits, type for "
        "example task.splits.train=fold1 task.splits.test=fold2; if they are classes, type "
        "task.splits.train=.",
    ),
    "splits of another language": (
        "teßt/a:1 teßt/b:1 träin/a:2 träin/b:1",
        "teßt/, träin/, each with a/, b/: splits, folds or classes? if they are splits, type for "
        "example 'task.splits.train=\"träin\"' 'task.splits.test=\"teßt\"'; if they are classes, "
        "type task.splits.train=.",
    ),
    "parts of a split": (
        "train/big/a:1 train/big/b:1 train/small/a:1 train/small/b:1",
        "train/ holds big/, small/, each with a/, b/: which are the classes? expected "
        "train/<class>/<image>; move for example big/a and small/a into train/a, or the images of "
        "big/a into big",
    ),
    "splits below some classes": (
        "a/train:2 a/test:1 b:3",
        "a/ holds test/, train/, b/ does not; expected <split>/<class>/<image>, or "
        "<class>/<split>/<image> for every class",
    ),
    "several data sets": (
        "flowers/train/a:1 flowers/test/a:1 birds/train/b:1 birds/test/b:1",
        "2 data sets in one folder: birds/, flowers/; expected one; type for example "
        "task.source={0}/birds",
    ),
    "only what Pillow cannot read": (
        "a/x.heic b/y.heic",
        "no image that Pillow can read, but 2 .heic (a/x.heic, b/y.heic); convert them, for "
        "example to PNG",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_trees_that_are_refused(tmp_path: Path, name: str) -> None:
    files, sentence = REFUSED[name]
    whole = f"task.source={tmp_path}: {sentence.format(tmp_path)}"
    with pytest.raises(UserError, match=f"^{re.escape(whole)}$"):
        read_image_tree(make(tmp_path, files), BOTH)


def test_a_folder_without_images_is_no_tree(tmp_path: Path) -> None:
    assert read_image_tree(make(tmp_path, "train.csv README.md a/b/c.txt"), BOTH) is None


def test_pictures_beside_tables_are_no_tree(tmp_path: Path) -> None:
    make(tmp_path, "train.csv logo.png figures:2")
    assert read_image_tree(tmp_path, BOTH, tables=True) is None


def test_a_name_that_is_not_utf8(tmp_path: Path) -> None:
    make(tmp_path, "a:1 b:1")
    (tmp_path / "a" / os.fsdecode(b"caf\xe9.png")).touch()
    with pytest.raises(UserError, match=r"caf.udce9.png': the name is not UTF-8; expected"):
        read_image_tree(tmp_path, BOTH)
