"""What pages carry for their scripts: columns by name, and repeated text once, to stay small.

Scripts read every figure by the name that it has here; `tests/leaderboard/site/test_names.py` holds both
sides to it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from moesuite.leaderboard.ingest.entry import Timings, short
from moesuite.leaderboard.ranking.board import Board, slug
from moesuite.leaderboard.ranking.contestants import CHECKS, Difference, Row

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
)
PLAIN = (
    "mean",
    "half",
    "group",
    "limited",
    "activated",
    "executed",
    "slots",
    "seconds",
    "lookahead",
)
HEALTH = ("unserved", "dropped_under_capacity", "dead", "experts", "entropy")
OF_DIFFERENCE = ("mean", "half", "seeds", "detectable", "equal")
CURVE = ("step", "seconds", "flops", "quality")
HEALTH_CURVE = ("step", "entropy", "unserved", "dead")
MARKS = {True: "1", False: "0", None: "-"}


class Strings:
    """Strings by number."""

    def __init__(self) -> None:
        self.numbers: dict[str, int] = {}

    def number(self, text: str) -> int:
        """Return the number of a string."""
        return self.numbers.setdefault(text, len(self.numbers))


def benchmark_payload(board: Board) -> dict[str, Any]:
    """Return a benchmark for its page's script: `columns` by row, `constants` for columns of one value."""
    strings = Strings()
    rows = [_row(board, row, strings) for row in board.rows]
    columns = {name: [row[name] for row in rows] for name in (rows[0] if rows else ())}
    same = {name for name, values in columns.items() if all(value == values[0] for value in values)}
    return {
        "slug": board.slug,
        "metric": board.metric,
        "max": board.direction == "max",
        "margin": board.margin,
        "sections": list(dict.fromkeys(board.section(row) for row in board.rows)),
        "noise": {machine: noise.model_dump() for machine, noise in board.noise.items()},
        "timings": timings(board.rows),
        "texts": list(strings.numbers),
        "text_columns": TEXTS,
        "count": len(rows),
        "constants": {name: columns[name][0] for name in columns if name in same},
        "columns": {name: columns[name] for name in columns if name not in same},
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
    }
    return {
        "key": row.key,
        **{name: strings.number(text[name]) for name in TEXTS},
        "seeds": list(row.values),
        "values": [short(value) for value in row.values.values()],
        **{name: getattr(row, name) for name in (*PLAIN, *HEALTH)},
        **_difference("dense", row.to_dense),
        **_difference("best", row.to_best),
        "uncounted": int(row.uncounted),
        "parameters_active": row.parameters_active,
        "parameters_total": row.parameters_total,
        **{name: MARKS[row.checks[name]] if name in row.checks else "?" for name in CHECKS},
        "stale": int(row.stale),
        "labels": [strings.number(label) for label in row.labels],
        "runs": [identity for _, identity in row.runs[: len(row.values)]],
    }


def _difference(to: str, one: Difference | None) -> dict[str, Any]:
    return {f"{to}_{name}": None if one is None else getattr(one, name) for name in OF_DIFFERENCE}


def timings(rows: Sequence[Row]) -> dict[str, dict[str, list[Any]]]:
    """Return times by machine: numbers of the `rows` that ran on it, and a column for each figure."""
    found: dict[str, dict[str, list[Any]]] = {}
    for number, row in enumerate(rows):
        for machine, one in row.timings.items():
            columns = found.setdefault(
                machine, {"rows": [], **{name: [] for name in Timings.model_fields}}
            )
            columns["rows"].append(number)
            for name in Timings.model_fields:
                columns[name].append(getattr(one, name))
    return found


def curves(board: Board) -> dict[str, dict[str, list[float]]]:
    """Return the learning curves of a benchmark, by contestant: columns by name."""
    return {row.key: by_name(CURVE, row.curve) for row in board.rows if row.curve}


def health(row: Row) -> dict[str, list[float]]:
    """Return the routing health of a contestant over training: columns by name."""
    return by_name(HEALTH_CURVE, row.health)


def by_name(names: Sequence[str], points: Sequence[Sequence[float]]) -> dict[str, list[float]]:
    """Return points as columns."""
    return {name: [point[place] for point in points] for place, name in enumerate(names)}
