"""The idx files of MNIST: their names, their contents, and what may be wrong with them."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest

from moesuite import UserError
from moesuite.sources.images.split import ImageTree
from tests.sources.images.made import VAL, read, shown

NAMES = ("{}-images-idx3-ubyte", "{}-labels-idx1-ubyte")
SUMS = "train: 0=1 1=2 2=1"  # of labels 0, 1, 2, 1


def pixels(count: int) -> np.ndarray:
    """Return images of 2x3 pixels, all different."""
    return np.arange(count * 6, dtype=np.uint8).reshape(count, 2, 3)


def packed(array: np.ndarray) -> bytes:
    """Return an array of bytes as idx."""
    return struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.tobytes()


def write(
    folder: Path, split: str, labels: list[int], names: tuple[str, str] = NAMES, end: str = ""
) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    arrays = (pixels(len(labels)), np.array(labels, dtype=np.uint8))
    for name, array in zip(names, arrays, strict=True):
        data = gzip.compress(packed(array)) if end else packed(array)
        (folder / f"{name.format(split)}{end}").write_bytes(data)


def check(tree: ImageTree) -> None:
    assert shown(tree) == {"train": SUMS, "test": "test: 0=0 1=0 2=2"}
    np.testing.assert_array_equal(tree.splits["train"].pixels, pixels(4))


@pytest.mark.parametrize("end", ["", ".gz"])
@pytest.mark.parametrize("names", [NAMES, ("{}-images.idx3-ubyte", "{}-labels.idx1-ubyte")])
@pytest.mark.parametrize("place", ["", "MNIST/raw"])
def test_names(tmp_path: Path, names: tuple[str, str], end: str, place: str) -> None:
    write(tmp_path / place, "train", [0, 1, 2, 1], names, end)
    write(tmp_path / place, "t10k", [2, 2], names, end)
    check(read(tmp_path, VAL))


def test_files_that_are_there_twice_are_read_once(tmp_path: Path) -> None:
    """As torchvision leaves them."""
    for split, labels in (("train", [0, 1, 2, 1]), ("t10k", [2, 2])):
        write(tmp_path, split, labels)
        write(tmp_path, split, labels, end=".gz")
    tree = read(tmp_path)
    check(tree)
    files = [file.name for _, file in tree.splits["train"].contents]
    assert files == ["train-images-idx3-ubyte", "train-labels-idx1-ubyte"]


def test_rows_are_images(tmp_path: Path) -> None:
    """Labels begin at 1, as in EMNIST's letters; 10 comes after 2."""
    write(tmp_path, "emnist-letters-train", [10, 1, 2, 1])
    rows = read(tmp_path).splits["train"].rows()
    assert rows.features["label"].names == ["1", "2", "10"]
    assert rows["label"][:] == [2, 0, 1, 0]
    image = rows[3]["image"]
    assert image.mode == "L"
    np.testing.assert_array_equal(np.asarray(image), pixels(4)[3])


def test_seventy_thousand_images_are_ready_soon(tmp_path: Path) -> None:
    labels = np.tile(np.arange(10, dtype=np.uint8), 7000)
    images = np.zeros((70_000, 28, 28), dtype=np.uint8)
    images[-1] = 7
    for name, array in zip(NAMES, (images, labels), strict=True):
        (tmp_path / name.format("train")).write_bytes(packed(array))
    rows = read(tmp_path).splits["train"].rows()
    assert len(rows) == 70_000
    assert np.asarray(rows[69_999]["image"]).min() == 7


def refused(folder: Path, match: str) -> None:
    with pytest.raises(UserError, match=match):
        read(folder)


def test_counts_that_differ(tmp_path: Path) -> None:
    write(tmp_path, "train", [0, 1, 2, 1])
    (tmp_path / NAMES[1].format("train")).write_bytes(packed(np.zeros(3, dtype=np.uint8)))
    refused(
        tmp_path, r"idx3-ubyte holds 4 images, train-labels-idx1-ubyte 3 labels; expected equal"
    )


def test_another_magic_number(tmp_path: Path) -> None:
    write(tmp_path, "train", [0, 1])
    (tmp_path / NAMES[0].format("train")).write_bytes(b"\x89PNG....")
    refused(
        tmp_path, r"idx3-ubyte: begins with 89 50 4e 47; expected 00 00 08 03, the magic number"
    )


@pytest.mark.parametrize("length", [7, 16, 20])
def test_a_file_that_is_cut_off(tmp_path: Path, length: int) -> None:
    write(tmp_path, "train", [0, 1])
    file = tmp_path / NAMES[0].format("train")
    file.write_bytes(file.read_bytes()[:length])
    refused(tmp_path, rf"holds {max(0, length - 16)} bytes of data, its header says .*; expected a")


def test_an_empty_file(tmp_path: Path) -> None:
    write(tmp_path, "train", [0, 1])
    (tmp_path / NAMES[0].format("train")).write_bytes(b"")
    refused(tmp_path, r"idx3-ubyte: is empty; expected an idx file; get it again$")


def test_a_gzip_file_that_is_cut_off(tmp_path: Path) -> None:
    write(tmp_path, "train", [0, 1], end=".gz")
    file = tmp_path / f"{NAMES[0].format('train')}.gz"
    file.write_bytes(file.read_bytes()[:-12])
    refused(tmp_path, r"idx3-ubyte.gz: not a whole gzip file")


def test_images_without_labels(tmp_path: Path) -> None:
    write(tmp_path, "train", [0, 1])
    (tmp_path / NAMES[1].format("train")).unlink()
    refused(tmp_path, r"no file of its labels beside it; expected train-labels-idx1-ubyte")


def test_no_training_images(tmp_path: Path) -> None:
    write(tmp_path, "t10k", [0, 1])
    refused(tmp_path, r"no idx files of the split 'train'; there are test; expected train-images")


def test_two_data_sets(tmp_path: Path) -> None:
    for name in ("FashionMNIST", "MNIST"):
        write(tmp_path / name / "raw", "train", [0, 1])
    refused(tmp_path, rf"type for example task.source={tmp_path}/FashionMNIST/raw")
