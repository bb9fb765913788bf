"""Which column is what: declared names, other letters, usual names, the one of the type."""

from __future__ import annotations

from typing import Any

import pytest
from datasets import ClassLabel, Dataset, Features, Image, IterableDataset, List, Value

from moesuite import list_tasks
from moesuite.errors import UserError
from moesuite.sources.columns import READ_BY, USUAL, Column, match_columns, note_of

STRING, INT, FLOAT = Value("string"), Value("int64"), Value("float64")
TEXT = Column("text", "text", option="task.column")
LABEL = Column("label", "label", option="task.columns.label")
STS = (Column("sentence1", "text"), Column("sentence2", "text"), Column("score", "number"))


def rows(**features: Any) -> Dataset:
    return Dataset.from_dict({name: [] for name in features}, features=Features(features))


CASES: dict[str, tuple[Dataset, tuple[Column, ...], dict[str, str], str]] = {
    "as declared": (
        rows(text=STRING, label=INT),
        (TEXT, LABEL),
        {"text": "text", "label": "label"},
        "",
    ),
    "a declared name before a usual one": (
        rows(text=STRING, body=STRING, label=INT),
        (Column("text", "text", "body"), LABEL),
        {"text": "body", "label": "label"},
        "",
    ),
    "other letters": (
        rows(Text=STRING, LABEL=INT),
        (TEXT, LABEL),
        {"text": "Text", "label": "LABEL"},
        "column Text read as text, column LABEL read as label",
    ),
    "other letters before usual names": (
        rows(sentence=STRING, TEXT=STRING),
        (TEXT,),
        {"text": "TEXT"},
        "column TEXT read as text",
    ),
    "usual names": (
        rows(review=STRING, sentiment=ClassLabel(names=["no", "yes"])),
        (TEXT, LABEL),
        {"text": "review", "label": "sentiment"},
        "column review read as text, column sentiment read as label",
    ),
    "the more usual name": (
        rows(tweet=STRING, sentence=STRING),
        (TEXT,),
        {"text": "sentence"},
        "column sentence read as text",
    ),
    "a usual name of another type is passed over": (
        rows(sentence=INT, tweet=STRING),
        (TEXT,),
        {"text": "tweet"},
        "column tweet read as text",
    ),
    "the one of its type": (
        rows(id=INT, essay=STRING),
        (TEXT,),
        {"text": "essay"},
        "column essay read as text",
    ),
    "images by type": (
        rows(scan=Image(), fine_label=INT, n=FLOAT),
        (Column("image", "image"), LABEL),
        {"image": "scan", "label": "fine_label"},
        "column fine_label read as label, column scan read as image",
    ),
    "pairs of sentences": (
        rows(text_a=STRING, text_b=STRING, similarity=FLOAT),
        STS,
        {"sentence1": "text_a", "sentence2": "text_b", "score": "similarity"},
        "column text_a read as sentence1, column text_b read as sentence2, "
        "column similarity read as score",
    ),
    "the name of the thing is no news": (
        rows(image=Image(), label=INT),
        (Column("image", "image", "img"), Column("label", "label", "fine_label")),
        {"image": "image", "label": "label"},
        "",
    ),
    "floats are classes by their name, not by their type": (
        rows(image=Image(), width=FLOAT, Target=FLOAT),
        (Column("image", "image"), LABEL),
        {"image": "image", "label": "Target"},
        "column Target read as label",
    ),
    "no column is two things": (
        rows(sentence=STRING, label=STRING),
        (TEXT, LABEL),
        {"text": "sentence", "label": "label"},
        "column sentence read as text",
    ),
    "what is optional may be missing": (
        rows(text=STRING),
        (TEXT, Column("prompt", "messages", optional=True)),
        {"text": "text"},
        "",
    ),
    "lists": (
        rows(chosen=List({"role": STRING, "content": STRING}), rejected=STRING),
        (Column("chosen", "messages"), Column("rejected", "messages")),
        {"chosen": "chosen", "rejected": "rejected"},
        "",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_columns_are_matched_and_told(case: str) -> None:
    table, wanted, expected, note = CASES[case]
    matched = match_columns(table, wanted, "mine")
    assert matched == expected
    assert note_of(matched, wanted) == note


REFUSED: dict[str, tuple[Dataset, Column, str]] = {
    "two that could be it": (
        rows(title=STRING, body=STRING),
        TEXT,
        "mine has no column 'text', and more than one that could be it: title, body; its columns: "
        "title (string), body (string); expected a column of text; type for example "
        "task.column=title",
    ),
    "none of its type": (
        rows(a=FLOAT, b=FLOAT),
        TEXT,
        "mine has no column 'text'; its columns: a (float64), b (float64); expected a column of "
        "text; task.column says which it is",
    ),
    "of another type": (
        rows(text=FLOAT, b=FLOAT),
        TEXT,
        "mine has a column 'text' of float64; its columns: text (float64), b (float64); expected "
        "a column of text; task.column says which it is",
    ),
    "not guessed": (
        rows(essay=STRING),
        Column("chosen", "text", guessed=False),
        "mine has no column 'chosen'; its columns: essay (string); expected a column of text",
    ),
    "floats are not guessed to be classes": (
        rows(image=Image(), width=FLOAT),
        LABEL,
        "mine has no column 'label'; its columns: image (images), width (float64); expected a "
        "column of classes, as names or integers; task.columns.label says which it is",
    ),
    "read by another task": (
        rows(sentence1=STRING, sentence2=STRING, score=FLOAT),
        Column("image", "image"),
        "mine has no column 'image'; its columns: sentence1 (string), sentence2 (string), score "
        "(float64); expected a column of images or of paths to files beside the table (not of "
        "lists of pixels, nor base64); such columns are read by task=sts",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_missing_is_named_with_what_is_there(case: str) -> None:
    table, column, says = REFUSED[case]
    with pytest.raises(UserError) as refused:
        match_columns(table, [column], "mine")
    assert str(refused.value) == says


def test_columns_of_a_stream_are_as_declared() -> None:
    stream = IterableDataset.from_generator(lambda: iter([{"a": 1}]))
    wanted = (Column("text", "text", "body"), LABEL)
    assert match_columns(stream, wanted, "mine") == {"text": "body", "label": "label"}


def test_every_task_of_a_hint_exists_and_its_columns_are_known() -> None:
    assert READ_BY.keys() <= set(list_tasks())
    assert set().union(*READ_BY.values()) <= USUAL.keys()
