"""Contestants on one board: controls, settings, ties, noise of times."""

from __future__ import annotations

import csv
import io

import pytest

from moesuite.leaderboard.ranking.overview import overview
from moesuite.leaderboard.site import exports
from tests.leaderboard.ranking.standings import board_of, seeds
from tests.leaderboard.records import compute_of, record_of


def test_controls_are_never_first() -> None:
    """dense and random beat both routers, but only routers are ranked, in groups 1 and 2."""
    board = board_of(
        [*seeds("dense", 0.95), *seeds("random", 0.97), *seeds("good", 0.9), *seeds("bad", 0.5)]
    )
    assert [(row.router, row.group) for row in board.rows] == [
        ("good", 1),
        ("bad", 2),
        ("random", None),
        ("dense", None),
    ]
    assert [board.section(row) for row in board.rows[1:3]] == [
        "Ranked in the main setting",
        "Controls",
    ]
    random = board.rows[2]
    assert (
        random.unranked == "control" and random.to_dense is not None and random.to_dense.mean > 0.01
    )


def test_a_tuned_winner_is_another_setting_and_not_at_the_head() -> None:
    tuned = seeds("good", 0.99, config={"study": "digits_good"})
    board = board_of([*seeds("dense", 0.9), *seeds("good", 0.92), *seeds("bad", 0.5), *tuned])
    assert [(row.router, row.group) for row in board.rows] == [
        ("good", 1),
        ("bad", 2),
        ("dense", None),
        ("good", None),
    ]
    last = board.rows[-1]
    assert board.section(last) == "Other settings" and last.unranked == "tuned"
    assert (
        board.settings[last.setting]
        == "vit, 100 steps, batch 32, AdamW 0.001, tuned by digits_good"
    )
    # the dense model of the same options, which no study tuned, is still what it is compared with
    assert last.to_dense is not None and last.to_dense.mean == pytest.approx(0.09, abs=0.005)


def test_another_number_of_steps_is_another_setting_below_the_main_one() -> None:
    longer = {"trainer": {"max_steps": 900}}
    more = [
        *seeds("dense", 0.97, config=longer, steps=900),
        *seeds("good", 0.98, config=longer, steps=900),
    ]
    board = board_of([*more, *seeds("dense", 0.9), *seeds("good", 0.92), *seeds("bad", 0.91)])
    assert [(row.router, row.steps) for row in board.rows[:2]] == [("good", 100), ("bad", 100)]
    assert board.settings[board.main] == "vit, 100 steps, batch 32, AdamW 0.001"
    assert (board.rows[-1].router, board.rows[-1].steps) == ("good", 900)


def test_names_of_settings_stay_when_a_run_is_added() -> None:
    """A later setting of the same backbone, steps, batch and rate says what it changes.

    The earlier keeps its name.
    """
    before = board_of(seeds("good", 0.9))
    later = {"optim": {"lr": 0.001, "weight_decay": 0.5}}
    more = [record_of("good", 9, config=later, created="2027-01-01T00:00:00+00:00")]
    after = board_of([*more, *seeds("good", 0.9)])
    assert before.settings.items() <= after.settings.items()
    assert list(after.settings.values()) == [
        "vit, 100 steps, batch 32, AdamW 0.001",
        "vit, 100 steps, batch 32, AdamW 0.001, optim.weight_decay=0.5",
    ]


def test_tied_and_equal_are_distinguished() -> None:
    """a and b differ by nothing but 0.001 of noise, far below the margin of 0.01.

    c is noisier than that.
    """
    board = board_of(
        [
            *seeds("dense", 0.9),
            *seeds("a", 0.9),
            *seeds("b", 0.9),
            *seeds("c", 0.9, wobble=0.1),
            *seeds("x", 0.91, 0.001),
        ]
    )
    rows = {row.router: row for row in board.rows}
    verdicts = {
        name: row.to_dense.verdict for name, row in rows.items() if row.to_dense is not None
    }
    assert (verdicts["a"], verdicts["c"]) == ("equal", "open") and verdicts["x"].startswith(
        "better"
    )
    noisy, quiet = rows["c"].to_dense, rows["a"].to_dense
    assert (
        noisy is not None
        and quiet is not None
        and noisy.detectable is not None
        and quiet.detectable is not None
    )
    assert noisy.detectable > 0.01 > quiet.detectable and board.margin == 0.01
    few = board_of([*seeds("dense", 0.9, count=3), *seeds("a", 0.9, count=3)]).rows[0].to_dense
    assert few is not None and (few.verdict, few.detectable, few.equal) == ("", None, None)


def test_a_metric_without_a_margin_calls_nothing_equal() -> None:
    quality = {"odd": {"value": 0.5, "direction": "max", "n": 9}}
    records = [
        record_of(name, seed, quality=quality, primary="odd")
        for name in ("dense", "a")
        for seed in range(5)
    ]
    board = board_of(records)
    assert board.margin is None and all(
        row.to_dense is None or row.to_dense.equal is None for row in board.rows
    )
    assert overview([board]).scopes == []


def test_the_noise_of_times_stands_beside_them() -> None:
    """Dense against the dense model beside it, 1.07, 1.12 and 1.09 times.

    Below 1.12 a ratio says little.
    """
    dense = [
        record_of("dense", seed, compute=compute_of(r, 1e9))
        for seed, r in enumerate((1.07, 1.12, 1.09))
    ]
    board = board_of([*dense, record_of("good", 0)])
    (noise,) = board.noise.values()
    spread = noise["latency_ratio_to_dense"]
    assert (spread.least, spread.median, spread.most, spread.runs) == (
        1.07,
        1.09,
        1.12,
        3,
    )
    (line, *_) = csv.DictReader(io.StringIO(exports.csv_of(board)))
    (machine,) = board.noise
    assert (
        line[f"least dense latency_ratio_to_dense on {machine}"],
        line[f"most dense training_step_ratio_to_dense on {machine}"],
    ) == (
        "1.07",
        "1.12",
    )
