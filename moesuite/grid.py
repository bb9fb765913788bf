"""Benchmarks: frozen grids of runs, one YAML each in `benchmarks/`; what is recorded already is not run again.

A grid is a list of parts; each part is run for all its routers and seeds. All runs of one seed come before those of the
next, so that an interrupted grid has whole comparisons.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import yaml
from pydantic import Field
from rich.console import Console
from rich.table import Table

from moesuite.config import Section, checked
from moesuite.errors import UserError, unknown
from moesuite.plugins import benchmark_files, router_names, task_files

if TYPE_CHECKING:
    from moesuite.record import RunRecord

# words that change how a grid is run, not what comes out
FREE = ("records", "force", "energy", "logger", "measure", "data.workers", "trainer.accelerator", "trainer.devices")


class Part(Section):
    """Runs of one task.

    Attributes:
        task: name.
        routers: names; or "all", or "causal" for those whose certificate says so.
        seeds: of the runs.
        words: further options of every run; a list among them stands for its words, so that parts share them.
        name: by which later parts name this one.
        upcycles: name of an earlier part of one router, whose run of the same seed is upcycled.
    """

    task: str
    routers: list[str] | str = "all"
    seeds: list[int] = Field(default_factory=lambda: [0])
    words: list[str | list[str]] = Field(default_factory=list)
    name: str = ""
    upcycles: str = ""

    def names(self) -> list[str]:
        """Return the routers."""
        if self.routers == "causal":
            from moesuite.certificate import causal_routers

            return causal_routers()
        return router_names() if self.routers == "all" else list(self.routers)


class Grid(Section):
    """A frozen grid."""

    parts: list[Part]


@dataclass(frozen=True)
class Planned:
    """One run of a grid: what it is, and the words that it is started with.

    Attributes:
        part, upcycles: names of its part, and of the one whose run of this seed it upcycles; empty for none.
    """

    task: str
    router: str
    seed: int
    words: list[str]
    part: str = ""
    upcycles: str = ""


def plan(words: Sequence[str]) -> list[Planned]:
    """Return the runs of `benchmark=<name>`, with the other words added to each.

    Args:
        words: benchmark=<name>; source.<task>=<folder> for local data; options that leave results as they are.

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
        elif key in FREE or key.startswith("logger"):
            free.append(word)
        else:
            raise UserError(
                f"{word}: a benchmark is a frozen grid; allowed beside it: source.<task>=<folder>, {', '.join(FREE)}; "
                "for other options type python -m moesuite.run without benchmark="
            )
    if name not in files:
        raise unknown("benchmark", name, files, f"benchmark={next(iter(files))}")
    parts = checked(Grid, yaml.safe_load(files[name].read_text())).parts
    if foreign := sources.keys() - {part.task for part in parts}:
        raise unknown(
            "task in source.<task>", min(foreign), {part.task for part in parts} & set(task_files()), "source."
        )
    runs = [run for part in parts for run in _runs(part, sources.get(part.task), free)]
    return sorted(runs, key=lambda run: run.seed)


def _runs(part: Part, source: str | None, free: Sequence[str]) -> Iterator[Planned]:
    routers = part.names()
    for seed in part.seeds:
        for router in routers:
            own = [word for words in part.words for word in ([words] if isinstance(words, str) else words)]
            words = [f"task={part.task}", f"router={router}", f"seed={seed}", *own]
            words += [] if source is None else [f"task.source={source}"]
            yield Planned(part.task, router, seed, [*words, *free], part.name, part.upcycles)


def show_grid(records: Sequence[RunRecord]) -> None:
    """Print the ranking metric of every task and router over its seeds: a mean, and points where they are few.

    Runs of one task that are scored otherwise, or whose routers were let look ahead, stand in tables of their own.
    """
    console = Console()
    groups: dict[tuple[str, str, bool], list[RunRecord]] = {}
    for record in records:
        groups.setdefault((record.task, record.primary, record.config["allow_noncausal"]), []).append(record)
    for (task, primary, leaks), own in groups.items():
        rows: list[tuple[float, Any]] = []
        for router in dict.fromkeys(record.router for record in own):
            values = [record.quality[primary].value for record in own if record.router == router]
            rows.append((statistics.fmean(values), (router, ", ".join(f"{value:.4f}" for value in values))))
        title = f"{task}{', SEES LATER TOKENS' * leaks}, by the mean over seeds"
        table = Table("router", primary, "mean", title=title, title_justify="left")
        for mean, (router, values) in sorted(rows, reverse=own[0].quality[primary].direction == "max"):
            table.add_row(router, values, f"{mean:.4f}")
        console.print(table)
