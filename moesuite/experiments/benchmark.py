"""Benchmarks: frozen grids of runs, one YAML each in `benchmarks/`; what is recorded already is not run again.

A grid is a list of parts; each part is run for all its routers and seeds. All runs of one seed come
before those of the next, so that an interrupted grid has whole comparisons.
"""

from __future__ import annotations

import itertools
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import yaml
from pydantic import Field

from moesuite.config.options import Section, checked
from moesuite.config.roles import Role
from moesuite.config.run_command import reproduce, words_of
from moesuite.config.schema import role_of
from moesuite.discovery.names import benchmark_files, router_names, task_files
from moesuite.errors import UserError, unknown
from moesuite.experiments.launchers import Launcher
from moesuite.experiments.sweep import Outcome, Progress, Run, compare, expand, run_many
from moesuite.records.store import RunFiles

if TYPE_CHECKING:
    from moesuite.records.record import RunRecord

DEVICE = (
    "trainer.accelerator",
    "trainer.devices",
)  # beside options that change nothing, what a grid is run on
SHOWN = (
    "records",
    "force",
    "energy",
    "logger",
    "measure",
    "data.workers",
    *DEVICE,
)  # of what is allowed


class Part(Section):
    """Runs of one task.

    Attributes:
        task: name.
        routers: names; or "all", or "causal" for those whose certificate says so.
        seeds: of the runs.
        sweep: options with several values each, as on the command line; all combinations are run.
        words: further options of every run; a list among them stands for its words, so that parts
            share them.
        name: by which later parts name this one.
        upcycles: name of an earlier part of one router, whose run of the same seed is upcycled.
    """

    task: str
    routers: list[str] | str = "all"
    seeds: list[int] = Field(default_factory=lambda: [0])
    sweep: list[str] = Field(default_factory=list)
    words: list[str | list[str]] = Field(default_factory=list)
    name: str = ""
    upcycles: str = ""

    def names(self) -> list[str]:
        """Return the routers."""
        if self.routers == "causal":
            from moesuite.certify.certificate import causal_routers

            return causal_routers()
        return router_names() if self.routers == "all" else list(self.routers)


class Grid(Section):
    """A frozen grid."""

    parts: list[Part]


@dataclass(frozen=True)
class Planned:
    """One run of a grid: what it is, and the words that it is started with.

    Attributes:
        label: task, router and seed, for the console.
        part, upcycles: names of its part, and of the one whose run of this seed it upcycles; empty
            for none.
    """

    label: str
    seed: int
    words: list[str]
    part: str = ""
    upcycles: str = ""


def plan(words: Sequence[str]) -> list[Planned]:
    """Return the runs of `benchmark=<name>`, with the other words added to each.

    Args:
        words: benchmark=<name>; source.<task>=<folder> for local data; options that leave results
            as they are.

    Raises:
        UserError: for an unknown benchmark, or an option that would change what comes out.
    """
    files, sources, free, name = benchmark_files(), dict[str, str](), list[str](), ""
    for word in words:
        key, _, value = word.partition("=")
        if key == "benchmark":
            name = value
        elif key.startswith("source."):
            sources[key.removeprefix("source.")] = value
        elif key in DEVICE or role_of(*key.split(".")[:2]) is Role.PRESENTATION:
            free.append(word)
        else:
            raise UserError(
                f"{word}: a benchmark is a frozen grid; allowed beside it: source.<task>=<folder>, {', '.join(SHOWN)}; "
                "for other options type python -m moesuite.run without benchmark="
            )
    if name not in files:
        raise unknown("benchmark", name, files, f"benchmark={next(iter(files))}")
    parts = checked(Grid, yaml.safe_load(files[name].read_text())).parts
    if foreign := sources.keys() - {part.task for part in parts}:
        raise unknown(
            "task in source.<task>",
            min(foreign),
            {part.task for part in parts} & set(task_files()),
            "source.",
        )
    runs = [run for part in parts for run in _runs(part, sources.get(part.task), free)]
    return sorted(runs, key=lambda run: run.seed)


def _runs(part: Part, source: str | None, free: Sequence[str]) -> Iterator[Planned]:
    own = [word for words in part.words for word in ([words] if isinstance(words, str) else words)]
    own += [] if source is None else [f"task.source={source}"]
    for seed, router, varied in itertools.product(part.seeds, part.names(), expand(part.sweep)):
        words = [f"task={part.task}", f"router={router}", f"seed={seed}", *varied]
        label = ", ".join([part.task, router, *varied, f"seed {seed}"])
        yield Planned(label, seed, [*words, *own, *free], part.name, part.upcycles)


def run_grid(words: Sequence[str], launcher: Launcher) -> list[str]:
    """Run a benchmark, going on past failed runs, and compare its runs; return the commands of those that failed."""
    runs = plan(words)
    records: list[RunRecord] = []
    progress = Progress(len(runs))
    failed, checkpoints = list[str](), dict[tuple[str, int], Path]()
    numbers = iter(range(1, len(runs) + 1))
    for batch in batches(runs):
        ready = []
        for run, number in zip(batch, numbers, strict=False):
            start = checkpoints.get((run.upcycles, run.seed))
            own = [*run.words, *([] if start is None else words_of({"upcycle": str(start)}))]
            if run.upcycles and start is None:
                failed.append(reproduce(own))
                reason = (
                    f"there is no run {run.upcycles!r} of seed {run.seed} to upcycle: it failed"
                )
                print(f"error: {reason}", file=sys.stderr)
                progress.count(Outcome(error=reason), time.monotonic())
            else:
                ready.append((run, Run(f"[{number}/{len(runs)}] {run.label}", own)))
        for (run, one), outcome in zip(
            ready, run_many([one for _, one in ready], launcher, progress), strict=True
        ):
            if outcome.record is None or outcome.path is None:
                failed.append(reproduce(one.words))
                continue
            records.append(outcome.record)
            checkpoints[run.part, run.seed] = RunFiles(outcome.path).checkpoint
    compare(records, progress)
    return failed


def batches(runs: Sequence[Planned]) -> Iterator[list[Planned]]:
    """Yield what may run at once, in order: no run is with the one that it upcycles."""
    batch: list[Planned] = []
    for run in runs:
        if run.upcycles and any((one.part, one.seed) == (run.upcycles, run.seed) for one in batch):
            yield batch
            batch = []
        batch.append(run)
    if batch:
        yield batch
