"""Data of texts that cannot be read: the sentence that says why, and that its suggestion works."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from moesuite import UserError
from moesuite.tasks.embeddings.pairs import read_examples
from moesuite.tasks.embeddings.sets import TextSets
from tests.tasks.embeddings.reading import read
from tests.tasks.text_files import pairs, texts, write

# kind, files, names -> the sentence
REFUSED: dict[str, tuple[str, dict[str, Any], list[str] | None, str]] = {
    "scores of 0 to 10": (
        "similarity", {"d/test.csv": pairs(0, 3, 10.0)}, None,
        "d, split test, row 0: score 10.0 is out of range; expected 0 to 5, or 0 to 1 in all rows; "
        "scale the scores",
    ),
    "scores below 0": (
        "similarity", {"d/test.csv": pairs(0, 3, 1.0)}, None,
        "d, split test, row 2: score -1.0 is out of range; expected 0 to 5, or 0 to 1 in all rows; "
        "scale the scores",
    ),
    "no close pair": (
        "similarity", {"d/train.csv": pairs(0, 2, 3.0), "d/test.csv": pairs(3, 2)}, None,
        "d: no pair for training has a score of at least task.close=4; the largest is 3; type for "
        "example task.close=3",
    ),
    "a set that is not there": (
        "similarity", {"MR/test.csv": pairs(0, 2), "CR/test.csv": pairs(0, 2)}, ["RM"],
        "unknown data set in task.names 'RM'; nearest: MR, CR; all: CR, MR, STS12, STSBenchmark; "
        "type for example task.names=[CR]",
    ),
    "a declared set that is not there": (
        "similarity", {"MR/test.csv": pairs(0, 2), "CR/test.csv": pairs(0, 2)}, ["STS12"],
        "task.source={root} has no folder STS12 (CR, MR); expected a folder or a table (parquet, "
        "csv, tsv, jsonl, json, arrow) for each data set, called STS12 or sts12-sts; name it "
        "STS12, or type for example task.source={root}/CR",
    ),
    "no tables": (
        "classification", {"MR/readme.txt": None, "MR/pos.txt": None}, None,
        "task.source={root}: expected tables (parquet, csv, tsv, jsonl, json, arrow, save_to_disk) "
        "with the columns text and label; it holds 1 .txt (MR/pos.txt); such files are read by "
        "task=tinyshakespeare",
    ),
    "nothing to fit a probe on": (
        "classification", {"MR/test.csv": texts(0, "a", "b")}, ["MR"],
        "task.source={root}/MR: no split 'train' among test.csv; name its file train.csv",
    ),
    "a label that training lacks": (
        "classification", {"MR/train.csv": texts(0, "a", "b"), "MR/test.csv": texts(5, "c")}, None,
        "MR, split test: classes that training lacks: c; expected some of a, b",
    ),
    "names that contradict the labels": (
        "classification",
        {"MR/train.jsonl": [{**texts(0, 0)[0], "label_text": "neg"}] * 2,
         "MR/test.jsonl": [{**texts(5, 0)[0], "label_text": "pos"}]}, None,
        "MR, split test, row 0: label 0 is called 'pos', and 'neg' in split train, row 0; expected "
        "one name for each label; correct them, or remove the column of names",
    ),
    "pairs of another family": (
        "classification", {"MR/train.csv": pairs(0, 3)}, None,
        "MR, split train has no column 'text', and more than one that could be it: sentence1, "
        "sentence2; its columns: sentence1 (large_string), sentence2 (large_string), score "
        "(float64); expected a column of text; type for example +task.sets.MR.text=sentence1; "
        "such columns are read by task=sts",
    ),
    "training texts of the test split": (
        "classification",
        {"MR/train.csv": texts(0, "a", "b"), "MR/test.csv": texts(0, "a", "b")}, None,
        "MR (csv files of MR): all texts for training stand in the test split too; expected others",
    ),
    "queries without documents": (
        "search", {"train.csv": [{"query": "a", "id": 1}] * 2}, None,
        "{name}, split train has no column 'document'; its columns: query (large_string), id "
        "(int64); expected a column of text",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused(name: str, tmp_path: Path) -> None:
    kind, files, names, sentence = REFUSED[name]
    for path, rows in files.items():
        if rows is None:
            (tmp_path / path).parent.mkdir(exist_ok=True)
            (tmp_path / path).write_text("text\n", encoding="utf-8")
        else:
            write(tmp_path / path, rows)
    with pytest.raises(UserError) as error:
        read(kind, tmp_path, ".", names)
    assert str(error.value) == sentence.format(root=tmp_path, name=tmp_path.name)


def test_suggestions_work_as_typed(tmp_path: Path) -> None:
    for name in ("MR", "CR"):
        write(tmp_path / name / "test.csv", pairs(0, 2))
    assert read("similarity", tmp_path, ".", ["CR"]).names == ["CR"]  # task.names=[CR]
    assert read("similarity", tmp_path, "CR", ["STS12"]).names == ["STS12"]  # task.source=<…>/CR
    write(tmp_path / "low" / "train.csv", pairs(0, 2, 3.0))
    write(tmp_path / "low" / "test.csv", pairs(3, 2))
    data = TextSets({}, None, str(tmp_path / "low"))
    assert len(read_examples("similarity", data, close=3.0).roles["train"]) == 1


def test_columns_of_an_own_set_by_option(tmp_path: Path) -> None:
    for n, split in ((0, "train"), (5, "test")):
        rows = [{"title": row["text"], "body": f"{row['text']}!", "label": row["label"]}
                for row in texts(n, "a", "b")]  # fmt: skip
        write(tmp_path / "MR" / f"{split}.csv", rows)
    source = str(tmp_path / "MR")

    def first(declared: dict[str, str]) -> str:
        sets = {"MR": declared} if declared else {}
        data = TextSets(sets, None, source)
        return read_examples("classification", data, close=4.0).roles["train"][0].texts[0]

    with pytest.raises(UserError, match=r"type for example \+task.sets.MR.text=title"):
        first({})
    assert (first({"text": "title"}), first({"text": "body"})) == ("text 0", "text 0!")
    with pytest.raises(UserError, match="has no column 'nope'; its columns: title, body, label; "):
        first({"text": "nope"})
    with pytest.raises(UserError, match="unknown key of task.sets.MR 'txt'; nearest: text"):
        first({"txt": "body"})
