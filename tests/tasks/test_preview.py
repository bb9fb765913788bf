"""What a reader is shown of a split, for each family and for a task of others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from moesuite import compose
from moesuite.preview import Lazy, as_example, joined
from moesuite.task import Example, Task
from moesuite.train.build import build_task, declare_task
from tests.tasks.glue import understanding_folder
from tests.tasks.local_data import BYTES, dialogue, parquet


def test_lazy_examples_are_made_when_asked_for() -> None:
    asked: list[int] = []

    def make(index: int) -> Example:
        asked.append(index)
        return Example(texts=(str(index),))

    lazy = Lazy(5, make)
    assert len(lazy) == 5 and asked == []
    assert lazy[-1].texts == ("4",) and asked == [4]
    assert [each.texts[0] for each in lazy] == list("01234")  # ends by IndexError
    with pytest.raises(IndexError):
        lazy[5]


def test_tokens_become_a_text() -> None:
    assert joined(["a", "b", "\n"]) == "ab\n"
    assert joined(["two", "words"]) == "two words"
    assert joined([" two", " words"]) == " two words"  # as BPE has them


def test_a_task_of_others_shows_its_examples_as_shown() -> None:
    """The default needs `dataset`, `collate` and `shown` alone."""
    digits = build_task(compose("task=digits").task)
    example = Task.preview(digits, "test").examples[0]
    theirs = digits.preview("test").examples[0]
    assert example.image is not None and example.image.size == (8, 8) == theirs.image.size
    shown = np.asarray(example.image.convert("L"), dtype=int)
    assert np.abs(shown - np.asarray(theirs.image, dtype=int)).max() <= 1  # by way of floats
    assert as_example([["a ", "b"]]).texts == ["a b"]
    assert as_example([]) == Example(texts=[])


def preview(split: Any, *words: str) -> Any:
    config = compose(*words)
    return build_task(config.task).preview(split)


def test_images_are_shown_as_stored_with_the_names_of_their_classes(tmp_path: Path) -> None:
    sizes = {"ant": (5, 7), "bee": (9, 3)}
    for split in ("train", "test"):
        for name, size in sizes.items():
            folder = tmp_path / split / name
            folder.mkdir(parents=True)
            Image.new("P" if name == "bee" else "RGB", size).save(folder / "a.png")
    noise = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    cut = tmp_path / "train" / "bee" / "a.png"
    Image.fromarray(noise).save(cut)
    cut.write_bytes(cut.read_bytes()[:2000])  # of about 3,100
    words = (f"task.source={tmp_path}", "task.num_classes=2")
    config = compose("task=stl10", *words)
    task = declare_task({**config.task, **task_options(config.task)})
    task.prepare()
    shown = task.preview("test")
    assert shown.classes == ["ant", "bee"] == list(shown.labels)
    assert [(each.image.size, each.mode) for each in shown.examples] == [
        ((5, 7), "RGB"),
        ((9, 3), "P"),
    ]
    train: Any = task.preview("train").examples
    assert train[0].label == "ant"
    with pytest.raises(OSError):  # cut off
        train[1]


def task_options(options: dict[str, Any]) -> dict[str, Any]:
    return dict(declare_task(options).previewed)


def test_texts_of_bytes_are_shown_as_utf_8(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("schön und grün " * 100, encoding="utf-8")
    shown = preview("train", "task=enwik8", f"task.source={tmp_path / 'a.txt'}", "task.length=17")
    assert shown.examples[0].texts == ("schön und grün ",)
    assert shown.figures == {"bytes": 1531, "tokens": 1531}  # 90 %, and "\n"


def test_texts_with_a_class(tmp_path: Path) -> None:
    split = {"text": ["four", "fourteen chars"] * 4, "label": [0, 1] * 4}
    test = {"text": ["another one"], "label": [1]}
    parquet(tmp_path / "TREC", train=split, test=test)
    words = ("task=text_classification", f"task.source={tmp_path}", "task.names=[TREC]")
    shown = preview("train", *words, "backbone=bert_mini", *BYTES)
    assert shown.labels[:2] == ["0", "1"] and shown.length == 24
    assert [shown.tokens(index) for index in (0, 1)] == [[5], [15]]  # bytes and the line end
    # the training texts that a probe is fitted on are not shown as test texts
    assert len(preview("test", *words, "backbone=bert_mini", *BYTES).examples) == 1


@pytest.mark.parametrize("name", ["cola", "mnli", "stsb"])
def test_questions_with_their_answers(tmp_path: Path, name: str) -> None:
    source = understanding_folder(tmp_path, "glue", name)
    words = ("task=glue", f"task.subset={name}", f"task.source={source}", *BYTES)
    shown = preview("train", *words)
    first, count = shown.examples[0], sum(shown.tokens(0))
    expected = {
        "cola": (("sentence has 0 words",), "unacceptable", 21),
        "mnli": (("premise has 0 words", "hypothesis has 0 words"), "entailment", 20 + 23),
        "stsb": (("sentence1 has 0 words", "sentence2 has 0 words"), 0.0, 22 + 22),
    }
    assert (first.texts, first.label, count) == expected[name]
    assert shown.labels[0] == first.label and (shown.classes == []) == (name == "stsb")


def test_pairs_of_texts_are_shown_whole_with_the_chosen_one_first(tmp_path: Path) -> None:
    source = dialogue(tmp_path / "hh", "hh")
    words = ("task=preferences_text", f"task.source={source}", *BYTES)
    task = build_task(compose(*words).task)
    train, val = (task.preview(split) for split in ("train", "val"))
    assert len(train.examples) == 11 and len(val.examples) == 1  # type: ignore[arg-type]
    chosen, rejected = val.examples[0].texts
    assert chosen == "\n\nHuman: question train 11\n\nAssistant: yes, it is yes, it is yes, it is "
    assert rejected.endswith("no") and train.tokens is not None
    assert (
        train.tokens(0)[1] == len("\n\nHuman: question train 0\n\nAssistant: no\n") > train.length
    )


def test_positions_are_shown_after_the_experts_move() -> None:
    from moesuite.tasks.preferences.backgammon.positions import TOKENS
    from moesuite.tasks.preferences.choices import Choice
    from moesuite.tasks.preferences.preview import preview_moves

    rows = torch.full((2, TOKENS), 15).numpy()
    rows[1, 5] = 15 + 3
    shown: Any = preview_moves([Choice(rows, np.array([0.0, 0.5]))])
    assert shown.examples[0].texts[0].startswith("2 legal moves; after the expert's: 6:x3 bar x0")
    assert shown.figures["moves a position, most"] == 2
