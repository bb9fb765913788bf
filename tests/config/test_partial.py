"""Partial runs: marked in the record, reported on the console, kept off the board."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import lightning as L
import pytest

from moesuite import compose, fit
from moesuite.config.roles import WHOLE, partial_options, stopped_by_time
from moesuite.errors import UserError
from moesuite.experiments.run_report import run_rows
from moesuite.leaderboard.site.build import build
from moesuite.records.store import read_record
from tests.helpers import TINY_RUN, invoke


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, []),
        ({"max_steps": -1, "max_epochs": 0}, []),  # evaluates a model as it is
        ({"max_steps": 3, "limit_val_batches": 0}, []),  # a small setting; no result changes
        (
            {
                "limit_train_batches": 1.0,
                "limit_test_batches": None,
                "fast_dev_run": False,
                "overfit_batches": 0.0,
            },
            [],
        ),
        (
            {"limit_train_batches": 1},
            ["trainer.limit_train_batches=1"],
        ),  # one batch, not the share 1.0
        ({"limit_train_batches": 0, "limit_test_batches": 0.5}, 2),
        ({"fast_dev_run": True, "max_steps": 0, "overfit_batches": 2}, 3),
    ],
)
def test_options_by_hand(options: dict[str, Any], expected: list[str] | int) -> None:
    found = partial_options({"trainer": options})
    assert found == expected or len(found) == expected


def test_the_default_run_is_whole_and_every_option_is_one_of_the_trainer() -> None:
    assert partial_options(compose().model_dump()) == []
    assert WHOLE.keys() <= inspect.signature(L.Trainer.__init__).parameters.keys()


def test_a_time_limit_shortens_runs_with_fixed_steps() -> None:
    assert stopped_by_time({"max_time": "00:01:00:00"}, 7, 10) == ["trainer.max_time=00:01:00:00"]
    assert (
        stopped_by_time({"max_time": "00:01:00:00"}, 10, 10)
        == stopped_by_time({"max_time": None}, 7, 10)
        == []
    )
    assert (
        stopped_by_time({"max_time": "00:01:00:00"}, 7, -1) == []
    )  # as many as the time allows: a setting


@pytest.mark.slow
def test_partial_runs_are_left_out_of_the_board_with_the_reason(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    whole, _ = fit(compose("router=soft", f"records={runs}", *TINY_RUN))
    assert whole.partial == []
    problems = {}
    for option in (
        "limit_test_batches=1",
        "fast_dev_run=true",
        "max_steps=0",
        "limit_train_batches=0",
    ):
        record, path = fit(
            compose("router=soft", f"records={runs}", *TINY_RUN, f"trainer.{option}")
        )
        name, _, value = option.partition("=")
        assert record.status == "ok" and record.partial == [
            f"trainer.{name}={value.replace('true', 'True')}"
        ]
        assert dict(run_rows(record))["PARTIAL, kept off the leaderboard"] == record.partial[0]
        problems[str(path)] = record.partial[0]
    path.write_text(
        path.read_text(encoding="utf-8").replace(
            '"partial": [\n  "trainer.limit_train_batches=0"\n ]', '"partial": []'
        ),
        encoding="utf-8",
    )
    assert read_record(path).partial == []  # the board looks at the options themselves
    built = build([str(runs)], tmp_path / "site")
    assert built.shown == 1 and len(built.problems) == 4
    page = (tmp_path / "site" / "apart.html").read_text(encoding="utf-8")
    for where, option in problems.items():
        assert f"{where}: a partial run, by {option}; allowed: whole runs" in "\n".join(
            built.problems
        )
        assert option in page


@pytest.mark.parametrize(
    ("option", "says"),
    [
        (
            "limit_test_batches=0",
            "trainer.limit_test_batches=0: nothing would be evaluated; type for example",
        ),
        ("overfit_batches=2", "type trainer.limit_train_batches=2, which makes the run partial"),
    ],
)
def test_settings_that_measure_nothing_are_refused(
    option: str,
    says: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert invoke(monkeypatch, *TINY_RUN, f"trainer.{option}") == 2
    error = capsys.readouterr().err
    assert says in error and error.count("error: ") == 1 and not list(tmp_path.rglob("*.json"))


def test_a_share_of_batches_out_of_range_is_one_line(tmp_path: Path) -> None:
    """Two batches of 256 hold the 360 test images: a tenth of them is no batch."""
    with pytest.raises(UserError, match="trainer: .*0.1"):
        fit(compose(f"records={tmp_path}", *TINY_RUN, "trainer.limit_test_batches=0.1"))
