"""What upcycling is worth: quality at equal extra budgets after one dense run, as Komatsuzaki et al. draw it.

"Sparse Upcycling" (2022), https://arxiv.org/abs/2212.05055, figures 2 to 5: the extra cost,
relative to what the dense run had cost, against the quality of continued dense training, of
upcycled models, and of others from scratch.
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


def at(record: RunRecord, dense: Sunk, share: float, axis: Axis) -> float | None:
    """Return the quality of the last evaluation within a budget; None where the run was evaluated only beyond it.

    Args:
        record: upcycled, or from scratch, whose whole cost is extra.
        dense: the run that was upcycled.
        share: of the dense run's cost, beyond it, > 0.
        axis: what the cost is counted in.
    """
    begun = 0.0 if record.sunk is None else getattr(record.sunk, axis)
    steps = 0 if record.sunk is None else record.sunk.steps
    limit = begun + share * getattr(dense, axis)
    # 1e-6: the same sum of FLOPs in another order
    within = [p for p in record.curve if p.step > steps and getattr(p, axis) <= limit * (1 + 1e-6)]
    return within[-1].quality if within else None


def label(record: RunRecord, dense: Sunk) -> str:
    """Return what was done after the dense run, or instead of it."""
    if record.sunk is None:
        upcycled = record.router == "dense" and record.steps == dense.steps
        return "dense, as upcycled" if upcycled else f"{record.router}, from scratch"
    if record.router == "dense":
        depth = record.config["tile_depth"]
        return f"dense, depth x{depth}" if depth > 1 else "dense, continued"
    return f"{record.router}, upcycled"


def table(records: Sequence[RunRecord], axis: Axis) -> list[list[str]]:
    """Return a line for each way and seed of one task: its name, quality at each budget, cost at its end.

    Args:
        records: of one task, the dense run that was upcycled among them.
        axis: what the budgets are counted in.
    """
    sunk = {record.seed: record.sunk for record in records if record.sunk is not None}
    lines = []
    for record in records:
        if (dense := sunk.get(record.seed)) is None:  # what should have been upcycled failed
            continue
        found = [at(record, dense, share, axis) for share in SHARES]
        extra = [
            getattr(record.curve[-1], key) - (getattr(record.sunk, key) if record.sunk else 0)
            for key in AXES
        ]
        last = record.curve[-1]
        costs = [
            f"{extra[0] / 1e12:.2f}",
            f"{last.flops / 1e12:.2f}",
            f"{extra[1]:.0f}",
            f"{last.seconds:.0f}",
        ]
        quality = ["–" if value is None else f"{value:.4f}" for value in found]
        end = f"{record.quality[record.primary].value:.4f}"
        lines.append([label(record, dense), str(record.seed), *quality, end, *costs])
    return lines


def show_budgets(records: Sequence[RunRecord]) -> None:
    """Print quality at equal extra budgets, in FLOPs and in seconds, for every task."""
    console = Console()
    for task in dict.fromkeys(record.task for record in records):
        own = [record for record in records if record.task == task and record.curve]
        if not any(record.sunk for record in own):
            continue
        for axis in AXES:
            budgets = [f"+{share:.0%}" for share in SHARES]
            costs = ["extra TFLOP", "total", "extra s", "total"]
            title = f"{task}: {own[0].primary} at extra {axis}, relative to the dense run's"
            shown = Table("way", "seed", *budgets, "end", *costs, title=title, title_justify="left")
            for line in table(own, axis):
                shown.add_row(*line)
            console.print(shown)
