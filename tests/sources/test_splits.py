"""Names of splits: synonyms, what is scored, sets for testing only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from moesuite import UserError
from moesuite.sources.roles import check_declared, choose
from moesuite.sources.source import HubSource, Readable

TRAIN_TEST = {"train": "train", "test": "test"}
MNLI = {"train": "train", "test": "validation_matched", "test1": "validation_mismatched"}


@pytest.mark.parametrize(
    ("names", "declared", "expected"),
    [
        (["train", "dev"], TRAIN_TEST, {"train": ["train"], "test": ["dev"]}),
        (
            ["Train", "VALID", "test"],
            TRAIN_TEST,
            {"train": ["Train"], "val": ["VALID"], "test": ["test"]},
        ),
        (
            ["dev_matched", "dev_mismatched", "test_matched", "train"],
            MNLI,
            {"train": ["train"], "test": ["dev_matched"], "test1": ["dev_mismatched"]},
        ),
        (["test", "dev", "train"], {**TRAIN_TEST, "test": "validation"}, {"test": ["dev"]}),
        (
            ["test", "train", "val"],
            {"train": "train", "test": "validation", "val": "val"},
            {"train": ["train"], "test": ["test"], "val": ["val"]},
        ),
        (["train2017", "val2017"], TRAIN_TEST, {"train": ["train2017"], "test": ["val2017"]}),
    ],
)
def test_splits_get_their_roles_by_name(
    names: Sequence[str], declared: Mapping[str, str], expected: Mapping[str, list[str]]
) -> None:
    assert choose(names, declared).items() >= expected.items()


def test_a_test_split_alone(tmp_path: Path) -> None:
    (tmp_path / "dev.csv").write_text("text,label\nhello,1\n", encoding="utf-8")
    load = HubSource(source=str(tmp_path)).load
    source = load(TRAIN_TEST, readable=Readable(test_only=True))
    assert source.splits["test"]["text"][:] == ["hello"] and "train" not in source.splits
    assert source.notes == ("no test split: the validation split (dev) is scored",)
    with pytest.raises(UserError, match=r"no split 'train' among dev.csv; name its file train.csv"):
        load(TRAIN_TEST)


@pytest.mark.parametrize("val", [True, False])
def test_a_validation_split_is_never_trained_on(val: bool, tmp_path: Path) -> None:
    for name in ("dev", "test"):
        (tmp_path / f"{name}.csv").write_text(f"text,label\n{name},1\n", encoding="utf-8")
    source = HubSource(source=str(tmp_path)).load(
        TRAIN_TEST, readable=Readable(test_only=True, val=val)
    )
    assert list(source.splits) == (["val", "test"] if val else ["test"])
    assert source.notes == (() if val else ("not used: dev.csv",))


@pytest.mark.parametrize(
    ("names", "declared", "says"),
    [
        (("train", "val"), {"train": "train", "test": "nope"}, "train, val; type for example task"),
        (("a", "my val"), {"train": "a", "val": "b"}, r"example 'task.splits.val=\"my val\"'$"),
        (
            (),
            {"train": "nope"},
            "there are no splits; type for example task.splits.train=train$",
        ),
    ],
)
def test_a_name_that_means_no_split_must_exist(
    names: Sequence[str], declared: Mapping[str, str], says: str
) -> None:
    with pytest.raises(UserError, match=rf"^here: no split .*{says}"):
        check_declared(names, declared, "here")


def test_a_split_that_is_read_for_another_is_named(tmp_path: Path) -> None:
    for name in ("train", "test_prefs"):
        (tmp_path / f"{name}.csv").write_text(f"text,label\n{name},1\n", encoding="utf-8")
    declared = {"train": "train_prefs", "test": "test_prefs"}
    source = HubSource(source=str(tmp_path)).load(declared)
    assert source.notes == ("no split train_prefs: train is read for it",)
    with pytest.raises(UserError, match=r"no split 'best'; the splits are test_prefs, train; type"):
        HubSource(source=str(tmp_path)).load({**declared, "test": "best"})
