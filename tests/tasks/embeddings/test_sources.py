"""Data of texts as people have it: layouts and formats, and what is read of each."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import datasets
import pytest

from moesuite import compose
from moesuite.train.build import build_task
from tests.tasks.embeddings.reading import read
from tests.tasks.local_data import BYTES
from tests.tasks.text_files import pairs, renamed, texts, write


def saved(folder: Path) -> None:
    splits = {"train": pairs(0, 2), "validation": pairs(9, 1)}
    tables = {name: datasets.Dataset.from_list(rows) for name, rows in splits.items()}
    datasets.DatasetDict(tables).save_to_disk(str(folder / "mine"))


def orders_of_classes(folder: Path) -> None:
    """Write ClassLabels whose order differs between splits."""
    for split, names in {"train": ["neg", "pos"], "test": ["pos", "neg"]}.items():
        features = datasets.Features(
            {"text": datasets.Value("string"), "label": datasets.ClassLabel(names=names)}
        )
        columns = {"text": [f"{split} a", f"{split} b"], "label": [0, 1]}
        (folder / "MR").mkdir(exist_ok=True)
        datasets.Dataset.from_dict(columns, features=features).to_parquet(
            str(folder / "MR" / f"{split}.parquet")
        )


# kind, files or what writes them, source below the folder, names -> data sets, examples of each
# role, what stands among the notes
READ: dict[str, tuple[str, Any, str, list[str] | None, list[str], dict[str, int], str]] = {
    "one csv: a tenth held out": (
        "similarity", {"mine.csv": pairs(0, 10, 9 / 2)[:1] * 5 + pairs(1, 5)}, "mine.csv", None,
        ["mine"], {"test": 1}, "",
    ),
    "test alone, as tsv": (
        "similarity", {"d/test.tsv": pairs(0, 3)}, "d", None, ["d"], {"test": 3}, "",
    ),
    "dev alone is scored": (
        "similarity", {"d/dev.jsonl": pairs(0, 3)}, "d", None, ["d"], {"test": 3},
        "no test split: the validation split (dev) is scored",
    ),
    "train and valid.csv": (
        "similarity", {"d/train.csv": pairs(0, 3), "d/valid.csv": pairs(7, 2)}, "d", None,
        ["d"], {"train": 2, "test": 2}, "no test split: the validation split (valid) is scored",
    ),
    "train, dev and test": (
        "similarity",
        {"d/train.json": pairs(0, 3), "d/dev.json": pairs(7, 2), "d/test.json": pairs(9, 4)},
        "d", None, ["d"], {"train": 2, "val": 2, "test": 4}, "",
    ),
    "scores of 0 to 1 under other names": (
        "similarity",
        {"d/test.csv": renamed(pairs(0, 2, 1.0), "text_a", "text_b", "similarity_score")},
        "d", None, ["d"], {"test": 2}, "scores of 0 to 1 are read as 0 to 5",
    ),
    "columns by usual names are told": (
        "similarity", {"d/test.csv": renamed(pairs(0, 2), "s1", "s2", "label")},
        "d", None, ["d"], {"test": 2},
        "column s1 read as sentence1, column s2 read as sentence2, column label read as score",
    ),
    "save_to_disk": (
        "similarity", saved, ".", ["mine"], ["mine"], {"train": 2, "test": 1},
        "no test split: the validation split (validation) is scored",
    ),
    "a folder for each set, declared ones first": (
        "similarity",
        {"all/own/test.csv": pairs(0, 2), "all/stsb/test.parquet": pairs(0, 3)},
        "all", None, ["STSBenchmark", "own"], {"test": 5}, "not in",
    ),
    "a file for each set": (
        "similarity", {"all/b.csv": pairs(0, 2), "all/a.csv": pairs(5, 2)}, "all", ["b"],
        ["b"], {"test": 1}, "",
    ),
    "the one set of several names": (
        "similarity", {"x/STS12/test.csv.gz": pairs(0, 2), "x/y/test.csv": pairs(0, 4)},
        "x", ["STS12"], ["STS12"], {"test": 2}, "",
    ),
    "split folders": (
        "similarity", {"d/Train/a.csv": pairs(0, 2), "d/TEST/b.csv": pairs(4, 3)}, "d", None,
        ["d"], {"train": 2, "test": 3}, "",
    ),
    "a row without a text": (
        "similarity", {"d/test.jsonl": [*pairs(0, 3), {**pairs(8, 1)[0], "sentence2": None}]},
        "d", None, ["d"], {"test": 3}, "d, split test: 1 of 4 rows left out, which lack a text: 3",
    ),
    "training pairs of the test split": (
        "similarity", {"d/train.csv": pairs(0, 2), "d/test.csv": pairs(1, 3)}, "d", None, ["d"],
        {"train": 1, "test": 3}, "1 training examples left out: they stand in the test split too",
    ),
    "string labels, by name": (
        "classification",
        {"MR/train.csv": texts(0, "pos", "neg", "pos"), "MR/test.csv": texts(5, "pos", "neg")},
        ".", ["MR"], ["MR"], {"train": 3, "test": 5}, "labels: neg = 0, pos = 1",
    ),
    "classes in another order": (
        "classification", orders_of_classes, "MR", None, ["MR"], {"train": 2, "test": 4},
        "labels of split test have another order: mapped by name",
    ),
    "the declared column of labels": (
        "classification",
        {f"TREC-QC/{split}.jsonl": texts(n, 0, 1, name="label_coarse")
         for n, split in ((0, "train"), (5, "test"))},
        ".", None, ["TREC"], {"train": 2, "test": 4}, "",
    ),
    "rows without a header": (
        "classification", {"N/train.csv": renamed(texts(0, 1, 2), "text 9", "2")}, "N", None,
        ["N"], {"train": 2, "test": 3}, "column column1 read as text, column column2 read as label",
    ),
    "all own sets": (
        "classification",
        {f"all/{name}/{split}.tsv": texts(n, "a", "b")
         for name in ("CR", "MR") for n, split in ((0, "train"), (5, "dev"))},
        "all", None, ["CR", "MR"], {"train": 4, "test": 8},
        "MR: no test split: the validation split (dev) is scored",
    ),
    "questions and answers": (
        "search",
        {"d/train.csv": renamed(texts(0, "x", "y"), "question", "answer"),
         "d/test.csv": renamed(texts(4, "z", "z"), "question", "answer")},
        "d", None, [], {"train": 2, "test": 2}, "1 of 2 test documents repeat others",
    ),
    "several answers of a query": (
        "search",
        {"d/train.csv": renamed(texts(0, "x", "y"), "query", "document"),
         "d/test.csv": renamed(texts(4, "z", "w") + texts(4, "v"), "query", "document")},
        "d", None, [], {"train": 2, "test": 3},
        "1 of 3 test queries repeat others: the answers in the other rows count as wrong",
    ),
    "anchors and positives of one file": (
        "search", {"p.jsonl": renamed(texts(0, *"abcdefghij"), "anchor", "positive")}, "p.jsonl",
        None, [], {"train": 9, "test": 1}, "column anchor read as query",
    ),
}  # fmt: skip


def test_names_beside_the_labels_name_the_classes(tmp_path: Path) -> None:
    for n, split in ((0, "train"), (5, "test")):
        rows = [{**row, "label_text": ("neg", "pos")[row["label"]]} for row in texts(n, 1, 0)]
        write(tmp_path / "MR" / f"{split}.jsonl", rows)
    assert read("classification", tmp_path, "MR").classes == [("neg", "pos")]


@pytest.mark.parametrize("name", READ)
def test_what_is_read(name: str, tmp_path: Path) -> None:
    kind, files, source, names, sets, counts, note = READ[name]
    if callable(files):
        files(tmp_path)
    else:
        for path, rows in files.items():
            write(tmp_path / path, rows)
    reading = read(kind, tmp_path, source, names)
    assert reading.names == sets
    found = {role: len(examples) for role, examples in reading.roles.items()}
    assert {role: found.get(role) for role in counts} == counts
    assert any(note in said for said in reading.notes) or not note, reading.notes
    assert ("a tenth of the training split held out" in reading.description) == (
        "tenth" in name or "one file" in name or "header" in name or "file for each" in name
    )


def test_an_own_set_by_the_command_line(tmp_path: Path) -> None:
    for n, split in ((0, "train"), (5, "test")):
        write(tmp_path / "MR" / f"{split}.tsv", texts(n, "good", "bad"))
    (tmp_path / "MR" / "notes.doc").write_text("", encoding="utf-8")
    words = (f"task.source={tmp_path}", "task.names=[MR]", "backbone=bert_mini", *BYTES)
    task = build_task(compose("task=text_classification", *words).task)
    assert task.description == "MR (tsv files of MR)"
    assert task.notes == ("not used: notes.doc", "labels: bad = 0, good = 1")
    assert list(task.preview("test").labels) == ["good", "bad"]
    assert task.split_sizes() == {"train": 2, "test": 2}


def test_splits_are_told(tmp_path: Path) -> None:
    """`task.splits` holds for every set: here what lies in dev is scored, not test."""
    for split, count in {"train": 4, "dev": 3, "test": 2}.items():
        rows = [f"{split} {n},{'pos' if n % 2 else 'neg'}" for n in range(count)]
        (tmp_path / f"{split}.csv").write_text(
            "\n".join(["text,label", *rows, ""]), encoding="utf-8"
        )
    words = ["task=text_classification", f"task.source={tmp_path}", *BYTES]
    for told, scored in ([], 2), (["task.splits={train:train,test:validation}"], 3):
        assert build_task(compose(*words, *told).task).split_sizes()["test"] == scored
