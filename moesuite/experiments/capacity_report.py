"""Which capacity? Quality against slots per token, router by router, as far as it is not noise."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from moesuite.records.record import RunRecord
from moesuite.statistics.significance import BySeed, Direction, estimate, tie_groups

NEAR = 0.01  # relative difference of slots that is not shown


def enough(qualities: Mapping[float, BySeed], direction: Direction) -> float | None:
    """Return the smallest capacity that the best one is not shown to be better than; None where seeds are too few.

    Args:
        qualities: by slots per token and seed.
        direction: of the quality.
    """
    if any(estimate(list(values.values())).half is None for values in qualities.values()):
        return None
    groups = tie_groups(
        {f"{capacity:g}": values for capacity, values in qualities.items()}, direction
    )
    return min(capacity for capacity in qualities if groups[f"{capacity:g}"] == 1)


def lines(records: Sequence[RunRecord]) -> list[list[str]]:
    """Return a line for each router: its name, quality at each capacity, the capacity that is enough.

    Args:
        records: of one task and metric, with their slots per token in the configuration.
    """
    capacities, found = capacities_of(records), []
    for router in dict.fromkeys(record.router for record in records):
        own = {
            capacity: [
                r for r in records if r.router == router and r.config["slots_per_token"] == capacity
            ]
            for capacity in capacities
        }
        ran = {capacity: _by_seed(runs) for capacity, runs in own.items() if runs}
        fewest = enough(ran, records[0].quality[records[0].primary].direction)
        cells = [_cell(capacity, runs) for capacity, runs in own.items()]
        found.append([router, *cells, "too few seeds" if fewest is None else f"{fewest:g}"])
    return found


def _by_seed(records: Sequence[RunRecord]) -> BySeed:
    return {record.seed: record.quality[record.primary].value for record in records}


def _cell(asked: float, records: Sequence[RunRecord]) -> str:
    """Return a mean with its interval, and in brackets the slots per token that were used where others were asked."""
    if not records:
        return "–"
    over = estimate(list(_by_seed(records).values()))
    text = f"{over.mean:.4f}" if over.half is None else f"{over.mean:.4f} ±{over.half:.4f}"
    used = [
        record.compute.slots_per_token_effective for record in records if record.compute is not None
    ]
    if used and abs(statistics.fmean(used) / asked - 1) > NEAR:
        text += f" [{statistics.fmean(used):.2g}]"
    return text


def capacities_of(records: Sequence[RunRecord]) -> list[float]:
    """Return the slots per token that runs asked for, from the fewest on."""
    asked = {record.config["slots_per_token"] for record in records}
    return sorted(capacity for capacity in asked if capacity is not None)


def show_capacities(console: Console, title: str, records: Sequence[RunRecord]) -> None:
    """Print quality against slots per token, router by router, of runs that all ask for some."""
    columns = ["router", *(f"{capacity:g}" for capacity in capacities_of(records)), "enough"]
    heading = f"{title}: {records[0].primary} at slots per token, with 95 % intervals over seeds"
    table = Table(*columns, title=heading, title_justify="left")
    for line in lines(records):
        table.add_row(*map(escape, line))
    console.print(table)
    console.print(
        "enough: the fewest slots per token that the router's best are not shown to be better than\n"
        "[...]: slots per token that evaluation used, where that is not what training had at most",
        markup=False,
    )
