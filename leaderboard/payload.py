"""What a benchmark's page carries for its script: rows as lists and repeated text once, to stay small."""

from __future__ import annotations

from typing import Any

from moesuite.leaderboard.board import Board, slug
from moesuite.leaderboard.contestants import CHECKS, Row
from moesuite.leaderboard.entry import short

HEALTH = ("slots", "unserved", "dropped_under_capacity", "dead", "experts", "entropy", "lookahead", "seconds")


class Texts:
    """Strings by number."""

    def __init__(self) -> None:
        self.known: dict[str, int] = {}

    def number(self, text: str) -> int:
        """Return the number of a string."""
        return self.known.setdefault(text, len(self.known))


def benchmark_payload(board: Board) -> dict[str, Any]:
    """Return a benchmark for its page's script."""
    texts = Texts()
    rows = [_row(board, row, texts) for row in board.rows]
    return {
        "slug": board.slug,
        "task": board.task,
        "metric": board.metric,
        "max": board.direction == "max",
        "settings": list(board.settings.values()),
        "fields": list(rows[0]) if rows else [],
        "texts": list(texts.known),
        "rows": [list(row.values()) for row in rows],
    }


def _row(board: Board, row: Row, texts: Texts) -> dict[str, Any]:
    timings = [
        [texts.number(machine), one.latency_ratio, one.step_ratio, one.latency_ms, one.step_ms]
        for machine, one in row.timings.items()
    ]
    marks = [{True: "1", False: "0", None: "-"}[row.checks[name]] if name in row.checks else "?" for name in CHECKS]
    return {
        "key": row.key,
        "router": texts.number(row.router),
        "page": texts.number(slug(row.router)),
        "variant": texts.number(row.variant),
        "setting": texts.number(board.settings[row.setting][0]),
        "backbone": texts.number(row.backbone),
        "values": [[seed, short(value)] for seed, value in row.values.items()],
        **{key: getattr(row, key) for key in ("mean", "half", "apart", "group", "limited", "activated", "executed")},
        "unranked": texts.number(row.unranked),
        "uncounted": int(row.uncounted),
        "active": row.parameters_active,
        "total": row.parameters_total,
        "timings": timings,
        **{key: getattr(row, key) for key in HEALTH},
        "checks": "".join(marks),
        "stale": int(row.stale),
        "labels": [texts.number(label) for label in row.labels],
        "runs": [identity for _, identity in row.runs[: len(row.values)]],
    }


def curves(board: Board) -> dict[str, Any]:
    """Return the learning curves of a benchmark, by contestant."""
    return {row.key: row.curve for row in board.rows if row.curve}
