"""Console report of upcycling: quality at equal extra cost after one dense run.

Komatsuzaki et al., "Sparse Upcycling" (2022), https://arxiv.org/abs/2212.05055, figures 2 to 5:
extra cost, relative to the cost of the dense run, against the quality of continued dense training,
of upcycled models and of models trained from scratch.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from rich.console import Console
from rich.table import Table

from moesuite.records.record import RunRecord, Sunk

Axis = Literal["flops", "seconds"]
AXES: tuple[Axis, Axis] = ("flops", "seconds")
SHARES = (0.1, 0.2, 0.5, 1.0)  # of the dense run's cost


def quality_at(record: RunRecord, dense: Sunk, share: float, axis: Axis) -> float | None:
    """Return the quality of the last evaluation within an extra cost, or None if there is none.

    Args:
        record: upcycled, or from scratch: then all of its cost is extra.
        dense: the dense run that was upcycled.
        share: extra cost, as a fraction of the dense run's, > 0.
        axis: unit of the cost.
    """
    sunk_cost = 0.0 if record.sunk is None else getattr(record.sunk, axis)
    sunk_steps = 0 if record.sunk is None else record.sunk.steps
    # 1e-6: FLOPs may be summed in another order
    limit = (sunk_cost + share * getattr(dense, axis)) * (1 + 1e-6)
    within = [
        point for point in record.curve if point.step > sunk_steps and getattr(point, axis) <= limit
    ]
    return within[-1].quality if within else None


def method_of(record: RunRecord, dense: Sunk) -> str:
    """Return how a run relates to the dense run: continued, upcycled, or from scratch."""
    if record.sunk is None:
        is_dense_run = record.router == "dense" and record.steps == dense.steps
        return "dense, as upcycled" if is_dense_run else f"{record.router}, from scratch"
    if record.router == "dense":
        depth = record.config["tile_depth"]
        return f"dense, depth x{depth}" if depth > 1 else "dense, continued"
    return f"{record.router}, upcycled"


def method_rows(records: Sequence[RunRecord], axis: Axis) -> list[list[str]]:
    """Return a row for each method and seed: quality at each extra cost, final quality, total cost.

    Args:
        records: of one task, including the dense run that was upcycled.
        axis: unit of the extra cost.
    """
    sunk_by_seed = {record.seed: record.sunk for record in records if record.sunk is not None}
    rows = []
    for record in records:
        dense = sunk_by_seed.get(record.seed)
        if dense is None:  # the run to upcycle failed
            continue
        qualities = [quality_at(record, dense, share, axis) for share in SHARES]
        rows.append(
            [
                method_of(record, dense),
                str(record.seed),
                *("–" if quality is None else f"{quality:.4f}" for quality in qualities),
                f"{record.quality[record.primary].value:.4f}",
                *_costs(record),
            ]
        )
    return rows


def _costs(record: RunRecord) -> list[str]:
    """Return extra and total cost of a run in TFLOP, then in seconds."""
    last, sunk = record.curve[-1], record.sunk
    extra_flops = last.flops - (0 if sunk is None else sunk.flops)
    extra_seconds = last.seconds - (0 if sunk is None else sunk.seconds)
    flops = [f"{value / 1e12:.2f}" for value in (extra_flops, last.flops)]
    return [*flops, f"{extra_seconds:.0f}", f"{last.seconds:.0f}"]


def print_upcycling(records: Sequence[RunRecord]) -> None:
    """Print quality at equal extra cost, in FLOPs and in seconds, for every task."""
    console = Console()
    shares = [f"+{share:.0%}" for share in SHARES]
    columns = ["method", "seed", *shares, "final", "extra TFLOP", "total", "extra s", "total"]
    for task in dict.fromkeys(record.task for record in records):
        of_task = [record for record in records if record.task == task and record.curve]
        if not any(record.sunk for record in of_task):
            continue
        for axis in AXES:
            title = f"{task}: {of_task[0].primary} at extra {axis}, relative to the dense run's"
            table = Table(*columns, title=title, title_justify="left")
            for row in method_rows(of_task, axis):
                table.add_row(*row)
            console.print(table)
