"""What is said of choices: columns that are prompts or not used, rows left out, validation."""

from __future__ import annotations

from pathlib import Path

import pytest

from moesuite.tasks.preferences.backgammon.selfplay import Recipe
from moesuite.tasks.preferences.reading import prepared, read_moves
from tests.tasks.preferences.words import Row, lines, pairs_of

BEFORE = "column prompt stands before both answers"


def test_an_answer_that_begins_like_its_prompt_by_chance(tmp_path: Path) -> None:
    rows = [
        {"prompt": "hi", "chosen": "hi there", "rejected": "go"},
        {"prompt": "Why?", "chosen": "So.", "rejected": "No."},
    ]
    found, notes = pairs_of(tmp_path, *rows)
    assert found == [("hi\n\nhi there", "hi\n\ngo"), ("Why?\n\nSo.", "Why?\n\nNo.")]
    assert notes == (BEFORE,)


PAIR_OF = {"chosen": "So.", "rejected": "No."}
OTHER_COLUMNS: dict[str, tuple[Row, bool, tuple[str, ...]]] = {
    "context is a prompt": (
        {"context": "Why?"},
        True,
        ("column context read as prompt", "column context stands before both answers"),
    ),
    "history is a prompt": (
        {"history": "Why?"},
        True,
        ("column history read as prompt", "column history stands before both answers"),
    ),
    "input beside an instruction": (
        {"instruction": "Why?", "input": "It rains."},
        True,
        (
            "column instruction read as prompt",
            "columns not used: input",
            "column instruction stands before both answers",
        ),
    ),
    "system": (
        {"prompt": "Why?", "system": "Be kind."},
        True,
        ("columns not used: system", BEFORE),
    ),
    "a number": ({"prompt": 7}, False, ("columns not used: prompt",)),
    "any other": ({"foo": "Why?"}, False, ("columns not used: foo",)),
}


@pytest.mark.parametrize("case", OTHER_COLUMNS)
def test_what_columns_are_prompts_and_which_are_not_used(case: str, tmp_path: Path) -> None:
    more, prompt, notes = OTHER_COLUMNS[case]
    opening = "Why?\n\n" if prompt else ""
    assert pairs_of(tmp_path, {**more, **PAIR_OF}) == ([(f"{opening}So.", f"{opening}No.")], notes)


def test_positions_without_a_choice_are_counted_and_a_validation_split_is_told(
    tmp_path: Path,
) -> None:
    ids = ["mp6DAyDgc/ABMA", "0OfIAxDgc/ABMA"]
    rows = [
        {"position": "4HPwATDgc/ABMA", "alternatives": ids[:count], "scores": [0.5, 0.2][:count]}
        for count in (2, 1, 0, 2, 2)
    ]
    for split in ("train", "test"):
        lines(tmp_path / f"{split}.jsonl", *rows)
    roles, source = read_moves(str(tmp_path), Recipe("gnubg-nn", 60, 12, 0, 0, 0.3, 0))
    assert {role: len(choices) for role, choices in roles.items()} == {"train": 3, "test": 3}
    splits, source = prepared(roles, None, source)
    assert {role: len(choices) for role, choices in splits.items()} == {
        "train": 2,
        "val": 1,
        "test": 3,
    }
    left_out = "2 of 5 positions left out, which have fewer than two alternatives"
    assert source.notes[-3:] == (
        f"split train: {left_out}",
        f"split test: {left_out}",
        "no validation split: the last 1 of 3 training choices are it",
    )
