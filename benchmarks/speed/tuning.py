"""Cost and quality of tuning: overhead of trials, one or two workers, a front against a grid.

    python -m moesuite.benchmarks.speed.tuning trials=30 rounds=3 studies=3 steps=100 side=6

Digits, Soft MoE, one thread per worker. Overhead: wall time per trial of a study of short runs,
without that of `fit`. Workers: trials per hour of two processes and of one, start included, medians
of `rounds` in turn. Front, at each order of the data: the hypervolume of the
Pareto front of `trials` trials over slots per token and learning rate, quality against GFLOP, and
of a grid of `side` x `side` runs; the reference is quality 0 at the largest GFLOP of all.
"""

from __future__ import annotations

import itertools
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

from pydantic import Field
from rich.console import Console

from moesuite.config.cli import Options, run_command
from moesuite.config.compose import composed, varied
from moesuite.train.fit import fit
from moesuite.tune import trial as trials
from moesuite.tune.arguments import parse_command
from moesuite.tune.trial import objective_value
from moesuite.tune.worker import search

SPACE = {"slots_per_token": (0.25, 4.0), "optim.lr": (3e-4, 1e-2)}
POINT = tuple[float, float]  # quality, GFLOP


def words(folder: Path, steps: int) -> list[str]:
    """Return the overrides of every study here."""
    return [
        "task=digits",
        "router=soft",
        f"trainer.max_steps={steps}",
        "data.batch_size=64",
        f"records={folder}",
        "winner=0",
    ]


def space() -> list[str]:
    """Return the lines of the space."""
    return [
        f"tune.space.{name}=tag(log,interval({low:g},{high:g}))"
        for name, (low, high) in SPACE.items()
    ]


def overhead(folder: Path, count: int) -> float:
    """Return seconds per trial outside the run; the first trial, which loads data, is excluded."""
    spent: list[float] = []

    def timed(*arguments: Any) -> Any:
        begun = time.perf_counter()
        try:
            return fit(*arguments)
        finally:
            spent.append(time.perf_counter() - begun)

    with mock.patch.object(trials, "fit", timed):
        search(parse_command([*words(folder, 1), *space(), "trials=1", "study=overhead"]))
        spent.clear()
        begun = time.perf_counter()
        search(
            parse_command([*words(folder, 1), *space(), f"trials={count + 1}", "study=overhead"])
        )
        return (time.perf_counter() - begun - sum(spent)) / count


def hours(folder: Path, steps: int, count: int, workers: int, number: int) -> float:
    """Return trials per hour of several processes on one study."""
    line = [
        sys.executable,
        "-m",
        "moesuite.tune",
        *words(folder, steps),
        *space(),
        f"trials={count}",
        f"study=workers{workers}_{number}",
    ]
    begun = time.perf_counter()
    started = [
        subprocess.Popen(
            line,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for _ in range(workers)
    ]
    if any(process.wait() for process in started):
        raise RuntimeError(f"{line} failed")
    return 3600 * count / (time.perf_counter() - begun)


def front(folder: Path, steps: int, count: int, seed: int) -> list[POINT]:
    """Return quality and GFLOP of the trials of a study."""
    overrides = [*words(folder, steps), f"data.seed={seed}", *space(), f"trials={count}"]
    overrides += ["objective=quality,flops", f"study=front{seed}"]
    return [
        (trial.values[0], trial.values[1])
        for trial in search(parse_command(overrides)).trials
        if trial.values
    ]


def grid(folder: Path, steps: int, side: int, seed: int) -> Iterator[POINT]:
    """Yield quality and GFLOP of a grid of runs."""
    quiet = ("measure=false", "logger=none", "trainer.enable_progress_bar=false")
    base = composed(*words(folder, steps)[:-1], f"data.seed={seed}", *quiet)
    axes = [
        [low * (high / low) ** (i / (side - 1)) for i in range(side)]
        for low, high in SPACE.values()
    ]
    for values in itertools.product(*axes):
        record, _ = fit(varied(base, dict(zip(SPACE, values, strict=True))))
        yield objective_value(record, "quality"), objective_value(record, "flops")


def hypervolume(points: Sequence[POINT], largest: float) -> float:
    """Return the share of the area, quality > 0 and GFLOP < `largest`, that points dominate."""
    area, best = 0.0, 0.0
    for quality, cost in sorted(points, key=lambda point: (point[1], -point[0])):
        if quality > best:
            area, best = area + (quality - best) * (largest - cost), quality
    return area / largest


class TuningOptions(Options):
    """Options of the command."""

    trials: int = Field(30, ge=1, description="trials of a study")
    rounds: int = Field(3, ge=1, description="studies of each number of workers")
    studies: int = Field(3, ge=1, description="fronts, each at its own order of the data")
    steps: int = Field(100, ge=1, description="training steps of a trial")
    side: int = Field(6, ge=2, description="points of the grid along each option")


def measure(options: TuningOptions) -> None:
    """Measure and print."""
    console = Console(width=None if sys.stdout.isatty() else 110)
    count, rounds, studies = options.trials, options.rounds, options.studies
    steps, side = options.steps, options.side
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        console.print(f"overhead of a trial: {1000 * overhead(folder, 20):.0f} ms")
        turns = [
            [hours(folder, steps, count, workers, number) for workers in (1, 2)]
            for number in range(rounds)
        ]
        single, double = map(statistics.median, zip(*turns, strict=True))
        console.print(
            f"trials per hour: {single:.0f} by one worker, {double:.0f} by two: "
            f"{double / single:.2f} times"
        )
        pairs = [
            (front(folder, steps, count, seed), list(grid(folder, steps, side, seed)))
            for seed in range(studies)
        ]
        points_of_all = itertools.chain(*itertools.chain(*pairs))
        largest = max(cost for _, cost in points_of_all)
        fronts, grids = (
            [hypervolume(points, largest) for points in kind] for kind in zip(*pairs, strict=True)
        )
        for name, volumes in ((f"{count} trials", fronts), (f"grid of {side * side}", grids)):
            each = ", ".join(f"{volume:.4f}" for volume in volumes)
            console.print(f"hypervolume of {name}: {sum(volumes) / studies:.4f} ({each})")


if __name__ == "__main__":
    run_command(measure, TuningOptions, __doc__)
