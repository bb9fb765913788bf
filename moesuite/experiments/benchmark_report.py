"""What came out of a sweep or benchmark, on the console."""

from __future__ import annotations

import statistics
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from moesuite.experiments.capacity_report import capacities_of, show_capacities
from moesuite.experiments.head_to_head import show_differences
from moesuite.experiments.upcycling_report import show_budgets
from moesuite.records.record import RunRecord

WIDTH = 150  # of a log


def show(records: Sequence[RunRecord]) -> None:
    """Print the ranking metric of every task and router, and the difference of each router to the dense model.

    Where there are several capacities or upcycling budgets, at each of them. Runs of one task that
    are scored otherwise, or whose routers were let look ahead, stand in tables of their own.
    """
    console = Console(width=None if sys.stdout.isatty() else WIDTH)
    groups: dict[tuple[str, str, bool], list[RunRecord]] = {}
    for record in records:
        groups.setdefault(
            (record.task, record.primary, record.config["allow_noncausal"]), []
        ).append(record)
    for (task, primary, leaks), own in groups.items():
        title = f"{task}{', SEES LATER TOKENS' * leaks}"
        if len(capacities_of(own)) > 1:
            show_capacities(
                console, title, [r for r in own if r.config["slots_per_token"] is not None]
            )
            own = [record for record in own if record.config["slots_per_token"] is None]
        if own:
            console.print(means(title, own))
        dense = [
            record
            for record in groups.get((task, primary, False), [])
            if leaks and record.router == "dense"
        ]
        show_differences(
            console, title, [*groups[task, primary, leaks], *dense]
        )  # which looks at no token but one
    if any(record.sunk is not None for record in records):
        show_budgets(records)


def means(title: str, records: Sequence[RunRecord]) -> Table:
    """Return a table of each router's quality: a mean over its seeds, points, for they are few, and other metrics."""
    primary, labels = records[0].primary, labelled(records)
    others = [name for name in records[0].quality if name != primary]
    rows = list[tuple[float, list[str]]]()
    for label in dict.fromkeys(labels):
        own = [record for record, its in zip(records, labels, strict=True) if its == label]
        values = [record.quality[primary].value for record in own]
        extra = [f"{statistics.fmean(r.quality[name].value for r in own):.3f}" for name in others]
        mean, points = statistics.fmean(values), ", ".join(f"{value:.4f}" for value in values)
        rows.append((mean, [escape(label), points, f"{mean:.4f}", *extra]))
    table = Table(
        "router",
        primary,
        "mean",
        *others,
        title=f"{title}, by the mean over seeds",
        title_justify="left",
    )
    for _, row in sorted(rows, reverse=records[0].quality[primary].direction == "max"):
        table.add_row(*row)
    return table


def labelled(records: Sequence[RunRecord]) -> list[str]:
    """Return the router of each run, with the options in which runs of this router differ beside their seeds."""
    flat = [dict(_dotted(record.config)) for record in records]
    found = []
    for record, own in zip(records, flat, strict=True):
        same = [
            other for one, other in zip(records, flat, strict=True) if one.router == record.router
        ]
        apart = [
            key for key, value in own.items() if any(other.get(key) != value for other in same)
        ]
        found.append(
            ", ".join(
                [record.router, *(f"{key}={own[key]}" for key in apart if not key.endswith("seed"))]
            )
        )
    return found


def _dotted(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _dotted(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
