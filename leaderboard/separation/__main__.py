"""Print which routers the tasks of some records tell apart, and what each is good at, as Markdown.

    python -m moesuite.leaderboard.separation records=runs
    python -m moesuite.leaderboard.separation records=runs > diagnostics.md

Pairs of routers are tested on each task as the board's tie groups are: paired by seed, corrected by
Holm for all pairs, from five seeds on. Verdicts on claims follow rules that are printed with them.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence

from pydantic import Field

from moesuite.config.cli import Options, run_command
from moesuite.errors import UserError
from moesuite.leaderboard.ranking.board import Board
from moesuite.leaderboard.ranking.overview import overview
from moesuite.leaderboard.reading import Benchmarks, benchmarks
from moesuite.leaderboard.separation.portraits import portraits
from moesuite.leaderboard.separation.task import (
    DIAGNOSTICS,
    TaskResult,
    by_family,
    results,
)
from moesuite.leaderboard.separation.verdicts import verdicts

BITS = "stored_bits"  # information that a model holds


class SeparationOptions(Options):
    """Options of the command."""

    records: list[str] = Field(
        ["runs"], min_length=1, description="folders that runs wrote to, or addresses"
    )


def run(options: SeparationOptions) -> None:
    """Print the report.

    Raises:
        UserError: if there is no finished run of a router.
    """
    read = benchmarks(options.records)
    for problem in read.problems:
        print(f"error: left out: {problem}", file=sys.stderr)
    if not (tasks := results(read.boards)):
        raise UserError(
            f"records={','.join(options.records)} holds no finished run of a router; first type "
            "python -m moesuite.run benchmark=diagnostics"
        )
    print("\n".join(report(read, tasks)))


def report(read: Benchmarks, tasks: Sequence[TaskResult]) -> Iterator[str]:
    """Yield the lines of the report."""
    yield "## How many pairs of routers separate\n"
    yield from _pairs(tasks)
    yield "\n## Tie groups\n"
    yield from map(_groups, tasks)
    yield "\n## What each router is good and bad at\n"
    for paragraph in portraits(tasks):
        yield f"{paragraph}\n"
    yield "## Claims\n"
    for verdict in verdicts(tasks, read.entries):
        yield f"- **{verdict.claim}** {verdict.rule} **{verdict.verdict}** ({verdict.figures})."
    for board in read.boards:
        if board.family == DIAGNOSTICS and not board.other:
            yield from _options(board)


def _pairs(tasks: Sequence[TaskResult]) -> Iterator[str]:
    """Yield the counts: by task, over tasks, and of the orders over tasks."""
    yield "| task | family | metric | routers | seeds | pairs that separate | tie groups |"
    yield "|---|---|---|---|---|---|---|"
    for task in tasks:
        board, count = task.board, len(task.separated())
        yield (
            f"| {board.task} | {board.family} | {board.metric} | {len(task.values)} | {task.seeds} "
            f"| {_share(count, task.pairs)} | {task.number_of_groups} |"
        )
    yield ""
    for label, pairs, total in by_family(tasks):
        yield f"- {label}: {_share(len(pairs), total)} pairs"
    for scope in overview([task.board for task in tasks]).scopes:
        ranks = [standing.ranks for standing in scope.standings if standing.ranks is not None]
        if ranks:
            # a router's best rank is one more than the number of those that beat it
            beaten, total = sum(rank[0] - 1 for rank in ranks), len(ranks) * (len(ranks) - 1) // 2
            tasks_named = f"{len(scope.tasks)} tasks"
            yield f"- order over {tasks_named} ({scope.name}): {_share(beaten, total)} pairs"


def _share(count: int, total: int) -> str:
    return f"{count} of {total}" + (f" ({count / total:.0%})" if total else "")


def _groups(task: TaskResult) -> str:
    """Return the tie groups of a task, best first."""
    groups = (
        ", ".join(name for name in sorted(task.groups) if task.groups[name] == number)
        for number in range(1, task.number_of_groups + 1)
    )
    return f"- {task.board.task}: " + "; ".join(
        f"{number}: {names}" for number, names in enumerate(groups, start=1)
    )


def _options(board: Board) -> Iterator[str]:
    """Yield a table of all contestants, if there are several of a router: experts, widths."""
    routers = [row.router for row in board.rows]
    if len(routers) == len(set(routers)):
        return
    several = {name for name in routers if routers.count(name) > 1}
    yield f"\n## {board.task} by options\n"
    yield f"| setting | router | options | {board.metric} | bits per active, total parameter |"
    yield "|---|---|---|---|---|"
    for row in board.rows:
        if row.router in several:
            half = "" if row.half is None else f" ±{row.half:.2g}"
            bits = row.metrics.get(BITS, (None,))[0]
            sizes = row.figures["parameters_active"], row.figures["parameters_total"]
            known = bits is not None and all(sizes)
            ratios = ", ".join(f"{bits / size:.3g}" for size in sizes if bits and size)
            yield (
                f"| {board.settings[row.setting]} | {row.router} | {row.variant} "
                f"| {row.mean:.3g}{half} | {ratios if known else ''} |"
            )


def main() -> None:
    """Run the command line; exits with 2 for bad input."""
    run_command(run, SeparationOptions, __doc__)


if __name__ == "__main__":
    main()
