"""Names of splits: synonyms, what is scored, sets for testing only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from moesuite import UserError
from moesuite.sources.layout import choose
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
    ],
)
def test_splits_get_their_roles_by_name(
    names: Sequence[str], declared: Mapping[str, str], expected: Mapping[str, list[str]]
) -> None:
    assert choose(names, declared).items() >= expected.items()


def test_a_test_split_alone(tmp_path: Path) -> None:
    (tmp_path / "dev.csv").write_text("text,label\nhello,1\n")
    load = HubSource(source=str(tmp_path)).load
    source = load(TRAIN_TEST, readable=Readable(test_only=True))
    assert source.splits["test"]["text"][:] == ["hello"] and "train" not in source.splits
    assert source.notes == ("no test split: the validation split (dev) is scored",)
    with pytest.raises(UserError, match=r"no split 'train' among dev.csv; name its file train.csv"):
        load(TRAIN_TEST)


@pytest.mark.parametrize("val", [True, False])
def test_a_validation_split_is_never_trained_on(val: bool, tmp_path: Path) -> None:
    for name in ("dev", "test"):
        (tmp_path / f"{name}.csv").write_text(f"text,label\n{name},1\n")
    source = HubSource(source=str(tmp_path)).load(
        TRAIN_TEST, readable=Readable(test_only=True, val=val)
    )
    assert list(source.splits) == (["val", "test"] if val else ["test"])
    assert source.notes == (() if val else ("not used: dev.csv",))
