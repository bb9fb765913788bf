"""Orders of routers: over the tasks of a family, over all, and over those open to lookahead."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from statistics import fmean

from moesuite.leaderboard.ranking.board import Board
from moesuite.leaderboard.ranking.comparisons import difference
from moesuite.leaderboard.ranking.contestants import Difference, Row
from moesuite.statistics.order import MIN_SEEDS, MIN_TASKS, Placed, order
from moesuite.statistics.significance import BySeed

Cells = Mapping[tuple[str, str], Row]


@dataclass(frozen=True)
class Standing:
    """A router in a scope.

    Attributes:
        lead: mean over tasks of its difference to the average router, in margins.
        half: half the width of the interval of `lead`.
        ranks: best and worst rank that are possible, from 1; None without an order, or without a
            place in it.
        to_best: against the router with the largest lead.
        duels: share of duels with other routers that it won, a tie being half a win; None without a
            duel.
        reason: why it has no place, or "".
    """

    router: str
    lead: float | None = None
    half: float | None = None
    ranks: tuple[int, int] | None = None
    to_best: Difference | None = None
    duels: float | None = None
    reason: str = ""


@dataclass(frozen=True)
class Scope:
    """Some tasks, and the routers over them.

    Attributes:
        name: of the family, or of what else the tasks have in common.
        tasks: names.
        lacking: what is missing for an order, or "".
        standings: in order, or by name if there is none; routers without a place last.
    """

    name: str
    tasks: list[str]
    lacking: str
    standings: list[Standing]


def scopes(
    boards: Sequence[Board], cells: Cells, routers: Sequence[str], ahead: frozenset[str]
) -> list[Scope]:
    """Return the orders, those over most tasks first.

    Tasks without a ranked router, or whose metric has no margin, are part of none.
    """
    ranked = {where for (_, where), row in cells.items() if row.group is not None}
    usable = [board for board in boards if board.slug in ranked and board.margin is not None]
    seen: list[list[str]] = []
    orders = []
    for name, group in _groups(usable, ahead):
        tasks = [board.slug for board in group]
        if tasks not in seen:
            seen.append(tasks)
            orders.append(_scope(name, group, cells, routers, ahead))
    return sorted(orders, key=lambda scope: -len(scope.tasks))


def _groups(boards: Sequence[Board], ahead: frozenset[str]) -> Iterator[tuple[str, list[Board]]]:
    families = {
        family or "other": list(group)
        for family, group in groupby(boards, key=lambda board: board.family)
    }
    whole = {"all tasks": [*boards]} if len(families) > 1 else {}
    for name, group in {**families, **whole}.items():
        yield name, group
        applicable = [board for board in group if not board.causal]
        if ahead and applicable:
            yield f"{name} without those that predict later tokens", applicable


def _scope(
    name: str, boards: Sequence[Board], cells: Cells, routers: Sequence[str], ahead: frozenset[str]
) -> Scope:
    has_order = len(boards) >= MIN_TASKS
    reasons = {router: _reason(router, boards, cells, ahead, has_order) for router in routers}
    inside = [router for router in routers if not reasons[router]]
    tasks = [_quality(board, cells, inside) for board in boards]
    places, duels = order(tasks, margin=1.0), _duels(tasks)
    has_order = has_order and len(inside) > 1
    standings = [_standing(router, places[router], duels[router], len(inside)) for router in inside]
    if has_order:
        standings.sort(key=lambda standing: (-(standing.lead or 0.0), standing.router))
    excluded = sorted((reason, router) for router, reason in reasons.items() if reason)
    standings += [Standing(router, reason=reason) for reason, router in excluded]
    lacking = "" if has_order else _lacking(len(boards), len(inside))
    return Scope(name, [board.task for board in boards], lacking, standings)


def _reason(
    router: str, boards: Sequence[Board], cells: Cells, ahead: frozenset[str], has_order: bool
) -> str:
    """Return why a router has no place among the others, or ""."""
    if router in ahead and any(board.causal for board in boards):
        return "not applicable: looks ahead"
    rows = [(board.task, cells.get((router, board.slug))) for board in boards]
    missing = [task for task, row in rows if row is None or row.group is None]
    if missing:
        return f"no ranked result on {', '.join(missing)}"
    few = [
        f"{len(row.values)} on {task}"
        for task, row in rows
        if row is not None and len(row.values) < MIN_SEEDS
    ]
    return f"fewer than {MIN_SEEDS} seeds: {', '.join(few)}" if few and has_order else ""


def _lacking(tasks: int, routers: int) -> str:
    tasks_needed = f"at least {MIN_TASKS} tasks with {MIN_SEEDS} seeds each"
    needed = f"An order needs {tasks_needed} and two routers that ran them all"
    available = f"{tasks} task{'s' * (tasks != 1)}, and {routers} such router{'s' * (routers != 1)}"
    return f"{needed}: here {'is' if tasks == 1 else 'are'} {available}."


def _quality(board: Board, cells: Cells, routers: Sequence[str]) -> dict[str, BySeed]:
    """Return quality by router and seed, in margins, larger is better."""
    assert board.margin is not None
    scale = (1 if board.direction == "max" else -1) / board.margin
    return {
        router: {seed: scale * value for seed, value in cells[router, board.slug].values.items()}
        for router in routers
    }


def _standing(router: str, place: Placed, duels: float | None, routers: int) -> Standing:
    """Return the place of a router, to four digits: sums differ in the last ones by machine."""
    behind, to_best = place.behind, None
    if behind is not None:
        pairs = routers * (routers - 1) // 2
        equal = None if behind.equal is None else min(1.0, pairs * behind.equal)
        to_best = difference(behind, place.beaten, equal, "max")
    return Standing(
        router=router,
        lead=round(place.lead, 4) + 0.0,
        half=None if place.half is None else round(place.half, 4),
        ranks=place.ranks,
        to_best=to_best,
        duels=None if duels is None else round(duels, 4),
    )


def _duels(tasks: Sequence[Mapping[str, BySeed]]) -> dict[str, float | None]:
    """Return the share of duels that each router won, within a seed of a task.

    All tasks have the same weight.
    """
    shares: dict[str, list[float]] = {}
    for task in tasks:
        for router, ours in task.items():
            won = [
                0.5 + 0.5 * ((ours[seed] > theirs[seed]) - (ours[seed] < theirs[seed]))
                for other, theirs in task.items()
                for seed in ours.keys() & theirs.keys()
                if other != router
            ]
            shares.setdefault(router, []).extend([fmean(won)] if won else [])
    return {router: fmean(known) if known else None for router, known in shares.items()}
