"""Several files of one split: classes by name, missing files."""

from __future__ import annotations

from pathlib import Path

import pytest
from datasets import ClassLabel, Dataset, Features

from moesuite.errors import UserError
from moesuite.sources.raw.shards import missing_parts
from moesuite.sources.source import HubSource
from moesuite.sources.tables import read_tables
from tests.sources.files import TRAIN_TEST


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOESUITE_CACHE", str(tmp_path / "cache"))


def shards(folder: Path, *names: list[str]) -> list[Path]:
    """Write a file per list of names, with the labels 0, 1 and -1 (hidden)."""
    files = [folder / f"train-{place:05}-of-{len(names):05}.parquet" for place in range(len(names))]
    for file, classes in zip(files, names, strict=True):
        features = Features(label=ClassLabel(names=classes))
        Dataset.from_dict({"label": [0, 1, -1]}, features=features).to_parquet(file)
    return files


def test_classes_in_another_order_are_mapped_by_name(tmp_path: Path) -> None:
    """Read by number, the ants of the second file were bees."""
    files = shards(tmp_path, ["ant", "bee"], ["bee", "ant"])
    rows = read_tables(files, "order")
    assert rows["label"][:] == [0, 1, -1, 1, 0, -1]
    assert rows.features["label"].names == ["ant", "bee"]
    with pytest.raises(UserError, match="ant, bee and bee, ant; .* type task.streaming=false"):
        read_tables(files, "order", streaming=True)


@pytest.mark.parametrize("other", [["ant", "cow"], ["ant", "bee", "cow"]])
def test_other_classes_are_refused(other: list[str], tmp_path: Path) -> None:
    files = shards(tmp_path, ["ant", "bee"], other)
    says = (
        "^[^ ]*train-00000-of-00002.parquet and train-00001-of-00002.parquet name the classes diff"
    )
    with pytest.raises(UserError, match=says):
        read_tables(files, "other")


def test_missing_files_are_noted(tmp_path: Path) -> None:
    files = shards(tmp_path, ["ant", "bee"], ["ant", "bee"], ["ant", "bee"])
    files[1].unlink()
    source = HubSource(source=str(tmp_path)).load(TRAIN_TEST)
    assert "1 of 3 files of train are missing" in source.notes
    assert missing_parts(files) == []
