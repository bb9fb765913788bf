"""A board: paired differences, tie groups, contestants, labels and marks."""

from __future__ import annotations

from pathlib import Path

import pytest

from moesuite.leaderboard.ranking.board import slug
from moesuite.leaderboard.ranking.overview import overview
from moesuite.leaderboard.site.build import build
from tests.leaderboard.boards import boards_of, example
from tests.leaderboard.records import certificate_of, compute_of, config_of, record_of

pytestmark = pytest.mark.usefixtures("made_records")


def test_paired_differences_and_tie_groups() -> None:
    """good is better than dense in every seed by 0.0302 on average; bad is far below."""
    (mine, _) = boards_of(example()[:16]) + boards_of(example()[17:])
    rows = {row.router: row for row in mine.rows}
    assert rows["good"].to_dense is not None and rows["good"].to_dense.mean == pytest.approx(0.0302)
    assert {name: row.group for name, row in rows.items()} == {
        "good": 1,
        "dense": None,
        "bad": 2,
        "soft_one": None,
    }
    assert rows["soft_one"].unranked == "not applicable: outputs depend on later tokens"
    assert "sees later tokens" in rows["soft_one"].labels
    assert (
        rows["dense"].to_dense is None
        and rows["dense"].half is not None
        and rows["dense"].unranked == "control"
    )
    assert (
        rows["bad"].to_best is not None
        and rows["bad"].to_best.verdict == "worse"
        and rows["good"].to_best is None
    )


def test_without_a_matched_dense_run_nothing_is_ranked() -> None:
    other = {"optim": {"lr": 0.5}}
    (board,) = boards_of(
        [record_of("dense", 0), *(record_of("good", seed, config=other) for seed in range(5))]
    )
    rows = {row.router: row for row in board.rows}
    assert rows["good"].group is None and rows["good"].unranked == "no matched dense run"
    assert rows["good"].to_dense is None
    assert {*board.settings.values()} == {
        "vit, 100 steps, batch 32, AdamW 0.001",
        "vit, 100 steps, batch 32, AdamW 0.5",
    }


def test_of_two_runs_of_a_seed_the_newest_counts() -> None:
    older, newer = (
        record_of("good", 0, 0.1),
        record_of(
            "good", 0, 0.2, config={"allow_noncausal": True}, created="2027-01-01T00:00:00+00:00"
        ),
    )
    (board,) = boards_of([newer, older])
    assert board.rows[0].mean == 0.2 and [run for _, run in board.rows[0].runs] == [
        newer.id,
        older.id,
    ]


def test_options_tell_contestants_apart() -> None:
    two = config_of("mine", "good", 0) | {"router": {"name": "good", "k": 2}}
    (board,) = boards_of([record_of("good", 0), record_of("good", 0, config=two)])
    shared = "layers=last_half, num_experts=4"
    assert sorted(row.variant for row in board.rows) == [
        f"{shared}, router.k=1",
        f"{shared}, router.k=2",
    ]
    (alone,) = boards_of([record_of("good", 0)])
    assert (
        alone.rows[0].variant == f"{shared}, router.k=1"
    )  # whether or not there is another to tell it from


def test_other_data_is_another_benchmark() -> None:
    found = boards_of(
        [
            record_of("good", 0),
            record_of("good", 1),
            record_of("good", 2, data_fingerprint="sha256:0ther"),
        ]
    )
    (other,) = {board.slug for board in found} - {"mine"}
    assert other.startswith("mine~") and slug(other) != other
    assert {board.slug: (bool(board.other), len(board.rows)) for board in found} == {
        "mine": (False, 1),
        other: (True, 1),
    }


def test_times_of_two_machines_are_never_mixed() -> None:
    there = {"device": "GPU", "cpus": "8", "threads": "2", "moesuite": "0.1.0"}
    (board,) = boards_of(
        [
            record_of("good", 0),
            record_of("good", 1, environment=there, compute=compute_of(3.0, 1e9)),
        ]
    )
    timings = board.rows[0].timings
    assert {
        name.split(",")[0]: times["latency_ratio_to_dense"] for name, times in timings.items()
    } == {
        "CPU": 1.25,
        "GPU": 3.0,
    }


