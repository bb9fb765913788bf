"""What came out of a benchmark, on the console."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from moesuite.budgets import show_budgets
from moesuite.capacity import capacities_of, show_capacities
from moesuite.record import RunRecord


def show(records: Sequence[RunRecord]) -> None:
    """Print the ranking metric of every task and router, at each capacity or upcycling budget where there are several.

    Runs of one task that are scored otherwise, or whose routers were let look ahead, stand in tables of their own.
    """
    console = Console()
    groups: dict[tuple[str, str, bool], list[RunRecord]] = {}
    for record in records:
        groups.setdefault((record.task, record.primary, record.config["allow_noncausal"]), []).append(record)
    for (task, _, leaks), own in groups.items():
        title = f"{task}{', SEES LATER TOKENS' * leaks}"
        if len(capacities_of(own)) > 1:
            show_capacities(console, title, own)
            own = [record for record in own if record.config["slots_per_token"] is None]
        if own:
            console.print(means(title, own))
    if any(record.sunk is not None for record in records):
        show_budgets(records)


def means(title: str, records: Sequence[RunRecord]) -> Table:
    """Return a table of each router's quality: a mean over its seeds, and points, for they are few."""
    primary, rows = records[0].primary, list[tuple[float, str, str]]()
    for router in dict.fromkeys(record.router for record in records):
        values = [record.quality[primary].value for record in records if record.router == router]
        rows.append((statistics.fmean(values), router, ", ".join(f"{value:.4f}" for value in values)))
    table = Table("router", primary, "mean", title=f"{title}, by the mean over seeds", title_justify="left")
    for mean, router, points in sorted(rows, reverse=records[0].quality[primary].direction == "max"):
        table.add_row(router, points, f"{mean:.4f}")
    return table
