"""What pages carry for their scripts: columns by name, and repeated text once, to stay small.

Scripts read every value by the name that it has here, which `tests/leaderboard/site/test_names.py`
verifies.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from moesuite.leaderboard import columns
from moesuite.leaderboard.columns.column import Column, short
from moesuite.leaderboard.ingest.entry import CURVE, HEALTH_CURVE
from moesuite.leaderboard.ranking.board import Board, slug
from moesuite.leaderboard.ranking.contestants import CHECKS, Difference, Row
from moesuite.leaderboard.ranking.labels import WARNINGS

# values of a row that are texts, which travel as numbers
TEXTS = (
    "router",
    "page",
    "variant",
    "setting",
    "section",
    "backbone",
    "unranked",
    "dense_verdict",
    "best_verdict",
    "data",
)
OF_DIFFERENCE = ("mean", "half", "seeds", "detectable", "equal")
MARKS = {True: "1", False: "0", None: "-"}
NOT_CERTIFIED = "?"


class Strings:
    """Strings by number."""

    def __init__(self) -> None:
        self.numbers: dict[str, int] = {}

    def number(self, text: str) -> int:
        """Return the number of a string."""
        return self.numbers.setdefault(text, len(self.numbers))


def benchmark_payload(board: Board) -> dict[str, Any]:
    """Return a benchmark for its page's script.

    `headers` are the columns of the table and the axes of the plot. `columns` holds the values by
    row, and `constants` those of columns with one value only.
    """
    strings = Strings()
    rows = [_row(board, row, strings) for row in board.rows]
    values = {name: [row[name] for row in rows] for name in (rows[0] if rows else ())}
    constant = {name for name, column in values.items() if all(v == column[0] for v in column)}
    return {
        "slug": board.slug,
        "metric": board.metric,
        "max": board.direction == "max",
        "margin": board.margin,
        "sections": list(dict.fromkeys(board.section(row) for row in board.rows)),
        "headers": [header(column) for column in columns.COLUMNS],
        "checks": CHECKS,
        "warnings": WARNINGS,
        "noise": {
            machine: {name: spread.model_dump() for name, spread in spreads.items()}
            for machine, spreads in board.noise.items()
        },
        "timings": timings(board.rows),
        "texts": list(strings.numbers),
        "text_columns": TEXTS,
        "count": len(rows),
        "constants": {name: values[name][0] for name in values if name in constant},
        "columns": {name: values[name] for name in values if name not in constant},
    }


def header(column: Column) -> dict[str, Any]:
    """Return what the page's script needs to know of a column."""
    return {
        "name": column.name,
        "label": column.header,
        "about": column.meaning,
        "numeric": column.read is not None,
        "format": column.format,
        "shown": column.shown,
        "axis": column.axis,
        "over": column.over,
        "bounded_by": column.bounded_by,
        "per_machine": column.per_machine,
        "former": column.former,
    }


def _row(board: Board, row: Row, strings: Strings) -> dict[str, Any]:
    text = {
        "router": row.router,
        "page": slug(row.router),
        "variant": row.variant,
        "setting": board.settings[row.setting],
        "section": board.section(row),
        "backbone": row.backbone,
        "unranked": row.unranked,
        "dense_verdict": row.to_dense.verdict if row.to_dense else "",
        "best_verdict": row.to_best.verdict if row.to_best else "",
        "data": row.data_description,
    }
    return {
        "key": row.key,
        **{name: strings.number(text[name]) for name in TEXTS},
        "seeds": list(row.values),
        "values": [short(value) for value in row.values.values()],
        "mean": row.mean,
        "half": row.half,
        "group": row.group,
        **row.figures,
        **_difference("dense", row.to_dense),
        **_difference("best", row.to_best),
        **{
            name: MARKS[row.checks[name]] if name in row.checks else NOT_CERTIFIED
            for name in CHECKS
        },
        "stale": int(row.stale),
        "labels": [strings.number(label) for label in row.labels],
        "runs": [identity for _, identity in row.runs[: len(row.values)]],
    }


def _difference(to: str, difference: Difference | None) -> dict[str, Any]:
    return {
        f"{to}_{name}": None if difference is None else getattr(difference, name)
        for name in OF_DIFFERENCE
    }


def timings(rows: Sequence[Row]) -> dict[str, dict[str, list[Any]]]:
    """Return times by machine: numbers of the `rows` that ran on it, and the values by column."""
    names = [column.name for column in columns.figures() if column.per_machine]
    by_machine: dict[str, dict[str, list[Any]]] = {}
    for number, row in enumerate(rows):
        for machine, figures in row.timings.items():
            values = by_machine.setdefault(
                machine, {"rows": [], **{name: list[Any]() for name in names}}
            )
            values["rows"].append(number)
            for name in names:
                values[name].append(figures[name])
    return by_machine


def curves(board: Board) -> dict[str, dict[str, list[float]]]:
    """Return the learning curves of a benchmark, by contestant: columns by name."""
    return {row.key: by_name(CURVE, row.curve) for row in board.rows if row.curve}


def health(row: Row) -> dict[str, list[float]]:
    """Return the routing health of a contestant over training: columns by name."""
    return by_name(HEALTH_CURVE, row.health)


def by_name(names: Sequence[str], points: Sequence[Sequence[float]]) -> dict[str, list[float]]:
    """Return points as columns."""
    return {name: [point[place] for point in points] for place, name in enumerate(names)}
