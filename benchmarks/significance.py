"""Error rate and power of the board's orders, by simulation.

    python -m moesuite.benchmarks.significance
    python -m moesuite.benchmarks.significance routers=5 tasks=1,5 seeds=3,5 boards=200

How often does it declare equal routers apart, and how often does it find a real difference?

Quality is in units of the noise between seeds. In a run of a task, a router's quality is its true
mean, plus its interaction with the task (standard deviation `interaction`), plus noise, plus
effects shared by all routers of a task and of a seed. With `spread`, the scale of interaction and
noise differs by router and task: log-normal, with that deviation.

Two tables for each number of routers:
- level: share of boards on which any pair is apart, in an order over tasks of routers that are
  equal on average over tasks, and ("within 1") in the tie groups of one task of equal routers;
- power: one router is better on average by 1, 2, 3 or 5; share of its pairs that an order over
  tasks finds.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Annotated

import numpy as np
from pydantic import Field
from rich.console import Console
from rich.progress import track
from rich.table import Table

from moesuite.config.cli import Options, run_command
from moesuite.statistics.order import order
from moesuite.statistics.significance import BySeed, tie_groups

DIFFERENCES = (1.0, 2.0, 3.0, 5.0)
LIMIT = 1000  # routers, tasks or seeds: more take hours
Board = list[dict[str, BySeed]]
Count = Annotated[int, Field(ge=1, le=LIMIT)]


class SignificanceOptions(Options):
    """Options of the command."""

    routers: list[Annotated[int, Field(ge=2, le=LIMIT)]] = Field(
        [5, 20], min_length=1, description="numbers of routers"
    )
    tasks: list[Count] = Field([*range(1, 11)], min_length=1, description="numbers of tasks")
    seeds: list[Count] = Field([*range(1, 11)], min_length=1, description="numbers of seeds")
    boards: int = Field(2000, ge=1, le=10**9, description="simulated boards of each number")
    interaction: float = Field(
        1.0, ge=0, description="deviation of a router's mean between tasks, in that of the noise"
    )
    spread: float = Field(
        0.0, ge=0, description="log-normal deviation of the size of interaction and noise"
    )
    seed: int = Field(0, ge=0, le=10**9, description="of all draws")


def draw(
    generator: np.random.Generator,
    means: Sequence[float],
    tasks: int,
    seeds: int,
    interaction: float,
    spread: float,
) -> Board:
    """Return one board: for each task, quality by router and seed.

    Args:
        generator: of all randomness.
        means: true mean of each router over tasks.
        tasks, seeds: number of tasks and of seeds.
        interaction: standard deviation of a router's mean between tasks, in units of the noise.
        spread: log-normal deviation, between routers and tasks, of the scale of both.
    """
    size = np.exp(spread * generator.normal(size=(tasks, len(means), 1)))
    by_router = interaction * generator.normal(size=(tasks, len(means), 1))
    by_run = generator.normal(size=(tasks, len(means), seeds))
    shared = 5 * generator.normal(size=(tasks, 1, 1)) + generator.normal(size=(tasks, 1, seeds))
    quality = (
        np.asarray(means)[None, :, None] + size * (by_router + by_run) + shared
    )  # [tasks, routers, seeds]
    return [
        {str(router): dict(enumerate(row)) for router, row in enumerate(by_router_and_seed)}
        for by_router_and_seed in quality.tolist()
    ]


def any_apart(board: Board) -> bool:
    """Return whether the order over tasks declares any pair apart."""
    return any(place.ranks not in (None, (1, len(board[0]))) for place in order(board).values())


def any_group(board: Board) -> bool:
    """Return whether the tie groups of the first task are more than one."""
    return max(tie_groups(board[0], "max").values()) > 1


def share_found(board: Board) -> float:
    """Return of how many other routers the first one is shown to be better, as a share."""
    ranks = order(board)["0"].ranks
    others = len(board[0]) - 1
    return 0.0 if ranks is None else (len(board[0]) - ranks[1]) / others


def simulate(boards: Iterator[Board], count: Callable[[Board], float]) -> float:
    """Return the mean of a count over boards."""
    return float(np.mean([count(board) for board in boards]))


def run(options: SignificanceOptions) -> None:
    """Simulate, and print the tables."""
    console = Console(width=None if sys.stdout.isatty() else 110)
    counts, tasks, seeds = options.boards, options.tasks, options.seeds
    interaction = options.interaction

    def cell(
        means: Sequence[float], task: int, seed: int, size: float, count: Callable[[Board], float]
    ) -> str:
        key = [options.seed, len(means), task, seed, round(1000 * means[0])]
        generator = np.random.default_rng(key)
        boards = (draw(generator, means, task, seed, size, options.spread) for _ in range(counts))
        return f"{100 * simulate(boards, count):.1f}"

    for routers in options.routers:
        equal = [0.0] * routers
        error = 100 * math.sqrt(0.05 * 0.95 / counts)
        title = (
            f"{routers} equal routers, {counts} boards: % with any pair apart "
            f"(standard error {error:.1f})"
        )
        level = _table("tasks", seeds)
        for task in track(tasks, f"{routers} routers", disable=not sys.stdout.isatty()):
            level.add_row(
                str(task), *(cell(equal, task, seed, interaction, any_apart) for seed in seeds)
            )
        level.add_row("within 1", *(cell(equal, 1, seed, 0.0, any_group) for seed in seeds))
        console.print(title, markup=False, highlight=False)
        console.print(level)
        power = _table("tasks", DIFFERENCES)
        for task in tasks:
            better = ([step] + [0.0] * (routers - 1) for step in DIFFERENCES)
            power.add_row(
                str(task),
                *(cell(means, task, max(seeds), interaction, share_found) for means in better),
            )
        console.print(
            f"{routers} routers, one better by 1 to 5: % of its pairs found, {max(seeds)} seeds",
            highlight=False,
        )
        console.print(power)


def _table(first: str, columns: Sequence[int | float]) -> Table:
    table = Table()
    for name in (first, *(f"{column:g}" for column in columns)):
        table.add_column(name, justify="right")
    return table


if __name__ == "__main__":
    run_command(run, SignificanceOptions, __doc__)
