"""Who stands where on the board: controls, settings, routers that do not apply, orders over tasks."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from typing import Any

import pytest

from moesuite.leaderboard.ingest.entry import entry_of
from moesuite.leaderboard.ranking.board import Board, boards
from moesuite.leaderboard.ranking.overview import Overview, overview
from moesuite.leaderboard.ranking.scopes import Standing
from moesuite.leaderboard.site import exports
from moesuite.records.certificate import Verdict
from moesuite.records.record import RunRecord
from moesuite.records.verification import judge
from tests.leaderboard.records import certificate_of, compute_of, record_of

NOISE = (0.000, 0.004, -0.003, 0.002, -0.001)


def board_of(
    records: list[RunRecord],
    verdicts: Mapping[str, list[Verdict]] | None = None,
    **certificates: Any,
) -> Board:
    known = [entry_of(record, (verdicts or {}).get(record.id, [])) for record in records]
    facts = {key: value for _, one in known for key, value in one.items()}
    (board,) = boards(
        [entry for entry, _ in known],
        facts,
        {router: [one] for router, one in certificates.items()},
    )
    return board


def seeds(
    router: str, mean: float, wobble: float = 0.001, count: int = 5, **changes: Any
) -> list[RunRecord]:
    """Return runs of a router: what the seeds have in common, and a little of its own."""
    own = sum(map(ord, router)) % 7
    return [
        record_of(router, seed, mean + NOISE[seed] + wobble * ((seed * own) % 5 - 2) / 2, **changes)
        for seed in range(count)
    ]


def test_controls_are_never_first() -> None:
    """dense and random are better than both routers, and yet these alone are ranked, in group 1 and 2."""
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
    """A later setting of the same backbone, steps, batch and rate says what it changes; the earlier keeps its name."""
    before = board_of(seeds("good", 0.9))
    later = {"optim": {"lr": 0.001, "weight_decay": 0.5}}
    more = [record_of("good", 9, config=later, created="2027-01-01T00:00:00+00:00")]
    after = board_of([*more, *seeds("good", 0.9)])
    assert before.settings.items() <= after.settings.items()
    assert list(after.settings.values()) == [
        "vit, 100 steps, batch 32, AdamW 0.001",
        "vit, 100 steps, batch 32, AdamW 0.001, optim.weight_decay=0.5",
    ]


def test_tied_and_equal_are_told_apart() -> None:
    """a and b differ by nothing but 0.001 of noise, far below the margin of 0.01; c is noisier than that."""
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
    """Dense against the dense model beside it, 1.07, 1.12 and 1.09 times: below 1.12 a ratio says little."""
    dense = [
        record_of("dense", seed, compute=compute_of(r, 1e9))
        for seed, r in enumerate((1.07, 1.12, 1.09))
    ]
    board = board_of([*dense, record_of("good", 0)])
    (noise,) = board.noise.values()
    assert noise.latency is not None
    assert (noise.latency.least, noise.latency.median, noise.latency.most, noise.latency.runs) == (
        1.07,
        1.09,
        1.12,
        3,
    )
    (line, *_) = csv.DictReader(io.StringIO(exports.csv_of(board)))
    (machine,) = board.noise
    assert (
        line[f"least dense latency_ratio on {machine}"],
        line[f"most dense step_ratio on {machine}"],
    ) == (
        "1.07",
        "1.12",
    )


def family(
    name: str, tasks: int, causal: bool, routers: dict[str, float], count: int = 3
) -> list[Board]:
    """Return benchmarks of a family, of which each router has its place, and a little more or less on each task."""
    found = []
    for number in range(tasks):
        shared: dict[str, Any] = {"task": f"{name}_{number}", "family": name, "causal": causal}
        records = seeds("dense", 0.5, count=count, **shared)
        for router, mean in routers.items():
            records += seeds(
                router,
                mean + 0.002 * ((number * (ord(router[0]) % 4 + 1)) % 5 - 2),
                count=count,
                **shared,
            )
        found.append(board_of(records))
    return found


def standings(view: Overview, scope: str) -> dict[str, Standing]:
    (one,) = [one for one in view.scopes if one.name == scope]
    return {standing.router: standing for standing in one.standings}


AHEAD = {"router_causal": False}


def test_a_router_that_looks_ahead_keeps_its_rank_where_it_applies() -> None:
    """`soft` is first of five image tasks; text it cannot do, by what it says itself: not applicable, not missing."""
    images = family("vision", 5, False, {"plain": 0.80, "other": 0.70})
    text = family("language", 5, True, {"plain": 0.60, "other": 0.65})
    soft = [
        board_of(
            [
                *seeds("dense", 0.5, count=3, task=board.task, family="vision", causal=False),
                *seeds(
                    "plain",
                    0.8 + 0.004 * number,
                    count=3,
                    task=board.task,
                    family="vision",
                    causal=False,
                ),
                *seeds(
                    "other",
                    0.7 - 0.003 * number,
                    count=3,
                    task=board.task,
                    family="vision",
                    causal=False,
                ),
                *seeds(
                    "soft", 0.9, count=3, task=board.task, family="vision", causal=False, **AHEAD
                ),
            ]
        )
        for number, board in enumerate(images)
    ]
    view = overview(soft + text)
    assert (
        view.ahead == {"soft"}
        and not view.applies("soft", text[0])
        and view.applies("soft", soft[0])
    )
    assert standings(view, "vision")["soft"].ranks == (1, 1) and standings(view, "vision")[
        "other"
    ].ranks == (3, 3)
    assert standings(view, "language")["soft"].reason == "not applicable: looks ahead"
    assert standings(view, "language")["plain"].ranks is not None
    whole = standings(view, "all tasks")
    assert (
        whole["soft"].reason == "not applicable: looks ahead" and whole["plain"].ranks is not None
    )
    assert [scope.name for scope in view.scopes] == [
        "all tasks",
        "language",
        "vision",
    ]  # none twice


def test_a_router_that_could_have_been_run_is_missing_not_excused() -> None:
    """Two best experts look ahead for slots, one does not: `token_choice` applies, and `expert_choice` never does."""
    image = {"task": "image", "causal": False}
    two = {"config": {"router": {"name": "token_choice", "k": 2}}, **AHEAD}
    images = [
        board_of(
            [
                *seeds("dense", 0.5, **image),
                *seeds("token_choice", 0.8, **image, router_causal=True),
            ]
        ),
        board_of(
            [
                *seeds("dense", 0.5, **{**image, "task": "other"}),
                *seeds("token_choice", 0.8, **{**image, "task": "other"}, **two),
                *seeds("expert_choice", 0.8, **{**image, "task": "other"}, **AHEAD),
            ]
        ),
    ]
    text = board_of(
        [*seeds("dense", 0.5, causal=True), *seeds("plain", 0.8, causal=True, router_causal=True)]
    )
    view = overview([*images, text])
    assert view.ahead == {"expert_choice"} and view.applies("token_choice", text)
    assert standings(view, "vision")["token_choice"].reason == "no ranked result on mine"
    assert standings(view, "vision")["expert_choice"].reason == "not applicable: looks ahead"
    assert overview([images[1], text]).ahead == {
        "token_choice",
        "expert_choice",
    }  # shown with two only


def contradicted(record: RunRecord, value: float) -> list[Verdict]:
    """Return the verdict of a rerun that gave another value."""
    (name,) = record.quality
    again = {name: record.quality[name].model_copy(update={"value": value})}
    return [judge(record, record.model_copy(update={"quality": again}), [])]


def test_what_a_rerun_contradicts_is_shown_and_heads_nothing() -> None:
    """`lied` is first of three by far; a rerun of one of its seeds makes it stand behind them, said in words."""
    lied = seeds("lied", 0.99, 0.002)
    others = [*seeds("dense", 0.85), *seeds("good", 0.9), *seeds("bad", 0.5)]
    before = board_of([*others, *lied])
    board = board_of([*others, *lied], verdicts={lied[3].id: contradicted(lied[3], 0.8)})
    assert [(row.router, row.group) for row in before.rows[:3]] == [
        ("lied", 1),
        ("good", 2),
        ("bad", 3),
    ]
    order = [("good", 1), ("bad", 2), ("dense", None), ("lied", None)]
    assert [(row.router, row.group) for row in board.rows] == order
    row = board.rows[-1]
    assert row.unranked == "a rerun gave another result" and row.unranked in row.labels
    assert board.section(row) == "Not ranked" and row.to_best is None and row.to_dense is None
    assert standings(overview([board]), "vision")["lied"].reason == "no ranked result on mine"
    cells = {line["router"]: line for line in csv.DictReader(io.StringIO(exports.csv_of(board)))}
    assert (
        cells["lied"]["group"] == "" and cells["lied"]["unranked"] == "a rerun gave another result"
    )
    told = exports.every_eval_ever(board, row)["model_info"]["additional_details"]
    assert told["verification"] == "a rerun gave another result"
    again = [*contradicted(lied[3], 0.8), *contradicted(lied[3], lied[3].quality["top1"].value)]
    restored = board_of([*others, *lied], verdicts={lied[3].id: again})  # with more seeds, say
    assert (restored.rows[0].router, restored.rows[0].verified, restored.rows[0].refuted) == (
        "lied",
        1,
        0,
    )


def test_nothing_is_measured_by_a_dense_run_that_a_rerun_contradicts() -> None:
    dense = seeds("dense", 0.2)
    board = board_of(
        [*dense, *seeds("good", 0.9)], verdicts={dense[0].id: contradicted(dense[0], 0.9)}
    )
    said = {row.router: (row.group, row.unranked, row.to_dense) for row in board.rows}
    assert said["good"] == (None, "no matched dense run", None)
    assert said["dense"] == (None, "control: a rerun gave another result", None)


def test_certificates_and_runs_say_that_a_router_looks_ahead() -> None:
    certified = board_of(seeds("soft", 0.9), soft=certificate_of("soft"))
    let_in = board_of([record_of("soft", 0, lookahead={"outputs": 0.5, "bits": 0.1})])
    other = board_of(seeds("soft", 0.9), soft=certificate_of("soft", k=2))
    assert certified.rows[0].causal is False and let_in.rows[0].causal is False and let_in.causal
    assert other.rows[0].causal is None  # certified with other options


def test_without_enough_tasks_or_seeds_there_are_points_and_what_is_missing() -> None:
    view = overview(family("vision", 4, False, {"plain": 0.8, "other": 0.7}))
    (scope,) = view.scopes
    assert (
        "at least 5 tasks with 3 seeds each" in scope.lacking
        and "here are 4 tasks" in scope.lacking
    )
    assert [(one.router, one.ranks) for one in scope.standings] == [
        ("other", None),
        ("plain", None),
    ]  # by name
    few = family("vision", 4, False, {"plain": 0.8, "other": 0.7})
    few += [board_of([*seeds("dense", 0.5), *seeds("plain", 0.8), *seeds("other", 0.7, count=2)])]
    (scope,) = overview(few).scopes
    assert {one.router: one.reason for one in scope.standings} == {
        "plain": "",
        "other": "fewer than 3 seeds: 2 on mine",
    }
    assert scope.lacking.endswith("here are 5 tasks, and 1 such router.")
    gone = [*few[:4], board_of([*seeds("dense", 0.5), *seeds("plain", 0.8)])]
    assert standings(overview(gone), "vision")["other"].reason == "no ranked result on mine"


def test_an_order_says_how_far_others_are_behind() -> None:
    view = overview(family("vision", 6, False, {"plain": 0.8, "other": 0.7, "near": 0.8}))
    places = standings(view, "vision")
    assert places["other"].ranks == (3, 3) and places["plain"].ranks == places["near"].ranks == (
        1,
        2,
    )
    behind = places["other"].to_best
    # 0.1 is ten margins of 0.01
    assert (
        behind is not None
        and behind.mean == pytest.approx(-10, abs=0.5)
        and behind.verdict == "worse"
    )
    assert places["other"].duels == 0 and places["plain"].half is not None
