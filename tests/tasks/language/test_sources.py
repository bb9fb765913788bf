"""Texts as people have them: which bytes become which split, or the sentence of refusal."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
from pathlib import Path

import pytest
import zstandard

from tests.tasks.language.sources import THREE, Case, check, lines, rows, table

# 1,000 bytes, of which the last line end does not count: 899, 50 and 50 bytes, and a line end each
CUT = {"train": 900, "val": 51, "test": 51}
IN_ORDER = "90/5/5 in its order"
VALID_SCORED = "no test split: the validation split ({}) is scored"
OWN = {"train": "mine", "val": "none", "test": "yours"}
CASES = {
    "a file": Case({"a.txt": lines(1000)}, CUT, about=IN_ORDER, source="a.txt"),
    "a folder of a file": Case(
        {"enwik8": lines(1000), "README.md": "hi", "LICENSE": "yes", ".hidden/x.txt": "no"}, CUT
    ),
    "PTB": Case(
        {"ptb.train.txt": lines(900), "ptb.valid.txt": lines(100), "ptb.test.txt": lines(50)}, THREE
    ),
    "WikiText": Case(
        {
            "wikitext-2/wiki.test.tokens": lines(50),
            "wikitext-2/wiki.train.tokens": lines(900),
            "wikitext-2/wiki.valid.tokens": lines(100),
        },
        THREE,
    ),
    "WikiText without test": Case(
        {"wiki.train.tokens": lines(900), "wiki.valid.tokens": lines(100)},
        {"train": 900, "test": 100},
        (VALID_SCORED.format("wiki.valid"),),
    ),
    "folders in capitals": Case(
        {"Train/b.txt": lines(500), "Train/a.txt": lines(400), "VAL/c.txt": lines(100)},
        {"train": 900, "test": 100},
        (VALID_SCORED.format("val"),),
    ),
    "dev is val": Case(
        {"train.txt": lines(900), "dev.txt": lines(100), "test.txt": lines(50)}, THREE
    ),
    "no validation": Case(
        {"train.txt": lines(900), "test.txt": lines(50)}, {"train": 900, "test": 50}
    ),
    "One Billion Word": Case(
        {
            "training-monolingual/news.en-00001-of-00002": lines(500),
            "training-monolingual/news.en-00002-of-00002": lines(400),
            "heldout-monolingual/news.en.heldout-00000-of-00001": lines(50),
        },
        {"train": 900, "test": 50},
    ),
    "TinyStories": Case(
        {"TinyStories-train.txt": lines(900), "TinyStories-valid.txt": lines(100)},
        {"train": 900, "test": 100},
        options={"splits": {"train": "train", "test": "validation"}},
    ),
    "names of one's own": Case(
        {"mine_1.txt": lines(500), "mine-2.txt": lines(400), "yours.txt": lines(50)},
        {"train": 900, "test": 50},
        options={"splits": OWN},
    ),
    "a split alone": Case(
        {"train.txt": lines(1000), "make.py": "x", "vocabulary.json": "{}"},
        CUT,
        ("not used: make.py, vocabulary.json",),
        IN_ORDER,
    ),
    "one of the splits": Case(
        {"wiki.train.tokens": lines(1000), "wiki.test.tokens": lines(50)},
        CUT,
        ("not used: wiki.test.tokens; task.source={d} reads them",),
        source="wiki.train.tokens",
    ),
    "shards in their order": Case(
        {f"part-{n}.txt": lines(100, chr(97 + n)) for n in range(1, 11)},
        CUT,
        about="10 files joined by name, 90/5/5 in their order",
    ),
    "documents": Case(
        {f"{n:03}/text.txt": lines(100, chr(97 + n)) for n in range(20)},
        {"train": 1800, "val": 100, "test": 100},
        about="20 files, whole ones to 90/5/5 by the hash of their contents",
    ),
    "two domains": Case(
        {"code.txt": lines(400), "wiki.txt": lines(1000), "readme": "two"},
        {"train": 360 + 900, "val/code": 21, "test/code": 21, "val/wiki": 51, "test/wiki": 51},
        about="2 domains of source: text of code, 90/5/5 in its order; text of wiki",
    ),
    "domains in folders": Case(
        {"code/b.py": lines(400), "wiki/train.txt": lines(900), "wiki/valid.txt": lines(100)},
        {"train": 360 + 900, "val/code": 21, "test/code": 21, "test/wiki": 100},
        ("wiki: " + VALID_SCORED.format("valid"),),
    ),
    "domains within splits": Case(
        {
            "train/code.txt": lines(400),
            "train/wiki.txt": lines(900),
            "test/code.txt": lines(40),
            "test/wiki.txt": lines(50),
        },
        {"train": 1300, "test/code": 40, "test/wiki": 50},
    ),
    "domains by prefix": Case(
        {
            "ptb.train.txt": lines(400),
            "ptb.test.txt": lines(40),
            "wiki.train.tokens": lines(900),
            "wiki.valid.tokens": lines(100),
            "wiki.test.tokens": lines(50),
            "more/a.txt": "x",
        },
        {"train": 1300, "test/ptb": 40, "val/wiki": 100, "test/wiki": 50},
        ("not used: more/a.txt",),
    ),
    "sharded domains": Case(
        {"code.txt": lines(400), "wiki-1.txt": lines(500), "wiki-2.txt": lines(500)},
        {"train": 1260, "val/code": 21, "test/code": 21, "val/wiki": 51, "test/wiki": 51},
        ("wiki: 1 files repeat one of their split: wiki-2.txt of wiki-1.txt",),
    ),
    "domains of tables and text": Case(
        {"code/all.jsonl": rows(20), "wiki/a.txt": lines(1000)},
        {"train": 18 * 6 + 900, "test/code": 12, "val/wiki": 51, "test/wiki": 51},
        about="code, jsonl files of source, a tenth of the training split held out",
    ),
    "gzip": Case({"text8.gz": gzip.compress(lines(1000))}, CUT, source="text8.gz"),
    "zstd, xz and bzip2": Case(
        {
            "train.txt.zst": zstandard.compress(lines(900)),
            "valid.txt.XZ": lzma.compress(lines(100)),
            "test.txt.bz2": bz2.compress(lines(50)),
        },
        THREE,
    ),
    "JSON lines": Case(
        {"train.jsonl": rows(20), "dev.jsonl": rows(3), "notes.txt": "x"},
        {"train": 120, "test": 18},
        (VALID_SCORED.format("dev"), "not used: notes.txt"),
    ),
    "JSON lines in gzip": Case(
        {"a.jsonl.gz": gzip.compress(rows(20, "content").encode())},
        {"train": 108, "test": 12},
        ("column content read as text",),
        "a tenth of the training split held out",
    ),
    "JSON lines without some texts": Case(
        {"train.jsonl": rows(9) + '{"n": 9, "text": null}\n', "test.jsonl": rows(3)},
        {"train": 55, "test": 18},
        ("1 rows of train have no text and are read as empty",),
    ),
    "JSON of splits": Case(
        {"a.json": json.dumps({"train": [{"text": "abcde"}] * 9, "test": [{"text": "abcde"}]})},
        {"train": 54, "test": 6},
    ),
    "CSV": Case({"train.csv": table(20), "test.csv": table(3)}, {"train": 120, "test": 18}),
    "TSV, and a column of one's own": Case(
        {"train.tsv": table(20, "\t", "mine"), "test.tsv": table(3, "\t", "mine")},
        {"train": 120, "test": 18},
        options={"column": "mine"},
    ),
    "byte order mark": Case({"a.txt": b"\xef\xbb\xbf" + lines(1000)}, CUT),
    "UTF-16": Case(
        {"a.txt": lines(1000).decode().encode("utf-16")},
        CUT,
        ("UTF-16 or UTF-32, read as UTF-8: a.txt",),
    ),
    "Windows line ends": Case(
        {"a.txt": lines(1000).replace(b"\n", b"\r\n")},
        # 1,099 bytes without the last line feed
        {"train": 990, "val": 56, "test": 56},
        ("Windows line ends, kept as two bytes each: a.txt",),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_sources(name: str, tmp_path: Path) -> None:
    check(CASES[name], tmp_path / "source")
