"""Folders of texts: which files are which split, at whatever depth and by whatever usual name."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from tests.tasks.language.sources import THREE, Case, check, lines

CASES = {
    "dev and valid": Case(
        {"train.txt": lines(900), "dev.txt": lines(100), "valid.txt": lines(60), "test.txt": "abc"},
        {"train": 900, "val": 160, "test": 4},
        ("val is dev, valid together",),
    ),
    "trainset": Case(
        {"trainset.txt": lines(900), "devset.txt": lines(100), "testset.txt": lines(50)}, THREE
    ),
    "traindata": Case(
        {"traindata.txt": lines(900), "testdata.txt": lines(50)}, {"train": 900, "test": 50}
    ),
    "myTrain": Case(
        {"myTrain.txt": lines(900), "myValid.txt": lines(100), "myTest.txt": lines(50)}, THREE
    ),
    "compressed copies": Case(
        {
            "train.txt": lines(900),
            "train.txt.gz": gzip.compress(lines(900)),
            "test.txt": lines(50),
            "test.txt.gz": gzip.compress(lines(50)),
        },
        {"train": 900, "test": 50},
        ("not used: test.txt.gz, train.txt.gz",),
    ),
    "files of equal content": Case(
        {"train/a.txt": lines(400), "train/b.txt": lines(400), "test/c.txt": lines(50)},
        {"train": 800, "test": 50},
        ("1 files repeat one of their split: b.txt of a.txt",),
    ),
    "a script that makes the text": Case(
        {
            "1-train/train.sh": "make",
            "data/ptb.train.txt": lines(900),
            "data/ptb.valid.txt": lines(100),
            "data/ptb.test.txt": lines(50),
        },
        THREE,
        ("not used: 1-train/train.sh",),
    ),
    "IMDB": Case(
        {
            "train/pos/0_9.txt": lines(100),
            "train/neg/0_1.txt": lines(110),
            "train/unsup/0_0.txt": lines(120),
            "train/urls_pos.txt": "http://www.imdb.com/1\nhttp://www.imdb.com/2\n",
            "test/pos/0_9.txt": lines(130),
            "test/neg/0_1.txt": lines(140),
            "imdb.vocab": "the",
            "README": "x",
        },
        {"train": 330, "test": 270},
        ("not used: imdb.vocab, train/urls_pos.txt",),
    ),
    "files at other depths": Case(
        {"train/a.txt": lines(500), "train/sub/b.txt": lines(400), "test/sub/c.txt": lines(50)},
        {"train": 900, "test": 50},
    ),
    "a test split deeper": Case(
        {"train.txt": lines(900), "data/valid.txt": lines(100), "data/test.txt": lines(50)}, THREE
    ),
    "a training split deeper": Case(
        {"corpus/train.txt": lines(900), "test.txt": lines(50)}, {"train": 900, "test": 50}
    ),
    "a folder called test": Case(
        {
            "test/data/train.txt": lines(900),
            "test/data/valid.txt": lines(100),
            "test/data/test.txt": lines(50),
        },
        THREE,
    ),
    "domains whose names differ by a number": Case(
        {
            "wikitext-103/wiki.train.tokens": lines(900),
            "wikitext-103/wiki.test.tokens": lines(50),
            "wikitext-2/wiki.train.tokens": lines(400),
            "wikitext-2/wiki.test.tokens": lines(40),
        },
        {"train": 1300, "test/wikitext-103": 50, "test/wikitext-2": 40},
    ),
    "numbers in names of domains": Case(
        {
            "V2-train.txt": lines(900),
            "V2-test.txt": lines(50),
            "ptb-train.txt": lines(400),
            "ptb-test.txt": lines(40),
        },
        {"train": 1300, "test/V2": 50, "test/ptb": 40},
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_layouts(name: str, tmp_path: Path) -> None:
    check(CASES[name], tmp_path / "source")
