"""Pairs of texts in files and folders as people have them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import datasets
import pytest

from moesuite import compose
from moesuite.errors import UserError
from moesuite.tasks.preferences.dialogues import Dialogues, read_pairs
from moesuite.train.build import build_task
from tests.tasks.preferences.words import Row, lines


def _rows(count: int, start: int = 0) -> list[Row]:
    return [{"chosen": f"yes {n}", "rejected": f"no {n}"} for n in range(start, start + count)]


def _lone(folder: Path) -> Path:
    lines(folder / "mine.jsonl", *_rows(20))
    return folder / "mine.jsonl"


def _json(folder: Path) -> Path:
    folder.mkdir()
    (folder / "pairs.json").write_text(json.dumps(_rows(20)), encoding="utf-8")
    return folder


def _validated(folder: Path) -> Path:
    for name, count, start in (("Train", 20, 0), ("dev", 4, 50), ("eval", 3, 60)):
        lines(folder / f"{name}.jsonl.gz", *_rows(count, start))
    return folder


def _csv(folder: Path) -> Path:
    folder.mkdir()
    for name, count in (("train", 20), ("valid", 3)):
        cells = [f'"{row["chosen"]}","{row["rejected"]}"' for row in _rows(count)]
        (folder / f"{name}.csv").write_text(
            "\n".join(["chosen,rejected", *cells]), encoding="utf-8"
        )
    return folder


def _shards(folder: Path) -> Path:
    """The names of UltraFeedback's repository: other splits are not read."""
    (folder / "data").mkdir(parents=True)
    for name, count in (("train_prefs", 20), ("test_prefs", 3), ("train_sft", 5)):
        path = folder / "data" / f"{name}-00000-of-00001.parquet"
        datasets.Dataset.from_list([dict(row) for row in _rows(count)]).to_parquet(str(path))
    return folder


PREFS = {"train": "train_prefs", "test": "test_prefs"}
HELD_OUT = "a tenth of the training split held out"
LAYOUTS: dict[str, tuple[Callable[[Path], Path], dict[str, str], dict[str, int], str]] = {
    "a lone file": (_lone, {}, {"train": 18, "test": 2}, HELD_OUT),
    "a list of objects": (_json, {}, {"train": 18, "test": 2}, HELD_OUT),
    "synonyms, compressed": (_validated, {}, {"train": 20, "val": 4, "test": 3}, ""),
    "validation is scored": (_csv, {}, {"train": 20, "test": 3}, "(valid) is scored"),
    "shards": (_shards, PREFS, {"train": 20, "test": 3}, "not used: data/train_sft-00000"),
}


@pytest.mark.parametrize("case", LAYOUTS)
def test_layouts(case: str, tmp_path: Path) -> None:
    write, splits, expected, says = LAYOUTS[case]
    options = {"splits": splits} if splits else {}
    roles, source = read_pairs(Dialogues(source=str(write(tmp_path / "own")), **options))
    assert {role: len(pairs) for role, pairs in roles.items()} == expected
    assert says in "; ".join([source.description, *source.notes])


def test_a_clone_of_several_data_sets_names_one_that_works(tmp_path: Path) -> None:
    """The repository of HH-RLHF."""
    for name in ("harmless-base", "helpful-base"):
        for split in ("train", "test"):
            lines(tmp_path / "hh-rlhf" / name / f"{split}.jsonl.gz", *_rows(4))
    lines(tmp_path / "hh-rlhf" / "red-team-attempts" / "red_team_attempts.jsonl.gz", {"rating": 1})
    with pytest.raises(UserError) as refused:
        read_pairs(Dialogues(source=str(tmp_path / "hh-rlhf")))
    said, _, suggested = str(refused.value).partition("type for example task.source=")
    assert "3 data sets in one folder: harmless-base, helpful-base, red-team-attempts" in said
    roles, _ = read_pairs(Dialogues(source=suggested))
    assert len(roles["train"]) == 4


def test_a_validation_split_is_used_and_notes_reach_the_task(tmp_path: Path) -> None:
    source = f"task.source={_validated(tmp_path / 'own')}"
    lines(tmp_path / "own" / "eval.jsonl.gz", *_rows(1), {"chosen": "c", "rejected": "c"})
    task = build_task(compose("task=preferences_text", source, "task.tokenizer=byte").task)
    task.prepare()
    sizes = {split: len(task.preview(split).examples) for split in ("train", "val", "test")}
    assert sizes == {"train": 20, "val": 4, "test": 1}
    first, *_ = task.preview("val").examples
    assert first.texts == ("yes 50", "no 50")
    assert task.notes[0] == "pairs of equal texts left out: 1"
