"""Benchmarks: frozen grids of runs, one YAML file each in `benchmarks/`; recorded runs are skipped.

A grid is a list of parts; each part is run for all its routers and seeds. All runs of one seed come
before those of the next, so that an interrupted grid has complete comparisons.
"""

from __future__ import annotations

import itertools
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import yaml
from pydantic import Field

from moesuite.config.cli import FOLDER
from moesuite.config.options import Section, checked, is_section
from moesuite.config.roles import Role
from moesuite.config.run_command import reproduce, words_of
from moesuite.config.schema import RunConfig, role_of
from moesuite.discovery.names import benchmark_files, router_names, source_of, task_files
from moesuite.errors import UserError, unknown
from moesuite.experiments.launchers import Launcher
from moesuite.experiments.sweep import Outcome, PlannedRun, Progress, expand, print_end, run_many
from moesuite.records.store import RunFiles

if TYPE_CHECKING:
    from moesuite.records.record import RunRecord

# allowed in addition to options that do not change results: the device
DEVICE = ("trainer.accelerator", "trainer.devices")
CHOSEN = "chosen"  # `routers` of a part: what `router=` on the command line names


class GridPart(Section):
    """Runs of one task.

    Attributes:
        task: name.
        routers: names; or "all"; or "causal" for those with a causal certificate. "chosen" among
            names is the one of `router=`, which a grid with such a part needs and others refuse.
        seeds: of the runs.
        sweep: options with several values each, as on the command line; all combinations are run.
        words: further options of every run; nested lists are flattened, so that parts can share
            them as YAML anchors.
        name: identifies this part in `upcycles` of later parts.
        upcycles: name of an earlier part of one router, whose run of the same seed is upcycled.
    """

    task: str
    routers: list[str] | Literal["all", "causal"] = "all"
    seeds: list[int] = Field(default_factory=lambda: [0])
    sweep: list[str] = Field(default_factory=list)
    words: list[str | list[str]] = Field(default_factory=list)
    name: str = ""
    upcycles: str = ""

    @property
    def is_open(self) -> bool:
        """Whether one of its routers is that of the command line."""
        return isinstance(self.routers, list) and CHOSEN in self.routers

    def chosen_routers(self) -> list[str]:
        """Return the names of the routers, among them perhaps "chosen"."""
        if self.routers == "causal":
            from moesuite.certify.certificate import causal_routers

            return causal_routers()
        return router_names() if self.routers == "all" else self.routers


class Grid(Section):
    """A frozen grid."""

    parts: list[GridPart]


@dataclass(frozen=True)
class Planned:
    """One run of a grid.

    Attributes:
        label: task, router and seed, for the console.
        seed: of the run.
        words: of its command.
        part: name of its part; empty if it has none.
        upcycles: name of the part whose run of this seed it upcycles; empty if it does not.
    """

    label: str
    seed: int
    words: list[str]
    part: str = ""
    upcycles: str = ""


def plan(words: Sequence[str]) -> list[Planned]:
    """Return the runs of `benchmark=<name>`, with the other words added to each.

    Args:
        words: benchmark=<name>; router=<name or class> and its options for a grid of a router that
            is chosen; source.<task>=<folder> for local data; options that do not change results;
            --config-dir=<folder>, which may hold loggers and backbones.

    Raises:
        UserError: for an unknown benchmark, an option that would change results, or a router that
            is missing or not to be chosen.
    """
    files = benchmark_files()
    sources: dict[str, str] = {}
    options: list[str] = []
    chosen: list[str] = []
    name = ""
    for word in words:
        key, _, value = word.partition("=")
        if key == "benchmark":
            name = value
        elif key.startswith("source."):
            sources[key.removeprefix("source.")] = value
        elif key == "router" or key.startswith("router."):
            chosen.append(word)
        elif key in (*DEVICE, FOLDER) or role_of(*key.split(".")[:2]) is Role.PRESENTATION:
            options.append(word)
        else:
            allowed = ", ".join((*_presentation_options(), *DEVICE))
            raise UserError(
                f"{word}: a benchmark is a frozen grid; allowed beside it: source.<task>=<folder>, "
                f"{allowed}; for other options type python -m moesuite.run without benchmark="
            )
    if name not in files:
        raise unknown("benchmark", name, files, f"benchmark={next(iter(files))}")
    parts = read_parts(files[name])
    router_words = _chosen(name, chosen, any(part.is_open for part in parts))
    tasks = {part.task for part in parts}
    if other_tasks := sources.keys() - tasks:
        known = tasks & set(task_files())
        raise unknown("task in source.<task>", min(other_tasks), known, "source.")
    runs = [_runs(part, router_words, sources.get(part.task), options) for part in parts]
    return sorted(itertools.chain(*runs), key=lambda run: run.seed)


