"""Lists beside images that tell splits, or classes of their own: used, named or refused."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from moesuite import UserError
from tests.sources.files import write
from tests.sources.images.made import make, read, shown

LISTED: dict[str, tuple[str, Mapping[str, str], dict[str, str], list[str]]] = {
    "a column of splits": (
        "images:4",
        {
            "labels.csv": "file_name,label,split\n0.png,a,train\n1.png,b,Train\n2.png,a,test\n"
            "3.png,b,extra\n"
        },
        {"train": "train, Train: a=1 b=1", "test": "test: a=1 b=0"},
        ["not used: extra/ (1 image)"],
    ),
    "a column of numbers": (
        "images:2",
        {"labels.csv": "file_name,label,split\n0.png,a,1\n1.png,b,0\n"},
        {"train": ": a=1 b=1"},
        ["labels.csv: its column of splits (0, 1) names none and is not used"],
    ),
    "a list for each split of one folder": (
        "images:5",
        {
            "train.csv": "path,label\nimages/0.png,a\nimages/1.png,b\n",
            "test.csv": "path,label\nimages/2.png,a\nimages/3.png,b\n",
        },
        {"train": "train: a=1 b=1", "test": "test: a=1 b=1"},
        ["not used: 1 image in no list (images/4.png)"],
    ),
    "text files, classes from folders": (
        "images/a:2 images/b:2",
        {"meta/train.txt": "a/0\nb/1\n", "meta/test.txt": "a/1.png 0\nb/0.png 1\n"},
        {"train": "train: a=1 b=1", "test": "test: a=1 b=1"},
        ["the split test is read from test.txt"],
    ),
    "text files of some of the images": (
        "images/a:2 images/b:2",
        {"train.txt": "a/0\nb/1\n", "test.txt": "a/1\n"},
        {"train": ": a=2 b=2"},
        ["not used: test.txt, train.txt"],
    ),
    "a column of splits, classes from folders": (
        "images/a:2 images/b:2",
        {"x.csv": "file,split\na/0.png,train\na/1.png,dev\nb/0.png,train\nb/1.png,dev\n"},
        {"train": "train: a=1 b=1", "test": "dev: a=1 b=1"},
        ["the split dev is read from x.csv"],
    ),
    "numbers of images, as CUB has them": (
        "images/1.a:2 images/2.b:1",
        {
            "images.txt": "1 1.a/0.png\n2 1.a/1.png\n3 2.b/0.png\n",
            "train_test_split.txt": "1 1\n2 0\n3 1\n",
        },
        {"train": "train: 1.a=1 2.b=1", "test": "test: 1.a=1 2.b=0"},
        ["the split test is read from train_test_split.txt"],
    ),
    "CUB's lists of something else": (
        "images/1.a:2 images/2.b:1",
        {"images.txt": "1\n", "train_test_split.txt": "1 1\n"},
        {"train": ": 1.a=2 2.b=1"},
        ["not used: train_test_split.txt"],
    ),
    "a column for each class": (
        "images:2",
        {"truth.csv": "image,MEL,NV\n0,0.0,1.0\n1,1.0,0.0\n"},
        {"train": ": MEL=1 NV=1"},
        ["labels of the images are read from truth.csv"],
    ),
    "no header": (
        "images:2",
        {"labels.csv": "images/0.png,a\n1.png,b\n"},
        {"train": ": a=1 b=1"},
        [],
    ),
    "classes by numbers from 0": (
        "1:1 2:1",
        {"labels.csv": "file,label\n1/0.png,0\n2/0.png,1\n"},
        {"train": ": 1=1 2=1"},
        [],
    ),
    "a list of one of the images": (
        "a:2 b:1",
        {"best.csv": "file,label\na/1.png,b\n"},
        {"train": ": a=2 b=1"},
        [],
    ),
    "folders that are no classes": (
        "part_1:2 part_2/2.png part_2/3.png",
        {"metadata.csv": "image_id,dx\n0,a\n1,b\n2,b\n3,a\n"},
        {"train": ": a=2 b=2"},
        ["labels of the images are read from metadata.csv, not from part_1/, part_2/"],
    ),
    "classes by longer names": (
        "n1:1 n2:1",
        {"labels.csv": "file,label\nn1/0.png,gold fish\nn2/0.png,shark\n"},
        {"train": ": n1=1 n2=1"},
        [],
    ),
    "names with their suffix": (
        "images/0.png images/0.jpg",
        {"labels.csv": "file,label\n0.png,a\n0.jpg,b\n"},
        {"train": ": a=1 b=1"},
        ["labels of the images are read from labels.csv"],
    ),
    "names of no image": (
        "images:2",
        {"labels.csv": "file,label\n0.png,a\n1.png,b\n8.png,a\n9.png,b\n"},
        {"train": ": a=1 b=1"},
        ["labels.csv names 2 images that no file is: 8.png, 9.png"],
    ),
}


@pytest.mark.parametrize("name", LISTED)
def test_lists_are_used_or_named(tmp_path: Path, name: str) -> None:
    files, lists, splits, notes = LISTED[name]
    tree = read(write(make(tmp_path, files), lists))
    assert shown(tree) == splits
    assert {*notes} <= {*tree.notes}


@pytest.mark.parametrize(
    ("files", "lists", "says"),
    [
        (
            "a:1 b:1",
            {"labels.csv": "file,label\na/0.png,b\nb/0.png,b\n"},
            "says b of a/0.png, which lies in another class folder; expected one class",
        ),
        (
            "part_1:2 part_2/2.png part_2/3.png",
            {"metadata.csv": "image_id,dx\n0,a\n1,b\n2,b\n"},
            r"has no label for 1 of the 4 images in .* \(3.png\); expected one for each",
        ),
        (
            "images/0.png images/0.jpg",
            {"labels.csv": "id,label\n0,a\n1,b\n"},
            r"0.png have the same name in it \(0\); expected the name of each with its folder",
        ),
        (
            "images:2",
            {"labels.csv": "file,label,split\n0.png,a,train\n0.png,a,test\n1.png,b,train\n"},
            r"has 2 splits for 0.png \(test, train\); expected one for each image",
        ),
    ],
)
def test_lists_that_are_refused(
    tmp_path: Path, files: str, lists: Mapping[str, str], says: str
) -> None:
    write(make(tmp_path, files), lists)
    with pytest.raises(UserError, match=says):
        read(tmp_path)


def test_a_list_by_absolute_paths(tmp_path: Path) -> None:
    make(tmp_path, "images:2")
    lines = [f"{tmp_path}/images/{number}.png,{label}" for number, label in ((0, "a"), (1, "b"))]
    write(tmp_path, {"labels.csv": "\n".join(["file,label", *lines])})
    assert shown(read(tmp_path)) == {"train": ": a=1 b=1"}
