"""Boards and orders over tasks from records made by hand."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from moesuite.leaderboard.ingest.entry import entry_of
from moesuite.leaderboard.ranking.board import Board, boards
from moesuite.leaderboard.ranking.overview import Overview
from moesuite.leaderboard.ranking.scopes import Standing
from moesuite.records.certificate import Verdict
from moesuite.records.record import RunRecord
from moesuite.records.verification import judge
from tests.leaderboard.records import record_of

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


def family(
    name: str, tasks: int, causal: bool, routers: dict[str, float], count: int = 3
) -> list[Board]:
    """Return benchmarks of a family, with a small scatter around each router's place."""
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


def contradicted(record: RunRecord, value: float) -> list[Verdict]:
    """Return the verdict of a rerun that gave another value."""
    (name,) = record.quality
    again = {name: record.quality[name].model_copy(update={"value": value})}
    return [judge(record, record.model_copy(update={"quality": again}), [])]
