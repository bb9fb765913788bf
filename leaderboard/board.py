"""From records to the rows of a table, without any formatting."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby

from moesuite.record import RunRecord


@dataclass(frozen=True)
class Table:
    """All records of one task, in the order of router, backbone and seed; `percent`: its metric is a share."""

    task: str
    metric: str
    percent: bool
    records: list[RunRecord]


def tables(records: Iterable[RunRecord]) -> list[Table]:
    """Group records by task; the order of the input does not matter."""
    ordered = sorted(records, key=lambda r: (r.task, r.router, r.backbone, r.seed, r.id))
    grouped = [(task, list(group)) for task, group in groupby(ordered, key=lambda r: r.task)]
    return [Table(task, group[0].primary, _is_share(group), group) for task, group in grouped]


def _is_share(records: list[RunRecord]) -> bool:
    """Return whether the ranking metric is a share: what is better when larger is one, here; losses are not."""
    return all(r.quality[r.primary].direction == "max" for r in records if r.primary in r.quality)