def test_labels_say_what_a_reader_has_to_know() -> None:
    dirty = record_of("good", 0, git_dirty=True)
    other = record_of("good", 1, code="d" * 64, git_commit=None, git_dirty=None)
    (board,) = boards_of([dirty, other])
    assert board.rows[0].labels == ["uncommitted code", "unknown commit", "2 seeds"]


def test_marks_are_those_of_a_certificate_with_the_same_options(runs: Path, tmp_path: Path) -> None:
    (same,), (other,) = (
        boards_of([record_of("good", 0)], good=certificate_of(k=k)) for k in (1, 2)
    )
    assert same.rows[0].checks == {"deterministic": True, "causal": False} and same.rows[0].stale
    current = certificate_of(k=1).model_copy(update={"protocol": "engine 1, router 1"})
    assert not boards_of([record_of("good", 0)], good=current)[0].rows[0].stale
    assert other.rows[0].checks == {}
    (runs / "certificates").mkdir()
    (runs / "certificates" / "good.json").write_text(
        certificate_of(k=1).model_dump_json(), encoding="utf-8"
    )
    (runs / "certificates" / "none.json").write_text("{}", encoding="utf-8")
    built = build([str(runs)], tmp_path / "site")
    assert built.problems == [
        f"{runs}/certificates/none.json: not a certificate: router: field required"
    ]
    assert "class Good: ..." in (tmp_path / "site" / "routers" / "good.html").read_text(
        encoding="utf-8"
    )


def test_the_overview_takes_the_usual_budget_and_not_the_best_one() -> None:
    large = {"num_experts": 64}
    records = [
        record_of("dense", 0),
        record_of("a", 0, 0.5),
        record_of("b", 0, 0.6),
        record_of("a", 0, 0.99, config=large),
    ]
    view = overview(boards_of(records))
    assert view.cells["a", "mine"].mean == 0.5


def test_the_matched_dense_model_began_alike_and_is_as_deep() -> None:
    deep, at_start = {"tile_depth": 2}, {"init": "last.ckpt"}
    records = [record_of("dense", seed, 0.5) for seed in range(6)]
    records += [record_of("dense", seed, 0.9, config=deep) for seed in range(6)]
    records += [
        record_of("dense", seed, 0.8, config=at_start, contents={"init": "h1"}) for seed in range(5)
    ]
    records += [
        record_of("good", seed, 0.79, config=at_start, contents={"init": "h1"}) for seed in range(5)
    ]
    records.append(record_of("other", 0, 0.6, config=at_start, contents={"init": "h2"}))
    (board,) = boards_of(records)
    rows = {row.router: row for row in board.rows}
    assert rows["good"].to_dense is not None and rows["good"].to_dense.mean == pytest.approx(-0.01)
    assert rows["other"].to_dense is None and rows["other"].unranked == "no matched dense run"


def test_runs_that_say_nothing_do_not_hide_others() -> None:
    records = [record_of("dense", seed) for seed in range(2)] + [
        record_of("good", seed) for seed in range(2)
    ]
    failed = [
        record_of("good", seed, status="failed", quality={}, data_fingerprint="sha256:0ther000")
        for seed in range(5)
    ]
    alone = [record_of(name, 0, config={"optim": {"lr": 0.5}}) for name in ("a", "b", "c")]
    new_task = [record_of("good", 0, task="new")]
    view = overview(boards_of(records + failed + alone) + boards_of(new_task))
    assert {board.task for board in view.boards} == {"mine", "new"}
    assert view.cells["good", "mine"].group == 1
    assert [scope.name for scope in view.scopes] == ["vision"] and view.scopes[0].standings[
        0
    ].router == "good"
