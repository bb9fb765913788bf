"""Console report of a sweep or benchmark: one table for each task and metric."""

from __future__ import annotations

import statistics
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from moesuite.experiments.capacity_report import print_capacities, requested_capacities
from moesuite.experiments.head_to_head import print_head_to_head
from moesuite.experiments.upcycling_report import print_upcycling
from moesuite.records.record import RunRecord

WIDTH = 150  # of a log


def print_comparison(records: Sequence[RunRecord]) -> None:
    """Print the ranking metric of every task and router, and each router minus the dense model.

    Where there are several capacities or upcycling budgets, at each of them. Runs of one task with
    another ranking metric, or with routers that may look ahead, have tables of their own.
    """
    console = Console(width=None if sys.stdout.isatty() else WIDTH)
    groups: dict[tuple[str, str, bool], list[RunRecord]] = {}
    for record in records:
        looks_ahead = record.config["allow_noncausal"] and record.router_causal is False
        key = record.task, record.primary, looks_ahead
        groups.setdefault(key, []).append(record)
    for (task, primary, leaks), members in groups.items():
        title = f"{task}{', SEES LATER TOKENS' * leaks}"
        _print_means(console, title, members)
        compared = list(members)
        if leaks:  # a dense model looks at no other token: it is compared with both groups
            causal = groups.get((task, primary, False), [])
            compared += [record for record in causal if record.router == "dense"]
        print_head_to_head(console, title, compared)
    if any(record.sunk is not None for record in records):
        print_upcycling(records)


def _print_means(console: Console, title: str, records: Sequence[RunRecord]) -> None:
    """Print mean qualities; by capacity for the runs that set one, if there are several."""
    if len(requested_capacities(records)) > 1:
        limited = [record for record in records if record.config["slots_per_token"] is not None]
        print_capacities(console, title, limited)
        records = [record for record in records if record.config["slots_per_token"] is None]
    if records:
        console.print(means_table(title, records))


def means_table(title: str, records: Sequence[RunRecord]) -> Table:
    """Return a table of each router: every seed, for they are few, their mean, other metrics."""
    primary = records[0].primary
    others = [name for name in records[0].quality if name != primary]
    by_label: dict[str, list[RunRecord]] = {}
    for record, label in zip(records, run_labels(records), strict=True):
        by_label.setdefault(label, []).append(record)
    rows: list[tuple[float, list[str]]] = []
    for label, runs in by_label.items():
        values = [record.quality[primary].value for record in runs]
        mean = statistics.fmean(values)
        points = ", ".join(f"{value:.4f}" for value in values)
        means = [statistics.fmean(run.quality[name].value for run in runs) for name in others]
        cells = [escape(label), points, f"{mean:.4f}", *(f"{value:.3f}" for value in means)]
        rows.append((mean, cells))
    columns = ["router", primary, "mean", *others]
    table = Table(*columns, title=f"{title}, by the mean over seeds", title_justify="left")
    for _, cells in sorted(rows, reverse=records[0].quality[primary].direction == "max"):
        table.add_row(*cells)
    return table


def run_labels(records: Sequence[RunRecord]) -> list[str]:
    """Return a label for each run: its router, and the options that vary over runs of that router.

    Seeds are left out.
    """
    options = [dict(_flattened(record.config)) for record in records]
    labels = []
    for record, values in zip(records, options, strict=True):
        others = [
            other
            for run, other in zip(records, options, strict=True)
            if run.router == record.router
        ]
        varying = [
            f"{name}={value}"
            for name, value in values.items()
            if not name.endswith("seed") and any(other.get(name) != value for other in others)
        ]
        labels.append(", ".join([record.router, *varying]))
    return labels


def _flattened(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield options of nested sections by their dotted names."""
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _flattened(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