def read_parts(path: Path) -> list[GridPart]:
    """Return the parts of a grid."""
    return checked(Grid, yaml.safe_load(path.read_text(encoding="utf-8"))).parts


def _chosen(name: str, words: Sequence[str], is_open: bool) -> list[str]:
    """Return the words for the router of the command line, its name first.

    Raises:
        UserError: if there is none although the benchmark `is_open` to one, one although it is not,
            or an unknown one.
    """
    routers = [word.partition("=")[2] for word in words if word.startswith("router=")]
    if not is_open and words:
        raise UserError(
            f"{words[0]}: benchmark={name} is a frozen grid of routers of its own; leave it out, "
            f"or type benchmark=lite {words[0] if routers else 'router=soft'}"
        )
    if is_open and len(routers) != 1:
        raise UserError(
            f"benchmark={name} is for one router, here are {len(routers)}; type for example "
            f"benchmark={name} router=soft, or router=my_file.py:MyRouter for your own"
        )
    if is_open:
        source_of(routers[0])
    return sorted(words, key=lambda word: not word.startswith("router="))


def _presentation_options() -> Iterator[str]:
    """Yield the options of a run that do not change results."""
    for name, field in RunConfig.model_fields.items():
        options = field.annotation.model_fields if is_section(field.annotation) else [""]
        for option in options:
            if role_of(name, option) is Role.PRESENTATION:
                yield f"{name}.{option}".rstrip(".")


def _runs(
    part: GridPart, chosen: Sequence[str], source: str | None, options: Sequence[str]
) -> Iterator[Planned]:
    nested = [[words] if isinstance(words, str) else words for words in part.words]
    shared = list(itertools.chain(*nested))
    if source is not None:
        shared.append(f"task.source={source}")
    combinations = itertools.product(part.seeds, part.chosen_routers(), expand(part.sweep))
    for seed, name, swept in combinations:
        router = chosen if name == CHOSEN else [f"router={name}"]
        words = [f"task={part.task}", *router, f"seed={seed}", *swept]
        label = ", ".join([part.task, router[0].partition("=")[2], *swept, f"seed {seed}"])
        yield Planned(label, seed, [*words, *shared, *options], part.name, part.upcycles)


def run_grid(words: Sequence[str], launcher: Launcher) -> list[str]:
    """Run a benchmark and compare its runs; return the commands of those that failed.

    A failed run does not stop the others, except those that upcycle it.
    """
    runs = plan(words)
    number = {id(run): index for index, run in enumerate(runs, start=1)}
    records: list[RunRecord] = []
    failed: list[str] = []
    checkpoints: dict[tuple[str, int], Path] = {}
    progress = Progress(len(runs))
    for batch in batches(runs):
        ready: list[tuple[Planned, PlannedRun]] = []
        for run in batch:
            checkpoint = checkpoints.get((run.upcycles, run.seed))
            if run.upcycles and checkpoint is None:
                failed.append(reproduce(run.words))
                _count_without_start(run, progress)
                continue
            start = [] if checkpoint is None else words_of({"upcycle": str(checkpoint)})
            label = f"[{number[id(run)]}/{len(runs)}] {run.label}"
            ready.append((run, PlannedRun(label, [*run.words, *start])))
        outcomes = run_many([command for _, command in ready], launcher, progress)
        for (run, command), outcome in zip(ready, outcomes, strict=True):
            if outcome.record is None or outcome.path is None:
                failed.append(reproduce(command.words))
                continue
            records.append(outcome.record)
            checkpoints[run.part, run.seed] = RunFiles(outcome.path).checkpoint
    print_end(records, progress)
    return failed


def _count_without_start(run: Planned, progress: Progress) -> None:
    """Report a run whose dense run failed."""
    reason = f"there is no run {run.upcycles!r} of seed {run.seed} to upcycle: it failed"
    print(f"error: {reason}", file=sys.stderr)
    progress.count(Outcome(error=reason), time.monotonic())


def batches(runs: Sequence[Planned]) -> Iterator[list[Planned]]:
    """Split runs, in order, into batches that may run in parallel: none with a run it upcycles."""
    batch: list[Planned] = []
    for run in runs:
        start = (run.upcycles, run.seed)
        if run.upcycles and any((other.part, other.seed) == start for other in batch):
            yield batch
            batch = []
        batch.append(run)
    if batch:
        yield batch
