"""Local copies of GLUE and SuperGLUE, in the schemas of nyu-mll/glue and aps/super_glue."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from moesuite import compose
from moesuite.train.build import build_task
from tests.tasks.local_data import parquet

# one row of each form, by column, with a place for a number that makes rows differ
COPA = {
    "premise": "It rained {n} h.",
    "choice1": "It is wet.",
    "choice2": "It is dry.",
    "question": "effect",
}
RECORD = {
    "passage": "Ann met Bob in Rome {n} times.\n@highlight\nBob is old",
    "query": "There @placeholder met him",
    "entities": ["Bob", "Rome", "Ann", "Zoe", "Eve", "Rome"],
    "answers": ["Ann", "the Ann"],
}
MULTIRC = {"paragraph": "Ann has {n} cats.", "question": "Who has cats?", "answer": "Ann {n}"}
WSC = {
    "text": "Ann gave Eve {n} pens because she asked.",
    "span1_index": 2,
    "span1_text": "Eve",
    "span2_index": 6,
    "span2_text": "she",
}
GLUE: dict[str, tuple[tuple[str, ...], int]] = {
    "cola": (("sentence",), 2),
    "sst2": (("sentence",), 2),
    "mrpc": (("sentence1", "sentence2"), 2),
    "stsb": (("sentence1", "sentence2"), 0),
    "qqp": (("question1", "question2"), 2),
    "mnli": (("premise", "hypothesis"), 3),
    "qnli": (("question", "sentence"), 2),
    "rte": (("sentence1", "sentence2"), 2),
    "wnli": (("sentence1", "sentence2"), 2),
}
SUPERGLUE: dict[str, tuple[tuple[str, ...] | dict[str, Any], int]] = {
    "boolq": (("question", "passage"), 2),
    "cb": (("premise", "hypothesis"), 3),
    "copa": (COPA, 2),
    "multirc": (MULTIRC, 2),
    "record": (RECORD, -1),
    "rte": (("premise", "hypothesis"), 2),
    "wic": (("word", "sentence1", "sentence2"), 2),
    "wsc": (WSC, 2),
}


def rows(suite: str, name: str, start: int, count: int) -> dict[str, list[Any]]:
    """Return rows in the schema of nyu-mll/glue and aps/super_glue."""
    columns, classes = (GLUE if suite == "glue" else SUPERGLUE)[name]
    template = (
        columns
        if isinstance(columns, dict)
        else {column: f"{column} has {{n}} words" for column in columns}
    )
    numbers = range(start, start + count)
    found = {
        key: [value.format(n=n) if isinstance(value, str) else value for n in numbers]
        for key, value in template.items()
    }
    if classes >= 0:
        found["label"] = [n % classes if classes else 5.0 * (n % 7) / 6 for n in numbers]
    return found


def understanding_folder(root: Path, suite: str, name: str, count: int = 12) -> Path:
    """Write local copies of a set."""
    tests = ("validation_matched", "validation_mismatched") if name == "mnli" else ("validation",)
    splits = {split: rows(suite, name, 100 + 20 * number, 6) for number, split in enumerate(tests)}
    parquet(root / name, train=rows(suite, name, 0, count), **splits)
    return root


BYTES = ("task.tokenizer=byte", "task.length=64")
T5 = tuple(
    f"backbone.kwargs.{key}"
    for key in ("d_model=32", "d_ff=64", "num_layers=2", "num_heads=2", "d_kv=16")
)
QUICK = (
    "trainer.max_steps=2",
    "data.batch_size=4",
    "measure=false",
    "logger=none",
    "trainer.enable_progress_bar=false",
)


def build(root: Path, suite: str, name: str, *words: str) -> Any:
    source = understanding_folder(root, suite, name)
    return build_task(
        compose(
            f"task={suite}", f"task.subset={name}", f"task.source={source}", *BYTES, *words
        ).task
    )
