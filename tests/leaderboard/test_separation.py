"""Pairs that separate, portraits and verdicts, of small records made by hand."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from moesuite.config.cli import parse
from moesuite.errors import UserError
from moesuite.leaderboard.ingest.entry import Entry
from moesuite.leaderboard.ranking.board import Board
from moesuite.leaderboard.ranking.contestants import Row
from moesuite.leaderboard.separation.__main__ import SeparationOptions, run
from moesuite.leaderboard.separation.portraits import portrait
from moesuite.leaderboard.separation.task import TaskResult, by_family, separated_anywhere
from moesuite.leaderboard.separation.verdicts import verdicts
from moesuite.statistics.significance import compared, separated

NOISE = (0.0, 0.001, -0.001, 0.002, -0.002)


def about(mean: float, seeds: int = 5, sign: int = 1) -> dict[int, float]:
    """Return a value for each seed; of another sign, noise that does not cancel in pairs."""
    return {seed: mean + sign * NOISE[seed] for seed in range(seeds)}


def task(name: str, family: str, metric: str, values: Mapping[str, dict[int, float]]) -> TaskResult:
    direction = "min" if metric in ("excess_loss", "stolen_bits") else "max"
    board = Board.model_construct(task=name, family=family, metric=metric, direction=direction)
    rows = {
        router: Row.model_construct(
            key=f"{name}/{router}",
            half=0.01,
            values=by_seed,
            runs=[(seed, f"{seed}") for seed in by_seed],
        )
        for router, by_seed in values.items()
    }
    return TaskResult(board, rows, values)


MEMORY = task(
    "memory", "diagnostics", "stored", {"a": about(0.7), "b": about(0.3, sign=-1), "c": about(0.7)}
)
PATHS = task(
    "paths", "diagnostics", "accuracy", {"a": about(0.8), "b": about(0.8, sign=-1), "c": about(0.6)}
)
DIGITS = task("digits", "vision", "top1", {"a": about(0.9), "b": about(0.9, sign=-1)})


def test_a_pair_separates_from_five_seeds_on_and_with_a_spread() -> None:
    """a and c differ by a constant: no test; with four seeds there is none either."""
    assert MEMORY.separated() == {("a", "b"), ("b", "c")}
    assert separated({"a": about(0.7, 4), "b": about(0.3, 4, -1)}) == set()
    assert MEMORY.pairs == 3 and MEMORY.seeds == 5


def test_pairs_have_both_orders_and_the_gap_of_the_first() -> None:
    pairs = compared(MEMORY.values)
    assert pairs["a", "b"].gap == pytest.approx(0.4) and pairs["b", "a"].gap == -pairs["a", "b"].gap
    assert pairs["a", "b"].p == pairs["b", "a"].p < 0.05


def test_a_pair_separates_over_tasks_if_one_of_them_separates_it() -> None:
    """memory tells b from a and c, paths b from c alone, whose noise differs: 2 of 3 pairs."""
    assert PATHS.separated() == {("b", "c")}
    assert separated_anywhere([MEMORY, PATHS]) == {("a", "b"), ("b", "c")}
    counts = {label: (len(pairs), total) for label, pairs, total in by_family([MEMORY, DIGITS])}
    assert counts == {"diagnostics, on any of 1": (2, 3), "digits": (0, 1)}


def test_a_portrait_says_group_place_and_distance_to_the_optimum() -> None:
    """On memory b is in the last of two groups, 1 - 0.3 from the optimum; digits has none known."""
    assert portrait([MEMORY, DIGITS], "b") == (
        "in the last on memory (0.3 ±0.01, 0.7 from the optimum, group 2 of 2, place 3 of 3); "
        "no router separates on digits (0.9 ±0.01, place 2 of 2)."
    )
    assert portrait([MEMORY, DIGITS], "c").endswith("; no result on digits.")


def judged(**metrics: Mapping[str, dict[int, float]]) -> dict[str, str]:
    """Return the verdicts of records with these metrics by router, by what is claimed."""
    routers: dict[str, dict[int, float]] = {
        router: about(0.5) for values in metrics.values() for router in values
    }
    needles = task("needles", "diagnostics", "excess_loss", routers)

    def entry(router: str, seed: int) -> Entry:
        figures = {
            name: (values[router][seed], False, 1)
            for name, values in metrics.items()
            if router in values
        }
        return Entry.model_construct(seed=seed, id=f"{seed}", metrics=figures)

    entries = {f"needles/{name}": [entry(name, seed) for seed in range(5)] for name in routers}
    return {each.claim.split()[0]: each.verdict for each in verdicts([needles], entries)}


def test_verdicts_follow_the_rules() -> None:
    served = {
        "usmoe": about(0.9),
        "expert_choice": about(0.7, sign=-1),
        "soft": dict.fromkeys(range(5), 1.0),
    }
    work = {"usmoe": about(0.2), "token_choice": about(0.4, sign=-1)}
    loss = {"soft": about(0.6), "expert_choice": about(0.2, sign=-1)}
    every = judged(needles_served=served, needle_work=work, excess_loss=loss)
    assert every == {
        "Expert": "holds",
        "Token": "does not hold",
        "Soft": "holds to the letter alone",
    }
    better = {"soft": about(0.1), "expert_choice": about(0.2, sign=-1)}
    assert judged(needles_served=served, excess_loss=better)["Soft"] == "holds"
    some = served | {"soft": about(0.99)}
    assert judged(needles_served=some, excess_loss=better)["Soft"] == "does not hold"


def test_what_is_not_shown_is_open() -> None:
    alike = {"usmoe": about(0.9), "expert_choice": about(0.9, sign=-1)}
    assert judged(needles_served=alike)["Expert"] == "open"
    assert {verdict.verdict for verdict in verdicts([MEMORY], {})} == {"open"}


def test_no_records_are_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no finished run of a router; first type"):
        run(parse(SeparationOptions, [f"records={tmp_path}"]))
