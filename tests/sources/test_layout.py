"""Names of files and folders as splits: words, shards, nested folders, what only looks like one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from moesuite.sources.layout import assign, found_in, homes, is_paper, list_files, role_of, split_of
from tests.sources.files import TRAIN_TEST, write


@pytest.mark.parametrize(
    ("name", "role"),
    [
        ("train", "train"),
        ("TRAIN", "train"),
        ("training", "train"),
        ("ptb.train", "train"),
        ("train_prefs", "train"),
        ("my-set-train", "train"),
        ("val", "val"),
        ("Valid", "val"),
        ("validation_matched", "val"),
        ("dev", "val"),
        ("development", "val"),
        ("test", "test"),
        ("eval", "test"),
        ("Evaluation", "test"),
        ("val2017", "val"),
        ("my val", "val"),
        ("train_test", None),
        ("trainer", None),
        ("contest", None),
        ("latest", None),
        ("test_of_time", None),
        ("dev-for-you", None),
        ("training_and_test", "test"),
        ("trainset", "train"),
        ("dev_set", "val"),
        ("testdata", "test"),
        ("myTrain", "train"),
        ("mySetTest2", "test"),
        ("dataset", None),
        ("testament", None),
        ("trainStation", None),
        ("", None),
    ],
)
def test_the_role_that_a_name_says(name: str, role: str | None) -> None:
    assert role_of(name) == role


@pytest.mark.parametrize(
    ("path", "split"),
    [
        ("train.csv", "train"),
        ("Train.CSV.gz", "train"),
        ("data/train-00000-of-00001.parquet", "train"),
        ("data/train_prefs-00000-of-00001.parquet", "train_prefs"),
        ("data/train_prefs-00000-of-00001-6d2dd4b3b2d5c3d8.parquet", "train_prefs"),
        ("plain/train/0000.parquet", "train"),
        ("plain/partial-train/0003.parquet", "partial-train"),
        ("test_1.jsonl", "test"),
        ("wiki.valid.tokens", "wiki.valid"),
        ("validation/part-3.csv", "validation"),
        ("train/test_of_time.txt", "train"),
        ("test/train_station.txt", "test"),
        ("test_of_time.txt", None),
        ("data.csv", None),
        ("part-00001.parquet", None),
    ],
)
def test_the_split_of_a_file(path: str, split: str | None) -> None:
    assert split_of(Path("own") / path, Path("own")) == split


FOLDERS: dict[str, tuple[Sequence[str], Mapping[str, str], dict[str, list[str]], list[str]]] = {
    "synonyms in any case": (
        ("Training.csv", "VALID.csv", "Eval.csv"),
        TRAIN_TEST,
        {"train": ["Training.csv"], "val": ["VALID.csv"], "test": ["Eval.csv"]},
        [],
    ),
    "validation is scored": (
        ("train.csv", "dev.csv"),
        TRAIN_TEST,
        {"train": ["train.csv"], "test": ["dev.csv"]},
        [],
    ),
    "the declared name first": (
        ("train_prefs.csv", "train_sft.csv", "test_prefs.csv", "test_sft.csv"),
        {"train": "train_prefs", "test": "test_prefs"},
        {"train": ["train_prefs.csv"], "test": ["test_prefs.csv"]},
        ["test_sft.csv", "train_sft.csv"],
    ),
    "the very name before others": (
        ("train.csv", "train_old.csv", "test.csv"),
        TRAIN_TEST,
        {"train": ["train.csv"], "test": ["test.csv"]},
        ["train_old.csv"],
    ),
    "shards in order": (
        ("train-00001-of-00002.csv", "train-00000-of-00002.csv", "test.csv"),
        TRAIN_TEST,
        {"train": ["train-00000-of-00002.csv", "train-00001-of-00002.csv"], "test": ["test.csv"]},
        [],
    ),
    "folders": (
        ("train/a.csv", "train/b.csv", "test/a.csv", "notes.csv"),
        TRAIN_TEST,
        {"train": ["train/a.csv", "train/b.csv"], "test": ["test/a.csv"]},
        ["notes.csv"],
    ),
    "none called so": (("a.csv", "b.csv"), TRAIN_TEST, {}, ["a.csv", "b.csv"]),
    "what lies below the folder of a split": (
        ("train/a.csv", "train/b/c.csv", "test/d/e.csv"),
        TRAIN_TEST,
        {"train": ["train/a.csv", "train/b/c.csv"], "test": ["test/d/e.csv"]},
        [],
    ),
    "files of all splits in a folder called like one": (
        ("test/data/train.csv", "test/data/myTest.csv", "test/data/test.csv"),
        TRAIN_TEST,
        {"train": ["test/data/train.csv"], "test": ["test/data/test.csv"]},
        ["test/data/myTest.csv"],
    ),
    "a split for each role of a set for testing": (
        ("dev_matched.csv", "dev_mismatched.csv"),
        {"test": "validation_matched", "test1": "validation_mismatched"},
        {"test": ["dev_matched.csv"], "test1": ["dev_mismatched.csv"]},
        [],
    ),
}


@pytest.mark.parametrize("case", FOLDERS)
def test_files_get_roles(case: str) -> None:
    names, declared, roles, unused = FOLDERS[case]
    folder = Path("own")
    assigned = assign([folder / name for name in names], folder, declared)
    found = {
        role: [str(file.relative_to(folder)) for file in files]
        for role, files in assigned.roles.items()
    }
    assert found == roles
    assert [str(file.relative_to(folder)) for file in assigned.unused] == unused


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (("train.csv", "test.csv"), [""]),
        (("data/train.csv", "data/test.csv"), ["data"]),
        (("train/a.csv", "test/a.csv"), [""]),
        (("a/train.csv", "b/train.csv", "b/test.csv"), ["a", "b"]),
        (("a/train/x/1.csv", "a/test/y/z/2.csv"), ["a"]),
        (("plain/train/0000.csv", "plain/test/0000.csv", "raw/train/0.csv"), ["plain", "raw"]),
    ],
)
def test_a_data_set_is_at_home_where_all_its_splits_are(
    names: Sequence[str], expected: Sequence[str]
) -> None:
    folder = Path("own")
    assert sorted(homes([folder / name for name in names], folder)) == expected


def test_what_describes_data_is_told_from_data(tmp_path: Path) -> None:
    papers = ("README.md", "readme.txt", "LICENSE", "Licence.txt", "CITATION.cff", "state.json")
    assert all(is_paper(Path(name)) for name in papers)
    assert not any(is_paper(Path(name)) for name in ("train.csv", "readings.csv", "notices.txt"))
    junk = (".hidden.csv", "__MACOSX/a.csv", ".ipynb_checkpoints/a.csv", "~$a.csv", "Thumbs.db")
    write(tmp_path, dict.fromkeys((*papers, *junk, "a.csv"), "x"))
    assert [file.name for file in list_files(tmp_path) if not is_paper(file)] == ["a.csv"]


@pytest.mark.parametrize(
    ("files", "says"),
    [
        ({}, "it is empty"),
        ({"README.md": "x"}, "it holds only what describes data: README.md"),
        ({"a.sgf": "x"}, "it holds 1 .sgf (a.sgf)"),
        ({"Makefile": "x"}, "it holds 1 files without a suffix (Makefile)"),
        (
            {"a/1.png": "x", "a/2.PNG": "x", "b.wav": "x"},
            "it holds 2 .png, 1 .wav (a/1.png, a/2.PNG, b.wav); such files are read by "
            "task=imagenet",
        ),
        ({"a.txt": "x"}, "it holds 1 .txt (a.txt); such files are read by task=tinyshakespeare"),
    ],
)
def test_what_a_folder_holds_in_words(files: Mapping[str, str], says: str, tmp_path: Path) -> None:
    assert found_in(write(tmp_path, files)) == says
