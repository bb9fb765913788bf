"""What a column of the board is, and how its values are rounded and averaged over seeds."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from statistics import fmean
from typing import Literal

from moesuite.records.record import RunRecord

Value = int | float | None
Figures = dict[str, Value]
# how a value is written: four digits, three digits, 1e9 FLOP, percent, k/M/B, milliseconds
Format = Literal["figure", "ratio", "gflop", "share", "count", "milliseconds"]


def short(value: int | float) -> float:
    """Return a number with six significant digits."""
    return float(f"{value:.6g}")


def mean(values: Iterable[Value]) -> Value:
    """Return the mean of the values that are not None, or None if all are."""
    known = [value for value in values if value is not None]
    return short(fmean(known)) if known else None


def largest(values: Iterable[Value]) -> Value:
    """Return the largest value, where None counts as 0."""
    return max(value or 0.0 for value in values)


def first(values: Iterable[Value]) -> Value:
    """Return the first value: for what all seeds have in common."""
    return next(iter(values))


@dataclass(frozen=True)
class Column:
    """One column of a benchmark's table.

    Attributes:
        name: of the figure, as in the record; also in addresses, CSV and JSON.
        label: header; empty: exported, but no column of the pages.
        meaning: one clause for the tooltip and the method page.
        read: value of one run, None if not measured. A column without `read` is no figure of a run:
            it compares contestants or is text, and the pages know how to show it.
        unit: of the value as shown, e.g. "GFLOP".
        average: values of all seeds -> value of the contestant.
        format: how the value is written.
        shown: whether the table shows the column before the reader chooses columns.
        on_router_page: whether the router's page shows it too.
        axis: whether quality can be plotted against it.
        over: another figure; the column shows the share of it.
        bounded_by: another figure; where it is not 0, this one is a lower bound (≥).
        per_machine: whether values of different machines are never averaged or compared.
        duration: whether the figure is the median over reproductions on one machine.
        spread: whether it is 1 for a dense model but for noise, so that the spread of dense models
            is shown.
        former: name in addresses of earlier versions.
    """

    name: str
    label: str
    meaning: str
    read: Callable[[RunRecord], Value] | None = None
    unit: str = ""
    average: Callable[[Iterable[Value]], Value] = mean
    format: Format = "figure"
    shown: bool = True
    on_router_page: bool = False
    axis: bool = False
    over: str = ""
    bounded_by: str = ""
    per_machine: bool = False
    duration: bool = False
    spread: bool = False
    former: str = ""

    @property
    def header(self) -> str:
        """Label with unit."""
        return f"{self.label} ({self.unit})" if self.unit else self.label
