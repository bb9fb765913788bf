"""From records to the rows of a table, without any formatting."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby

from moesuite.record import RunRecord


@dataclass(frozen=True)
class Table:
    """All records of one task, in the order of router, backbone and seed."""

    task: str
    metric: str
    records: list[RunRecord]


def tables(records: Iterable[RunRecord]) -> list[Table]:
    """Group records by task; the order of the input does not matter."""
    ordered = sorted(records, key=lambda r: (r.task, r.router, r.backbone, r.seed, r.id))
    grouped = [(task, list(group)) for task, group in groupby(ordered, key=lambda r: r.task)]
    return [Table(task, group[0].primary, group) for task, group in grouped]
