"""What the board keeps of one record: small, so that thousands of them are ready when one more comes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from itertools import takewhile
from statistics import fmean
from typing import Any, Literal

from moesuite.config.roles import Role
from moesuite.config.schema import options_of
from moesuite.records.certificate import Verdict
from moesuite.records.compute import Compute, StrictModel
from moesuite.records.metrics import MetricSpec, known_spec
from moesuite.records.protocol import of_router
from moesuite.records.record import LayerHealth, RunRecord, Status, dropped_under_capacity

POINTS = 24  # of a curve
OF_DENSE = ("tile_depth", "upcycle", "upcycle_state", "init")  # what makes dense models differ
ROUTERS = ("router", "decoder")
PROTOCOL = "protocol."  # what the facts of versions begin with
Facts = dict[str, Any]


class Timings(StrictModel):
    """Of a run: ratios to the matched dense model, and milliseconds of a batch; None: not measured."""

    latency_ratio: float | None = None
    step_ratio: float | None = None
    latency_ms: float | None = None
    step_ms: float | None = None


class Entry(StrictModel):
    """A record as the board knows it.

    Attributes:
        setting: hash of what all contestants of a head-to-head share; `contestant`: of what they
            differ in.
        direction, margin: as the task's family declares the metric that ranks; see `MetricSpec`.
        reproductions: times that this very run was made; the times are medians over those on one
            machine.
        causal: whether the task predicts later inputs; `router_causal`: whether the router claims
            to look at none.
        trial: number in the search of `study`; None: not of a search, and shown among others.
        hardware: machine that it ran on; times of others are not compared with it.
        metrics: (value, whether smaller is better, examples) by name.
        curve: (step, seconds, FLOPs, quality); health: (step, entropy, unserved, dead).
        verified, refuted: reruns of it that agree, and that differ after the last that agrees: the
            newest word counts.
        unserved, dropped_under_capacity: shares of tokens, means over MoE layers; see
            `LayerHealth`.
    """

    id: str
    status: Status
    reason: str
    task: str
    family: str
    data: str
    router: str
    paper: str
    backbone: str
    seed: int
    setting: str
    contestant: str
    primary: str
    direction: Literal["max", "min"]
    margin: float | None
    value: float | None
    limited: float | None
    metrics: dict[str, tuple[float, bool, int]]
    activated: float | None = None
    executed: float | None = None
    uncounted: bool = False
    parameters_active: int | None = None
    parameters_total: int | None = None
    slots: float | None = None
    timings: Timings
    hardware: str
    unserved: float | None = None
    dropped_under_capacity: float | None = None
    dead: int | None = None
    experts: int | None = None
    entropy: float | None = None
    lookahead: float | None = None
    causal: bool
    router_causal: bool | None = None
    seconds: float
    steps: int
    reproductions: int = 1
    protocol: str
    code: str
    commit: str | None
    dirty: bool | None
    version: str
    created: str
    hub: str
    study: str
    trial: int | None
    verified: int = 0
    refuted: int = 0
    curve: list[tuple[int, float, float, float]]
    health: list[tuple[int, float, float, int]]


def entry_of(record: RunRecord, verdicts: Sequence[Verdict] = ()) -> tuple[Entry, dict[str, Facts]]:
    """Return the entry of a record, and what its setting and its contestant are, by hash."""
    setting, contestant = setting_of(record), contestant_of(record)
    ranked, spec = record.quality.get(record.primary), spec_of(record, record.primary)
    limited = record.limited_quality.get(record.primary)
    entry = Entry(
        **{
            key: getattr(record, key)
            for key in ("id", "status", "reason", "task", "router", "backbone", "seed")
        },
        **{key: getattr(record, key) for key in ("primary", "seconds", "steps", "code", "created")},
        family=str(record.config.get("task", {}).get("family", "")),
        data=record.data_fingerprint,
        paper=record.router_paper,
        setting=digest(setting),
        contestant=digest({"setting": setting, **contestant}),
        direction=spec.direction,
        margin=spec.margin,
        value=ranked.value if ranked else None,
        limited=limited.value if limited else None,
        metrics={
            name: (q.value, spec_of(record, name).direction == "min", q.n)
            for name, q in record.quality.items()
        },
        **(_costs(record.compute) if record.compute else {"timings": Timings()}),
        hardware=hardware_of(record),
        **(_health(record.health) if record.health else {}),
        lookahead=record.lookahead.outputs if record.lookahead else None,
        protocol=of_router(
            record.protocol.engine, record.protocol.router, record.protocol.own.get("router", "")
        ),
        causal=record.lookahead is not None if record.causal is None else record.causal,
        router_causal=record.router_causal,
        commit=record.git_commit,
        dirty=record.git_dirty,
        version=record.environment.get("moesuite", ""),
        hub=str(record.config.get("task", {}).get("hub") or ""),
        study=str(record.config.get("study") or ""),
        trial=record.config.get("trial"),
        verified=sum(verdict.verdict != "different" for verdict in verdicts),
        refuted=len(
            list(takewhile(lambda verdict: verdict.verdict == "different", reversed(verdicts)))
        ),
        curve=[
            (p.step, short(p.seconds), short(p.flops), short(p.quality))
            for p in thinned(record.curve)
        ],
        health=[
            (p.step, short(p.entropy), short(p.unserved or 0.0), p.dead or 0)
            for p in thinned(record.curve)
            if p.entropy is not None
        ],
    )
    return entry, {entry.setting: setting, entry.contestant: contestant}


def spec_of(record: RunRecord, metric: str) -> MetricSpec:
    """Return the declaration of a metric: the package's, else the one that the record brings along."""
    options = record.config["task"]
    known = known_spec(str(options.get("family", "")), options, metric)
    return known or record.metrics.get(metric) or MetricSpec(name=metric, direction="max")


