"""What a run says of its data: on the console, in the record and in the report."""

from __future__ import annotations

from pathlib import Path

import pytest

from moesuite.experiments.run_report import run_rows
from moesuite.records.record import Duplicates
from moesuite.records.store import read_record
from moesuite.tasks.vision.task import Vision
from moesuite.train.data_report import print_once
from tests.helpers import TINY_RUN, invoke

NOTE = "one class is empty: eight"


def test_the_data_is_told_once_and_recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    print_once.cache_clear()
    prepare = Vision.prepare

    def prepared(task: Vision) -> None:
        prepare(task)
        task.notes = (NOTE,)

    monkeypatch.setattr(Vision, "prepare", prepared)
    words = [*TINY_RUN, "task.attack_radius=7"]  # loaded data of another test is not shared
    assert invoke(monkeypatch, *words, "-m", "seed=0,1", f"records={tmp_path}") == 0
    assert capsys.readouterr().err == (
        "data: scikit-learn digits, 80/20 split, stratified\n"
        f"  {NOTE}\n"
        "  0 of 360 test examples also stand in train\n"
    )
    records = [read_record(path) for path in tmp_path.glob("digits/*/*.json")]
    assert len(records) == 2
    for record in records:
        assert record.data_notes == [NOTE]
        assert record.duplicates == {"test": Duplicates(count=0, total=360)}
        assert "CONTAMINATION" not in dict(run_rows(record))
    leaky = records[0].model_copy(update={"duplicates": {"test": Duplicates(count=37, total=5000)}})
    words = "37 of 5,000 test examples also stand in train"
    assert dict(run_rows(leaky))["CONTAMINATION"] == words
