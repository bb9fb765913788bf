"""Predictions of each test example: the record's metric follows, and two runs join by id."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest
import torch
from scipy.stats import binomtest

from moesuite import compose, fit
from moesuite.errors import UserError
from moesuite.records.record import RunRecord
from moesuite.records.store import RunFiles
from moesuite.task import Batch, Task
from moesuite.train.build import build_task
from moesuite.train.results.predictions import Predictions, write_predictions
from tests.helpers import TINY_RUN


def run(folder: Path, *words: str) -> tuple[RunRecord, pandas.DataFrame]:
    record, path = fit(compose(*TINY_RUN, f"records={folder}", "predictions=true", *words))
    return record, pandas.read_parquet(RunFiles(path).predictions)


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[RunRecord, pandas.DataFrame]]:
    """Return two runs on digits with their predictions."""
    folder = tmp_path_factory.mktemp("two")
    return [run(folder, f"router={router}") for router in ("dense", "token_choice")]


def test_the_metrics_of_images_follow(two: list[tuple[RunRecord, pandas.DataFrame]]) -> None:
    """token_choice drops tokens under its capacity: the file is of the evaluation without."""
    for record, rows in two:
        assert list(rows.columns) == ["id", "target", "prediction", "right", "scores"]
        scores, target = np.stack(rows.scores), rows.target.to_numpy()
        assert len(rows) == record.quality["top1"].n == 360
        assert rows.right.mean() == pytest.approx(record.quality["top1"].value, abs=1e-6)
        assert (scores.argmax(axis=1) == rows.prediction).all()
        assert ((rows.prediction == rows.target) == rows.right).all()
        best = np.argsort(-scores, axis=1)[:, :5] == target[:, None]
        assert best.any(axis=1).mean() == pytest.approx(record.quality["top5"].value, abs=1e-6)
        assert scores.sum(axis=1) == pytest.approx(1, abs=1e-5)


def test_the_id_of_a_digit_is_its_row_in_the_package(
    two: list[tuple[RunRecord, pandas.DataFrame]],
) -> None:
    from sklearn.datasets import load_digits

    rows = two[0][1]
    assert (load_digits().target[rows.id.astype(int)] == rows.target).all()
    assert rows.id.astype(int).is_monotonic_increasing


def test_two_runs_join_for_mcnemars_test(two: list[tuple[RunRecord, pandas.DataFrame]]) -> None:
    first, second = (rows.set_index("id") for _, rows in two)
    assert list(first.index) == list(second.index)
    both = first.join(second, rsuffix="_second", validate="1:1")
    assert (both.target == both.target_second).all()
    only_first = int((both.right & ~both.right_second).sum())
    only_second = int((both.right_second & ~both.right).sum())
    gained = (only_second - only_first) / len(both)
    values = [record.quality["top1"].value for record, _ in two]
    assert gained == pytest.approx(values[1] - values[0], abs=1e-6)
    assert only_first + only_second > 0
    assert 0 < binomtest(only_first, only_first + only_second).pvalue <= 1


def test_without_the_option_there_is_no_file_and_an_old_one_is_removed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [*TINY_RUN, f"records={tmp_path}", "router=dense", "trainer.max_epochs=0"]
    path = fit(compose(*words, "predictions=true"))[1]
    assert RunFiles(path).predictions.exists()
    assert fit(compose(*words, "force=true"))[1] == path  # the option is no part of the id
    assert not RunFiles(path).predictions.exists()


class Fixed(Task):
    """A family whose predictions are what the batch says."""

    name = "fixed"
    backbone_arguments = blank = dataset = collate = inputs = loss = metrics = update = size = None  # type: ignore[assignment]
    in_memory = True  # type: ignore[assignment]

    def prepare(self) -> None:
        """Do nothing."""

    def predictions(self, output: Any, batch: Batch) -> Any:
        return batch.get("rows")


def test_rows_stand_in_the_order_of_their_ids_and_repeated_ids_are_numbered(
    tmp_path: Path,
) -> None:
    rows = Predictions(Fixed())
    rows.add(None, {"rows": {"id": ["b/10", "a"], "target": torch.tensor([0, 1])}})
    rows.add(None, {"rows": {"id": ["b/9", "a", "c"], "target": torch.tensor([2, 3, 4])}})
    assert write_predictions(tmp_path / "rows.parquet", rows)
    table = pandas.read_parquet(tmp_path / "rows.parquet")
    assert list(table.id) == ["a", "a#2", "b/9", "b/10", "c"]
    assert list(table.target) == [1, 3, 2, 0, 4]


def test_columns_of_other_lengths_and_without_ids_are_refused() -> None:
    rows = Predictions(Fixed())
    with pytest.raises(UserError, match=r"fixed: .*'id': 1, 'target': 2.*equal length"):
        rows.add(None, {"rows": {"id": ["a"], "target": [0, 1]}})
    with pytest.raises(UserError, match="expected id"):
        rows.add(None, {"rows": {"target": [0, 1]}})


def test_a_family_without_predictions_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = Predictions(Fixed())
    rows.add(None, {})
    assert not write_predictions(tmp_path / "rows.parquet", rows)
    assert capsys.readouterr().err == "predictions=true: fixed gives none by example\n"
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_half_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = Predictions(Fixed())
    rows.add(None, {"rows": {"id": ["a"], "target": [object()]}})
    with pytest.raises(Exception, match="object"):
        write_predictions(tmp_path / "rows.parquet", rows)
    assert list(tmp_path.iterdir()) == []


def test_the_default_of_the_contract_is_none() -> None:
    task = build_task(compose("task=digits").task)
    assert Task.predictions(task, None, {}) is None
