"""Published figures beside measured ones."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatch
from functools import cache
from pathlib import Path

from pydantic import TypeAdapter

from moesuite.leaderboard.ranking.board import Board
from moesuite.leaderboard.ranking.contestants import Row
from moesuite.records.compute import StrictModel


class Claim(StrictModel):
    """One published figure; see claims.yaml."""

    task: str
    router: str
    backbone: str
    steps: int
    metric: str
    claimed: float
    source: str


@dataclass(frozen=True)
class Compared:
    """A published figure and the one that was measured of the same."""

    claim: Claim
    row: Row
    measured: float


@cache
def claims() -> list[Claim]:
    """Return all published figures that are known."""
    import yaml

    return TypeAdapter(list[Claim]).validate_python(
        yaml.safe_load((Path(__file__).parent / "claims.yaml").read_text(encoding="utf-8"))
    )


def compared(board: Board) -> Iterator[Compared]:
    """Yield the figures that were published for contestants of a benchmark."""
    for claim in claims():
        if claim.task != board.task:
            continue
        for row in board.rows:
            same = row.router == claim.router and row.steps == claim.steps
            if (
                same
                and claim.metric in row.metrics
                and fnmatch(row.backbone.lower(), claim.backbone.lower())
            ):
                yield Compared(claim, row, row.metrics[claim.metric][0])