def _health(layers: list[LayerHealth]) -> Facts:
    dropped = dropped_under_capacity(layers)
    return {
        "unserved": short(fmean(layer.unserved for layer in layers)),
        "dropped_under_capacity": None if dropped is None else short(dropped),
        "entropy": short(fmean(layer.entropy for layer in layers)),
        "dead": sum(layer.dead for layer in layers),
        "experts": sum(len(layer.load) for layer in layers),
    }


def _costs(compute: Compute) -> Facts:
    latency, step = compute.latency, compute.training_step
    timings = Timings(
        latency_ratio=short(latency.ratio_to_dense) if latency else None,
        latency_ms=short(1000 * latency.median) if latency else None,
        step_ratio=short(step.ratio_to_dense) if step else None,
        step_ms=short(1000 * step.median) if step else None,
    )
    return {
        "activated": compute.activated.total,
        "executed": compute.executed.total,
        "uncounted": bool(compute.uncounted),
        "parameters_active": compute.parameters_active,
        "parameters_total": compute.parameters_total,
        "slots": short(compute.slots_per_token_effective),
        "timings": timings,
    }


def hardware_of(record: RunRecord) -> str:
    """Return the fingerprint of the machine, readable as it is."""
    known = record.environment
    device = record.compute.device.partition(":")[0] if record.compute else "cpu"
    threads = record.compute.threads if record.compute else known.get("threads", "?")
    return f"{known.get('device', 'unknown')}, {device}, {known.get('cpus', '?')} CPUs, {threads} threads"


def setting_of(record: RunRecord) -> Facts:
    """Return what contestants share: task options, backbone, optimizer, batch, budget and protocol, as flat names.

    What a study tuned is compared with nothing that was not: its name is a part too.
    """
    setting: Facts = {
        f"{name}.{option}".rstrip("."): value
        for name, option, value, role in options_of(record.config)
        if role.in_setting
    }
    if record.config.get("study"):
        setting["study"] = record.config["study"]
    protocol = record.protocol
    setting |= {f"{PROTOCOL}engine": protocol.engine, f"{PROTOCOL}family": protocol.family}
    return setting | {
        f"own.{name}": sha for name, sha in protocol.own.items() if name not in ROUTERS
    }


def contestant_of(record: RunRecord) -> Facts:
    """Return what makes the contestant, by which it is told from others of its setting."""
    contestant: Facts = {"router": record.router, f"{PROTOCOL}router": record.protocol.router}
    contestant |= {
        f"own.{name}": sha for name, sha in record.protocol.own.items() if name in ROUTERS
    }
    for name, option, value, role in options_of(record.config):
        if role is not Role.CONTESTANT or (record.router == "dense" and name not in OF_DENSE):
            continue
        if name == "router":
            contestant |= {} if option == "name" else {f"router.{option}": value}
        else:
            contestant[name] = record.config[name]
    if "upcycle" in record.contents:  # another checkpoint for each seed
        contestant["upcycle"] = "a dense run"
    if contestant.get("init"):
        contestant["init"] = record.contents.get("init")
    if record.protocol.decoder is not None:
        contestant[f"{PROTOCOL}decoder"] = record.protocol.decoder
    return contestant


def thinned(points: list[Any]) -> list[Any]:
    """Return at most `POINTS` points, the first and the last among them."""
    if len(points) <= POINTS:
        return points
    return [points[round(i * (len(points) - 1) / (POINTS - 1))] for i in range(POINTS)]


def short(value: float) -> float:
    """Return a number with six significant digits."""
    return float(f"{value:.6g}")


def digest(facts: Any) -> str:
    """Return the hash of anything that JSON can hold."""
    return hashlib.sha256(
        json.dumps(facts, sort_keys=True, separators=(",", ":")).encode()
    ).hexdigest()[:12]
