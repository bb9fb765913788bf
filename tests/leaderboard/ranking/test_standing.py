"""Where routers stand over several tasks: look-ahead, missing runs, contradictions."""

from __future__ import annotations

import csv
import io

import pytest

from moesuite.leaderboard.ranking.overview import overview
from moesuite.leaderboard.site import exports
from tests.leaderboard.ranking.standings import board_of, contradicted, family, seeds, standings
from tests.leaderboard.records import certificate_of, record_of

AHEAD = {"router_causal": False}


def test_a_router_that_looks_ahead_keeps_its_rank_where_it_applies() -> None:
    """`soft` is first on five image tasks, and by its own claim cannot do text.

    There it is not applicable, rather than missing.
    """
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
    """Two best experts look ahead for slots, one does not.

    `token_choice` applies, and `expert_choice` never does.
    """
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


def test_a_contradicted_run_is_shown_but_never_first() -> None:
    """`lied` is first of three by far.

    A rerun of one of its seeds makes it stand behind them, said in words.
    """
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
