"""Routers that come into question, in order, each with its evidence: measured, or published."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from moesuite.errors import UserError
from moesuite.leaderboard.ingest.facts import Facts
from moesuite.leaderboard.ranking.board import Board, usual
from moesuite.leaderboard.ranking.contestants import CONTROLS, Row
from moesuite.leaderboard.ranking.overview import representatives
from moesuite.leaderboard.reading import Benchmarks
from moesuite.recommend.subject import Kind
from moesuite.records.compute import StrictModel
from moesuite.routers import build_router
from moesuite.routing.router import LayerSpec

# families of tasks that tell something about a kind of models; causal ones only of causal models
FAMILIES: Mapping[Kind, tuple[str, ...]] = {
    "images": ("vision",),
    "causal text": ("language",),
    "text": ("language", "embeddings", "understanding"),
    "encoder-decoder": ("language", "understanding"),
}
WIDTH = 8  # of a layer that is built to ask its router


@dataclass(frozen=True)
class Measured:
    """A contestant on one benchmark.

    Attributes:
        difference: of its quality to that of the matched dense model; None without one.
        half: half the width of the 95 % interval; None below five seeds.
        verdict: of the difference: better, worse, equal, open, or "" for too few seeds.
        group: tie group, from 1.
        upcycled: whether it started from a dense run.
    """

    task: str
    metric: str
    seeds: int
    difference: float | None
    half: float | None
    verdict: str
    group: int
    upcycled: bool


@dataclass(frozen=True)
class Contestant:
    """A router with its options and budget, and why it comes into question.

    Attributes:
        layers: which MLPs become MoE layers, see `MoEConfig`.
        measured: results; empty for what is only published.
        says, source: what a paper says, in our words; empty for what is measured.
    """

    router: str
    options: Mapping[str, Any]
    num_experts: int
    slots_per_token: float
    layers: Any
    decoder: Mapping[str, Any] | None = None
    measured: list[Measured] = field(default_factory=list)
    says: str = ""
    source: str = ""

    @property
    def first(self) -> int:
        """Number of benchmarks that have it in their first tie group."""
        return sum(result.group == 1 for result in self.measured)

    @property
    def better(self) -> int:
        """Number of benchmarks on which it is better than dense, minus those where it is worse."""
        verdicts = [result.verdict.split(" ")[0] for result in self.measured]
        return verdicts.count("better") - verdicts.count("worse")


class Published(StrictModel):
    """An entry of published.yaml."""

    kinds: list[Kind]
    router: str
    slots_per_token: float
    num_experts: int
    layers: str
    says: str
    source: str
    decoder: dict[str, Any] | None = None

    @property
    def contestant(self) -> Contestant:
        """The contestant that it speaks of."""
        return Contestant(
            self.router,
            {},
            self.num_experts,
            self.slots_per_token,
            self.layers,
            self.decoder,
            says=self.says,
            source=self.source,
        )


def published(kind: Kind) -> list[Contestant]:
    """Return what papers say of a kind of models, most relevant first."""
    import yaml

    text = (Path(__file__).parent / "published.yaml").read_text(encoding="utf-8")
    entries = TypeAdapter(list[Published]).validate_python(yaml.safe_load(text))
    return [entry.contestant for entry in entries if kind in entry.kinds]


def measured(benchmarks: Benchmarks, kind: Kind) -> list[Contestant]:
    """Return the contestants of benchmarks that tell something about a kind of models, best first.

    Upcycled ones only, if there are any. Order: first tie groups, then comparisons with dense.
    """
    rows = [
        (board, row)
        for board in benchmarks.boards
        if board.family in FAMILIES[kind] and board.causal == (kind == "causal text")
        for row in _ranked(board, benchmarks.facts)
    ]
    by_router = defaultdict[str, list[tuple[Board, Row]]](list)
    for board, row in rows:
        options = benchmarks.facts[row.key]
        if fits(row.router, _options(options), options.get("decoder"), kind):
            by_router[row.router].append((board, row))
    contestants = [_contestant(pairs, benchmarks.facts) for pairs in by_router.values()]
    return sorted(contestants, key=lambda c: (-c.first / len(c.measured), -c.better, c.router))


def _ranked(board: Board, facts: Mapping[str, Facts]) -> list[Row]:
    """Return one ranked row for each router, of upcycled ones if there are any.

    Of the setting in which most of them are, which need not be the board's main one.
    """
    ranked = [row for row in board.rows if row.group is not None and row.router not in CONTROLS]
    rows = [row for row in ranked if "upcycle" in facts[row.key]] or ranked
    main = usual(row.setting for row in rows)
    return representatives(board.model_copy(update={"rows": rows, "main": main}))


def _contestant(pairs: Sequence[tuple[Board, Row]], facts: Mapping[str, Facts]) -> Contestant:
    options = facts[pairs[0][1].key]
    return Contestant(
        router=pairs[0][1].router,
        options=_options(options),
        num_experts=options["num_experts"],
        slots_per_token=options.get("slots_per_token") or 1.0,
        layers=options["layers"],
        decoder=options.get("decoder"),
        measured=[_measured(board, row, facts[row.key]) for board, row in pairs],
    )


def _measured(board: Board, row: Row, options: Facts) -> Measured:
    dense = row.to_dense
    return Measured(
        task=board.task,
        metric=board.metric,
        seeds=len(row.values),
        difference=None if dense is None else dense.mean,
        half=None if dense is None else dense.half,
        verdict="" if dense is None else dense.verdict,
        group=row.group or 1,
        upcycled="upcycle" in options,
    )


def _options(facts: Facts) -> dict[str, Any]:
    prefix = "router."
    return {
        key.removeprefix(prefix): value for key, value in facts.items() if key.startswith(prefix)
    }


def fits(
    router: str, options: Mapping[str, Any], decoder: Mapping[str, Any] | None, kind: Kind
) -> bool:
    """Return whether a router can be used for a kind of models: a causal one must not look ahead.

    A router of a file that is not here does not.

    Args:
        decoder: name and options of the router of the decoder, if it has another one.
    """
    spec = LayerSpec(WIDTH, WIDTH, tokens=WIDTH)
    if kind == "encoder-decoder" and decoder is not None:
        options = {key: value for key, value in decoder.items() if key != "name"}
        router = str(decoder["name"])
    try:
        is_causal = build_router(router, spec, dict(options)).causal
    except UserError:
        return False
    return is_causal or kind in ("images", "text")


def tells_apart(contestants: Sequence[Contestant]) -> bool:
    """Return whether results rank some routers behind others, or differ from dense."""
    results = [result for contestant in contestants for result in contestant.measured]
    return any(result.group > 1 or result.verdict not in ("", "open") for result in results)
