"""Console report of a sweep over capacities: quality against slots per token, for each router."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from moesuite.records.record import RunRecord
from moesuite.statistics.significance import BySeed, Direction, estimate, tie_groups

NEAR = 0.01  # relative difference of slots that is not shown
LEGEND = """\
sufficient: fewest slots per token whose quality is not shown to be worse than the router's best
[...]: slots per token used in evaluation, where they differ from those requested for training"""


def sufficient_capacity(qualities: Mapping[float, BySeed], direction: Direction) -> float | None:
    """Return the smallest capacity not shown to be worse than the best, or None for too few seeds.

    Args:
        qualities: by slots per token and seed.
        direction: of the quality.
    """
    if any(estimate(list(values.values())).half is None for values in qualities.values()):
        return None
    by_name = {f"{capacity:g}": values for capacity, values in qualities.items()}
    groups = tie_groups(by_name, direction)
    return min(capacity for capacity in qualities if groups[f"{capacity:g}"] == 1)


def capacity_rows(records: Sequence[RunRecord]) -> list[list[str]]:
    """Return a row for each router: its name, quality at each capacity, the sufficient capacity.

    Args:
        records: of one task and metric, with their slots per token in the configuration.
    """
    capacities = requested_capacities(records)
    direction = records[0].quality[records[0].primary].direction
    rows = []
    for router in dict.fromkeys(record.router for record in records):
        of_router = [record for record in records if record.router == router]
        runs = {
            capacity: [run for run in of_router if run.config["slots_per_token"] == capacity]
            for capacity in capacities
        }
        qualities = {capacity: _by_seed(members) for capacity, members in runs.items() if members}
        sufficient = sufficient_capacity(qualities, direction)
        cells = [_cell(capacity, members) for capacity, members in runs.items()]
        rows.append([router, *cells, "too few seeds" if sufficient is None else f"{sufficient:g}"])
    return rows


def _by_seed(records: Sequence[RunRecord]) -> BySeed:
    return {record.seed: record.quality[record.primary].value for record in records}


def _cell(requested: float, records: Sequence[RunRecord]) -> str:
    """Return mean and interval, with the slots per token used in brackets if they differ."""
    if not records:
        return "–"
    interval = estimate(list(_by_seed(records).values()))
    text = f"{interval.mean:.4f}"
    if interval.half is not None:
        text += f" ±{interval.half:.4f}"
    used = [
        record.compute.slots_per_token_effective for record in records if record.compute is not None
    ]
    if used and abs(statistics.fmean(used) / requested - 1) > NEAR:
        text += f" [{statistics.fmean(used):.2g}]"
    return text


def requested_capacities(records: Sequence[RunRecord]) -> list[float]:
    """Return the slots per token that runs requested, in ascending order."""
    requested = {record.config["slots_per_token"] for record in records}
    return sorted(capacity for capacity in requested if capacity is not None)


def print_capacities(console: Console, title: str, records: Sequence[RunRecord]) -> None:
    """Print quality against slots per token of each router, for runs that all request some."""
    capacities = [f"{capacity:g}" for capacity in requested_capacities(records)]
    heading = f"{title}: {records[0].primary} at slots per token, with 95 % intervals over seeds"
    table = Table("router", *capacities, "sufficient", title=heading, title_justify="left")
    for row in capacity_rows(records):
        table.add_row(*map(escape, row))
    console.print(table)
    console.print(LEGEND, markup=False)
