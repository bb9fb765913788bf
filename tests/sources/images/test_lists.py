"""Labels of images in one folder: Tiny-ImageNet, ImageNet's devkit, Kaggle's and other tables."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from moesuite import UserError
from tests.sources.images.made import BOTH, VAL, make, read, shown

DEVKIT = "ILSVRC2012_devkit_t12/data"
FLAT = " ".join(f"ILSVRC2012_val_0000000{number}.JPEG" for number in (1, 2, 3))


def flat(folder: str, names: str = FLAT) -> str:
    return " ".join(f"{folder}/{name}" for name in names.split())


def write(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")


def devkit(folder: Path, truth: str) -> None:
    """Write a devkit of three synsets, not in the order of their WordNet ids."""
    write(folder / DEVKIT / "ILSVRC2012_validation_ground_truth.txt", truth)
    fields = [("ILSVRC2012_ID", int), ("WNID", object), ("num_children", int)]
    synsets = np.array([(1, "n03", 0), (2, "n01", 0), (3, "n02", 2)], dtype=fields)
    savemat(folder / DEVKIT / "meta.mat", {"synsets": synsets})


def test_tiny_imagenet(tmp_path: Path) -> None:
    """Its folder `val/images` is no class, and its test images have no labels."""
    make(tmp_path, "train/n01/images:2 train/n02/images:3 val/images:3 test/images:4 wnids.txt")
    make(tmp_path, "train/n01/n01_boxes.txt words.txt")
    lines = ("0.png\tn02\t0\t32\t44\t62", "1.png\tn01\t1\t1\t9\t9", "2.png\tn02\t0\t0\t9\t9")
    write(tmp_path / "val" / "val_annotations.txt", "\n".join(lines))
    tree = read(tmp_path, {"train": "train", "test": "valid"})
    assert shown(tree) == {"train": "train: n01=2 n02=3", "test": "val: n01=1 n02=2"}
    assert [file.name for file in tree.splits["test"].files] == ["1.png", "0.png", "2.png"]
    assert tree.notes == (
        "not used: test/ (4 images without labels)",
        "labels of val are read from val_annotations.txt",
        "left out, for they are no images: 1 .txt (train/n01/n01_boxes.txt)",
    )


@pytest.mark.parametrize(
    ("train", "val"), [("train", "val"), ("ILSVRC2012_img_train", "ILSVRC2012_img_val")]
)
def test_imagenet_with_its_devkit(tmp_path: Path, train: str, val: str) -> None:
    """Line 1 of the ground truth says 2: the synset with that ILSVRC2012_ID is n01."""
    make(tmp_path, f"{train}/n01:2 {train}/n03:1 {flat(val)}")
    devkit(tmp_path, "2\n1\n1\n")
    tree = read(tmp_path, VAL)
    assert shown(tree) == {"train": f"{train}: n01=2 n03=1", "test": f"{val}: n01=1 n03=2"}
    assert tree.splits["test"].files[0].stem == "ILSVRC2012_val_00000001"


def test_a_part_of_imagenets_validation_images(tmp_path: Path) -> None:
    """The number in a name is the line, whichever images are there."""
    make(tmp_path, f"train/n01:2 train/n03:1 {flat('val', 'ILSVRC2012_val_00000003.JPEG')}")
    devkit(tmp_path, "2\n2\n1\n")
    assert shown(read(tmp_path, VAL))["test"] == "val: n01=0 n03=1"


def test_a_devkit_without_its_synsets(tmp_path: Path) -> None:
    make(tmp_path, f"train/n01:2 train/n03:1 {flat('val')}")
    devkit(tmp_path, "2\n1\n1\n")
    (tmp_path / DEVKIT / "meta.mat").unlink()
    with pytest.raises(UserError, match=f"{DEVKIT} has no meta.mat; expected ILSVRC2012_val"):
        read(tmp_path, VAL)


@pytest.mark.parametrize("broken", [b"", b"no MATLAB file at all", b"MATLAB 5.0 MAT-file"])
def test_a_devkit_that_is_broken(tmp_path: Path, broken: bytes) -> None:
    make(tmp_path, f"train/n01:2 train/n03:1 {flat('val')}")
    devkit(tmp_path, "2\n1\n1\n")
    (tmp_path / DEVKIT / "meta.mat").write_bytes(broken)
    with pytest.raises(UserError, match=r"unpack ILSVRC2012_devkit_t12.tar.gz$"):
        read(tmp_path, VAL)


def test_a_ground_truth_that_is_too_short(tmp_path: Path) -> None:
    make(tmp_path, f"train/n01:2 train/n03:1 {flat('val')}")
    devkit(tmp_path, "2\n1\n")
    with pytest.raises(UserError, match=r"has no label for 1 of the 3 images in .*00003.JPEG"):
        read(tmp_path, VAL)


def test_kaggles_imagenet(tmp_path: Path) -> None:
    """The list lies four folders above the images; the sample submission is no list of labels."""
    inner = "ILSVRC/Data/CLS-LOC"
    make(tmp_path, f"{inner}/train/n01:2 {inner}/train/n03:1 {flat(f'{inner}/val')}")
    make(tmp_path, f"{inner}/test/ILSVRC2012_test_00000001.JPEG")
    boxes = [f"ILSVRC2012_val_0000000{n},n0{n} 85 1 499 272 n0{n} 1 2 3 4 " for n in (1, 3)]
    boxes.append("ILSVRC2012_val_00000002,n01 1 2 3 4 ")
    write(tmp_path / "LOC_val_solution.csv", "\n".join(["ImageId,PredictionString", *boxes]))
    sample = "ImageId,PredictionString\nILSVRC2012_test_00000001,n01 1 2 3 4"
    write(tmp_path / "LOC_sample_submission.csv", sample)
    tree = read(tmp_path)
    assert shown(tree) == {"train": "train: n01=2 n03=1", "test": "val: n01=2 n03=1"}
    assert tree.notes == (
        f"images are read from {inner}/",
        "not used: test/ (1 image without labels)",
        "labels of val are read from LOC_val_solution.csv",
    )


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("train/metadata.csv", "file_name,label\n0.png,cat\n1.png,dog\n2.png,cat\n"),
        ("labels.csv", "id,breed\n0,cat\n1,dog\n2,cat\n"),
        ("labels.csv", "Image;Id\n0.png;cat\n1.png;dog\n2.png;cat\n"),
        (
            "metadata.jsonl",
            '{"file_name": "train/0.png", "label": "cat", "x": null}\n\n'
            '{"file_name": "./train/1.png", "label": "dog"}\n{"label": "cat", "file_name": "2"}',
        ),
        ("labels.tsv", "path\tbox\tclass\ntrain/0.png\t1\tcat\ntrain/1.png\t2\tdog\n2.png\t3\tcat"),
        ("train_labels.csv", "\ufeffImage,Category\n2.png,cat\n1.png,dog\n0.png,cat\n9.png,owl"),
    ],
)
def test_tables_of_labels(tmp_path: Path, file: str, text: str) -> None:
    make(tmp_path, "train:3")
    write(tmp_path / file, text)
    assert shown(read(tmp_path)) == {"train": "train: cat=2 dog=1"}


def test_images_and_a_table_in_one_folder(tmp_path: Path) -> None:
    make(tmp_path, "a.png b.png c.png")
    write(tmp_path / "labels.csv", "file,label\na.png,x\nb.png,y\nc.png,x\n")
    tree = read(tmp_path)
    assert shown(tree) == {"train": ": x=2 y=1"}
    assert tree.notes == ("labels of the images are read from labels.csv",)


def test_a_list_for_another_split_is_not_used(tmp_path: Path) -> None:
    """Images of both splits are called 0.png and 1.png: train.csv says nothing of those in test."""
    make(tmp_path, "train:2 test:2")
    write(tmp_path / "train.csv", "id,label\n0,cat\n1,dog\n")
    tree = read(tmp_path)
    assert shown(tree) == {"train": "train: cat=1 dog=1"}
    assert tree.notes[0] == "not used: test/ (2 images without labels)"


def test_one_list_for_images_of_the_same_names(tmp_path: Path) -> None:
    make(tmp_path, "train:2 test:2")
    write(tmp_path / "labels.csv", "id,label\n0,cat\n1,dog\n")
    with pytest.raises(
        UserError, match=r"images of test/ and train/ have the same names \(0, 1\); expected a list"
    ):
        read(tmp_path)


def test_one_list_that_names_the_folders(tmp_path: Path) -> None:
    make(tmp_path, "train:2 test:2")
    lines = ("train/0.png,cat", "train/1.png,dog", "test/0.png,dog", "test/1.png,dog")
    write(tmp_path / "labels.csv", "\n".join(["file,label", *lines]))
    assert shown(read(tmp_path, BOTH)) == {
        "train": "train: cat=1 dog=1",
        "test": "test: cat=0 dog=2",
    }


def test_a_list_without_some_of_the_images(tmp_path: Path) -> None:
    make(tmp_path, "train:4")
    write(tmp_path / "labels.csv", "file,label\n0.png,cat\n1.png,dog\n")
    with pytest.raises(
        UserError, match=r"labels.csv has no label for 2 of the 4 images in .* \(2.png, 3.png\)"
    ):
        read(tmp_path)


def test_two_labels_for_an_image(tmp_path: Path) -> None:
    make(tmp_path, "train:2")
    write(tmp_path / "labels.csv", "file,label\n0.png,cat\n1.png,dog\n1.png,cat\n0.png,cat\n")
    with pytest.raises(
        UserError, match=r"labels.csv has 2 labels for 1.png \(cat, dog\); expected one"
    ):
        read(tmp_path)


def test_splits_in_a_word_with_lists_of_their_own(tmp_path: Path) -> None:
    make(tmp_path, "train_images:3 test_images:2")
    write(tmp_path / "train.csv", "id_code,diagnosis\n0,1\n1,0\n2,1\n")
    write(tmp_path / "test.csv", "id_code\n0\n1\n")
    tree = read(tmp_path)
    assert shown(tree) == {"train": "train_images: 0=1 1=2"}
    assert tree.notes[0] == "not used: test_images/ (2 images without labels)"
