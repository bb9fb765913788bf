"""Studies: trials are normal runs, winners are run again, fronts have no single best."""

from __future__ import annotations

import json
from pathlib import Path

import optuna
import pytest

from moesuite.benchmarks.speed.tuning import hypervolume
from moesuite.errors import UserError
from moesuite.leaderboard.site.build import build
from moesuite.records.record import dropped_under_capacity
from moesuite.records.store import read_record
from moesuite.records.study import SETTINGS
from moesuite.tune.arguments import parse_command
from moesuite.tune.report import importances, ties
from moesuite.tune.worker import search
from tests.conftest import Command
from tests.tune.studies import SHORT, tuned


def test_a_study_is_normal_runs_and_goes_on_where_it_stopped(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["router=soft", "tune=slots"]
    first = tuned(tmp_path, *words, "trials=2")
    assert [trial.state for trial in first.trials] == ["complete"] * 2 and len(first.best) == 1
    again = tuned(tmp_path, *words, "trials=4")
    assert [trial.run for trial in again.trials[:2]] == [trial.run for trial in first.trials]
    for trial in again.trials:
        record = read_record(tmp_path / "digits" / "soft" / f"{trial.run}.json")
        assert (record.config["study"], record.config["trial"]) == (
            "digits_soft_slots",
            trial.number,
        )
        assert (
            record.config["num_experts"] == trial.params["num_experts"]
            and record.command == trial.command
        )
        assert trial.values == [
            record.curve[-1].quality if record.curve else record.quality["top1"].value
        ]
    files = len(list(tmp_path.glob("*/*/*.json")))
    assert "recorded already" not in capsys.readouterr().err
    assert tuned(tmp_path, *words, "trials=4").trials == again.trials
    says = "study digits_soft_slots: its 4 trials are recorded already; "
    says += "type trials=<more>, or study=<another name>"
    assert says in capsys.readouterr().err
    assert len(list(tmp_path.glob("*/*/*.json"))) == files == 4


def test_study_and_runs_share_a_folder_whose_name_needs_quotes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["router=soft", "tune=slots", "trials=1", "records='my, runs'"]
    search(parse_command([*SHORT, *words]))
    files = {file.name for file in Path("my, runs", "studies").iterdir()}
    assert files == {"digits_soft_slots.json", "digits_soft_slots.journal"}
    assert len(list(Path("my, runs").glob("digits/soft/*.json"))) == 1
    assert [file.name for file in tmp_path.iterdir()] == ["my, runs"]


def test_records_that_cannot_be_written_are_told_before_a_trial(tmp_path: Path) -> None:
    """Also where the study itself is kept elsewhere."""
    (tmp_path / "file").touch()
    words = ["router=soft", "tune=slots", f"storage={tmp_path / 's.journal'}"]
    with pytest.raises(UserError, match=r"records=.*/file/runs cannot be written: Not a directory"):
        tuned(tmp_path / "file" / "runs", *words)
    assert not (tmp_path / "s.journal").exists()


@pytest.mark.slow
def test_the_winner_is_run_on_fresh_seeds_and_trials_stay_off_the_board(tmp_path: Path) -> None:
    found = tuned(tmp_path / "runs", "router=soft", "tune=slots", "trials=3", "winner=2")
    runs = [
        read_record(tmp_path / "runs" / "digits" / "soft" / f"{run}.json") for run in found.winner
    ]
    best = found.trials[found.best[0]]
    assert [run.seed for run in runs] == [1000, 1001] and all(
        run.config["trial"] is None for run in runs
    )
    assert all(run.config["num_experts"] == best.params["num_experts"] for run in runs)
    values = [
        (run.curve[-1].quality if run.curve else None, run.quality["top1"].value) for run in runs
    ]
    assert [(run.run, run.seed) for run in found.fresh] == [
        *zip(found.winner, (1000, 1001), strict=True)
    ]
    assert all(
        one.test == test and one.search in (seen, test)
        for one, (seen, test) in zip(found.fresh, values, strict=True)
    )
    build([str(tmp_path / "runs")], tmp_path / "site")
    (row,) = json.loads((tmp_path / "site" / "data" / "digits.json").read_text(encoding="utf-8"))[
        "rows"
    ]
    assert [run for _, run in row["runs"]] == found.winner and "tuned by digits_soft_slots" in row[
        "labels"
    ]
    page = (tmp_path / "site" / "studies" / "digits_soft_slots.html").read_text(encoding="utf-8")
    assert all(trial.run in page for trial in found.trials) and found.command in page.replace(
        "&#39;", "'"
    )
    assert all(
        (tmp_path / "site" / "runs" / f"{trial.run}.html").exists() for trial in found.trials
    )


def _study(
    values: list[tuple[float, ...]], params: list[dict[str, float]], directions: list[str]
) -> optuna.Study:
    study = optuna.create_study(directions=directions)
    for reached, options in zip(values, params, strict=True):
        spread = {name: optuna.distributions.FloatDistribution(0, 100) for name in options}
        study.add_trial(
            optuna.trial.create_trial(params=options, distributions=spread, values=reached)
        )
    return study


def test_ties_are_the_very_same_values_as_a_best_trial() -> None:
    """0.9 thrice is tied; 0.8 twice is not best; on a front, equal in both objectives."""
    values = [(0.9,), (0.8,), (0.9,), (0.8,), (0.9,)]
    assert ties(_study(values, [{"a": 1.0}] * 5, ["maximize"])) == [[0, 2, 4]]
    assert ties(_study(values[:2], [{"a": 1.0}] * 2, ["maximize"])) == []
    pairs = [(0.9, 3.0), (0.8, 1.0), (0.9, 3.0), (0.8, 2.0)]
    assert ties(_study(pairs, [{"a": 1.0}] * 4, ["maximize", "minimize"])) == [[0, 2]]


def test_importances_need_ten_different_settings_and_two_parameters() -> None:
    def shares(settings: int, trials: int, *names: str) -> dict[str, dict[str, float]]:
        params = [
            {name: float((number % settings) * (i + 1)) for i, name in enumerate(names)}
            for number in range(trials)
        ]
        study = _study(
            [(float(number % settings),) for number in range(trials)], params, ["maximize"]
        )
        return importances(study, ("quality",))

    assert SETTINGS == 10
    assert (
        shares(9, 30, "a", "b") == {} and shares(10, 10, "a") == {}
    )  # thirty trials of nine settings
    assert shares(10, 10, "a", "b")["quality"].keys() == {"a", "b"}


def test_a_front_with_a_winner_option_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["router=soft", "tune=slots", "objective=quality,flops"]
    with pytest.raises(
        UserError,
        match=r"winner=1 with objective=quality,flops: .*type objective=quality max_gflop=",
    ):
        parse_command([*words, "winner=1"])
    assert parse_command([*words, "winner=0"]).options.winner == 0
    monkeypatch.setattr("moesuite.tune.worker.is_open", lambda *_: False)
    search(parse_command([*words, f"records={tmp_path}"]))  # by default three seeds of a winner
    assert "no winner: a front has no single best trial" in capsys.readouterr().err


@pytest.mark.slow
def test_a_front_of_quality_and_flops_within_a_limit(tmp_path: Path) -> None:
    words = [
        "router=token_choice",
        "tune.space.eval_slots_per_token=choice(0.25,1,2,4)",
        "objective=quality,flops",
    ]
    found = tuned(tmp_path, *words, "trials=6", "max_gflop=0.0035")
    for trial in found.trials:
        assert trial.values is not None
        assert (trial.violated == ["max_gflop"]) is (trial.values[1] > 0.0035)
    kept = [trial for trial in found.trials if not trial.violated]
    values = {trial.number: trial.values or [] for trial in kept}
    behind = {
        n for n, (q, cost) in values.items() if any(o >= q and c < cost for o, c in values.values())
    }
    assert (
        found.best
        and not behind & set(found.best)
        and any(trial.violated for trial in found.trials)
    )


@pytest.mark.slow
@pytest.mark.parametrize(("option", "most"), [("max_dropped", 0.2), ("max_ms", 1e-6)])
def test_trials_beyond_a_limit_are_never_best(option: str, most: float, tmp_path: Path) -> None:
    """A quarter of a slot for each token drops most of them.

    No batch takes less than a nanosecond.
    """
    words = [
        "router=token_choice",
        "tune.space.slots_per_token=choice(0.25,4)",
        "trials=4",
        "data.batch_size=64",
    ]
    found = tuned(tmp_path, *words, f"{option}={most}")
    for trial in found.trials:
        record = read_record(next(tmp_path.glob(f"digits/token_choice/{trial.run}.json")))
        dropped = dropped_under_capacity(record.health)
        assert dropped is not None
        over = dropped > most if option == "max_dropped" else True
        assert (trial.violated == [option]) is over
    assert {trial.violated == [option] for trial in found.trials} == (
        {True, False} if most == 0.2 else {True}
    )
    assert not any(found.trials[number].violated for number in found.best) and bool(found.best) is (
        most == 0.2
    )


def test_hypervolume_by_hand() -> None:
    """0.5 from 1 to 4, another 0.3 from 2 to 4, nothing for a point that is dominated.

    Together 1.5 + 0.6 of 4.
    """
    assert hypervolume([(0.6, 3.0), (0.5, 1.0), (0.8, 2.0)], 4.0) == pytest.approx(2.1 / 4)


@pytest.mark.slow
def test_tuning_is_measured(command: Command) -> None:
    done = command(
        "moesuite.benchmarks.speed.tuning", "trials=2", "rounds=1", "studies=1", "steps=2", "side=2"
    )
    assert done.returncode == 0 and all(
        what in done.stdout for what in ("overhead of a trial", "times", "of grid of 4: ")
    )
