"""What the board keeps of one record: small, so that a build after one more record stays fast."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import takewhile
from typing import Any, Literal

from moesuite.leaderboard import columns
from moesuite.leaderboard.columns.column import Figures, short
from moesuite.leaderboard.ingest.facts import Facts, contestant_of, digest, setting_of
from moesuite.records.certificate import Verdict
from moesuite.records.compute import StrictModel
from moesuite.records.metrics import MetricSpec, known_spec
from moesuite.records.protocol import of_router
from moesuite.records.record import CurvePoint, RunRecord, Status

MAX_POINTS = 24  # of a curve
CURVE = ("step", "seconds", "flops", "quality")
HEALTH_CURVE = ("step", "entropy", "unserved", "dead")
# fields of the record that the entry has unchanged
SAME = (
    "id",
    "status",
    "reason",
    "task",
    "data_fingerprint",
    "data_description",
    "router",
    "router_paper",
    "router_causal",
    "backbone",
    "seed",
    "primary",
    "steps",
    "code",
    "git_commit",
    "git_dirty",
    "created",
)


class Entry(StrictModel):
    """A record as the board knows it.

    Attributes:
        setting: hash of what all contestants of a comparison share.
        contestant: hash of setting and of what tells it from the others.
        direction, margin: of the metric that ranks, as its task family declares; see `MetricSpec`.
        value: quality by that metric; None for a run without a result.
        metrics: (value, whether smaller is better, examples) by name.
        figures: by name of their column; see `moesuite.leaderboard.columns`.
        hardware: machine that it ran on; times of different machines are not compared.
        causal: whether the task predicts later inputs.
        reproductions: number of runs with this id and result; durations are medians over those on
            one machine.
        study, trial: name of the study, and number in its search; a trial is not on the board.
        verified, refuted: number of reruns that agree, and of those since the last that agrees.
        curve, health: points, with the values that `CURVE` and `HEALTH_CURVE` name.
    """

    id: str
    status: Status
    reason: str
    task: str
    family: str
    data_fingerprint: str
    data_description: str
    router: str
    router_paper: str
    router_causal: bool | None
    backbone: str
    seed: int
    setting: str
    contestant: str
    primary: str
    direction: Literal["max", "min"]
    margin: float | None
    value: float | None
    metrics: dict[str, tuple[float, bool, int]]
    figures: Figures
    hardware: str
    causal: bool
    steps: int
    reproductions: int = 1
    protocol: str
    code: str
    git_commit: str | None
    git_dirty: bool | None
    version: str
    created: str
    hub: str
    study: str
    trial: int | None
    verified: int = 0
    refuted: int = 0
    curve: list[tuple[float, float, float, float]]
    health: list[tuple[float, float, float, float]]


def entry_of(record: RunRecord, verdicts: Sequence[Verdict] = ()) -> tuple[Entry, dict[str, Facts]]:
    """Return the entry of a record, and the facts of its setting and its contestant by hash.

    Args:
        record: that can be shown.
        verdicts: of reruns, oldest first.
    """
    setting, contestant = setting_of(record), contestant_of(record)
    specs = {name: spec_of(record, name) for name in {record.primary, *record.quality}}
    quality, spec = record.quality.get(record.primary), specs[record.primary]
    protocol, points = record.protocol, thinned(record.curve)
    entry = Entry(
        **{name: getattr(record, name) for name in SAME},
        **_options(record.config),
        setting=digest(setting),
        contestant=digest({"setting": setting, **contestant}),
        direction=spec.direction,
        margin=spec.margin,
        value=None if quality is None else quality.value,
        metrics={
            name: (metric.value, specs[name].direction == "min", metric.n)
            for name, metric in record.quality.items()
        },
        figures=figures_of(record),
        hardware=hardware_of(record),
        causal=record.lookahead is not None if record.causal is None else record.causal,
        protocol=of_router(protocol.engine, protocol.router, protocol.own.get("router", "")),
        version=record.environment.get("moesuite", ""),
        verified=sum(not _differs(verdict) for verdict in verdicts),
        refuted=len(list(takewhile(_differs, reversed(verdicts)))),
        curve=_points(points, CURVE),
        health=_points([point for point in points if point.entropy is not None], HEALTH_CURVE),
    )
    return entry, {entry.setting: setting, entry.contestant: contestant}


def _options(config: dict[str, Any]) -> dict[str, Any]:
    """Return the options of a run that the board shows or sorts by."""
    task = config.get("task", {})
    return {
        "family": str(task.get("family", "")),
        "hub": hub_of(task),
        "study": str(config.get("study") or ""),
        "trial": config.get("trial"),
    }


def hub_of(task: Mapping[str, Any]) -> str:
    """Return the hub id of the data that a task's options read; empty for a source of its own."""
    return "" if task.get("source") else str(task.get("hub") or "")


def _differs(verdict: Verdict) -> bool:
    return verdict.verdict == "different"


def figures_of(record: RunRecord) -> Figures:
    """Return the figures of a run by name of their column, floats with six digits."""
    values: Figures = {}
    for column in columns.COLUMNS:
        if column.read is not None:
            value = column.read(record)
            values[column.name] = short(value) if isinstance(value, float) else value
    return values


def spec_of(record: RunRecord, metric: str) -> MetricSpec:
    """Return the declaration of a metric: the package's, else the one that the record brings."""
    options = record.config["task"]
    known = known_spec(str(options.get("family", "")), options, metric)
    return known or record.metrics.get(metric) or MetricSpec(name=metric, direction="max")


def hardware_of(record: RunRecord) -> str:
    """Return the fingerprint of the machine, readable as it is."""
    known = record.environment
    device = record.compute.device.partition(":")[0] if record.compute else "cpu"
    threads = record.compute.threads if record.compute else known.get("threads", "?")
    name = known.get("device", "unknown")
    return f"{name}, {device}, {known.get('cpus', '?')} CPUs, {threads} threads"


def thinned(points: list[CurvePoint]) -> list[CurvePoint]:
    """Return at most `MAX_POINTS` points, evenly spaced, the first and the last among them."""
    if len(points) <= MAX_POINTS:
        return points
    return [points[round(i * (len(points) - 1) / (MAX_POINTS - 1))] for i in range(MAX_POINTS)]


def _points(points: Sequence[CurvePoint], names: Sequence[str]) -> list[Any]:
    return [tuple(short(getattr(point, name) or 0.0) for name in names) for point in points]
