"""One contestant: a router with its options, in a setting, over all its seeds."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean
from typing import Any

from moesuite.leaderboard.ingest.entry import Entry, Facts, Timings, short
from moesuite.leaderboard.ranking.naming import options_text
from moesuite.records.certificate import Certificates
from moesuite.records.compute import StrictModel
from moesuite.statistics.significance import estimate

CHECKS = ("deterministic", "causal", "batch_independent", "padding_invariant")
CONTROLS = ("dense", "random")  # what routers are measured by: never ranked among them
REFUTED = "a rerun gave another result"
FEW = 3  # seeds of a published row
BUDGET = ("num_experts", "slots_per_token", "layers")
SAME = ("setting", "router", "paper", "backbone", "hub", "version", "experts")
MEANS = (
    *("limited", "activated", "executed", "parameters_active", "parameters_total", "slots"),
    *("unserved", "dropped_under_capacity", "dead", "entropy", "seconds", "steps"),
)


class Difference(StrictModel):
    """A contestant's quality less another's.

    Attributes:
        mean: over the seeds that both have.
        half: of its 95 % interval; None for too few seeds, like `detectable` and `equal`.
        seeds: that both have.
        detectable: smallest true difference that would be shown with a chance of 80 %, corrected
            for all comparisons.
        equal: corrected p-value of equality within the metric's margin; None also for a metric
            without one.
        verdict: better, worse, equal within the margin, a difference within it ("better yet
            equal"), open, or "" for too few seeds.
    """

    mean: float
    half: float | None
    seeds: int
    detectable: float | None
    equal: float | None
    verdict: str


class Row(StrictModel):
    """One contestant: a router with its options, in a setting, over all its seeds.

    Attributes:
        key: of the contestant; `setting`: of what it shares with those that it is compared with.
        variant: its options, as they are typed.
        values: quality by seed; half: half of the 95 % interval of their mean, from five seeds on.
        to_dense, to_best: against the matched dense model, and the best of its tie groups; None for
            these themselves.
        group: tie group in its setting; None: not ranked, for the reason `unranked`.
        timings: by hardware, means over seeds.
        checks: of the certificate; None: does not arise; missing: not certified with these options.
        causal: whether no output depends on a later token: as certified, as a run showed, or as the
            router claims.
        labels: what a reader has to know before comparing.
        verified, refuted: reruns of the runs that count that agree, and that differ after the last
            that agrees; with one of the latter a row is shown, and neither ranked nor compared.
        runs: (seed, id) of the runs that count, then of the others.
        curve: (step, seconds, FLOPs, quality), health: (step, entropy, unserved, dead), means over
            seeds.
    """

    key: str
    setting: str
    router: str
    variant: str = ""
    paper: str
    backbone: str
    values: dict[int, float]
    mean: float
    half: float | None
    limited: float | None
    to_dense: Difference | None = None
    to_best: Difference | None = None
    group: int | None = None
    unranked: str = ""
    activated: float | None
    executed: float | None
    uncounted: bool
    parameters_active: float | None
    parameters_total: float | None
    slots: float | None
    budget: str
    timings: dict[str, Timings]
    unserved: float | None
    dropped_under_capacity: float | None
    dead: float | None
    experts: int | None
    entropy: float | None
    lookahead: float
    causal: bool | None
    seconds: float
    steps: float
    checks: dict[str, bool | None]
    stale: bool
    labels: list[str]
    metrics: dict[str, tuple[float, bool, int]]
    runs: list[tuple[int, str]]
    version: str
    newest: str
    verified: int
    refuted: int
    hub: str
    curve: list[tuple[float, float, float, float]]
    health: list[tuple[float, float, float, float]]


def row_of(runs: Sequence[Entry], certificates: Certificates, facts: Mapping[str, Facts]) -> Row:
    """Return one contestant; of several runs of a seed the newest counts.

    Args:
        runs: finished ones of one contestant.
        certificates: by router.
        facts: settings and contestants by hash.
    """
    counted = {entry.seed: entry for entry in sorted(runs, key=lambda e: (e.created, e.id))}
    newest = [counted[seed] for seed in sorted(counted)]
    others = [entry for entry in runs if counted[entry.seed] is not entry]
    first, own = newest[0], facts[newest[0].contestant]
    certified = _certified(first, own, certificates)
    values = {entry.seed: entry.value for entry in newest if entry.value is not None}
    quality = estimate(list(values.values()))
    found: dict[str, Any] = {
        **{key: getattr(first, key) for key in SAME},
        **{key: mean(getattr(entry, key) for entry in newest) for key in MEANS},
        "key": first.contestant,
        "variant": options_text(own),
        "values": values,
        "mean": short(quality.mean),
        "half": None if quality.half is None else short(quality.half),
        "uncounted": any(entry.uncounted for entry in newest),
        "budget": ", ".join(f"{key}={own[key]}" for key in BUDGET if key in own),
        "timings": _timings(newest),
        "lookahead": max(entry.lookahead or 0.0 for entry in newest),
        **certified,
        "causal": _causal(newest, certified["checks"]),
        "labels": _labels(newest),
        "metrics": {
            name: (_mean_of(newest, name), *first.metrics[name][1:]) for name in first.metrics
        },
        "runs": [(entry.seed, entry.id) for entry in [*newest, *others]],
        "verified": sum(entry.verified for entry in newest),
        "refuted": sum(entry.refuted for entry in newest),
        "newest": max(entry.created for entry in newest),
        "curve": _mean_curve([entry.curve for entry in newest]),
        "health": _mean_curve([entry.health for entry in newest]),
    }
    return Row(**found)


def _mean_of(runs: Sequence[Entry], metric: str) -> float:
    return short(fmean(entry.metrics[metric][0] for entry in runs if metric in entry.metrics))


def _certified(entry: Entry, own: Facts, certificates: Certificates) -> dict[str, Any]:
    """Return the checks of the router's certificate, if it was certified with these very options."""
    options = {
        key.removeprefix("router."): value
        for key, value in own.items()
        if key.startswith("router.")
    }
    known = next((one for one in certificates.get(entry.router, []) if one.given == options), None)
    if known is None:
        return {"checks": {}, "stale": False}
    return {
        "checks": {name: known.checks[name].holds for name in CHECKS if name in known.checks},
        "stale": known.protocol != entry.protocol,
    }


def _causal(runs: Sequence[Entry], checks: Mapping[str, bool | None]) -> bool | None:
    if any(entry.lookahead for entry in runs):
        return False
    measured = checks.get("causal")
    return runs[0].router_causal if measured is None else measured


def _labels(runs: Sequence[Entry]) -> list[str]:
    found = []
    if any(entry.lookahead for entry in runs):
        found.append("sees later tokens")
    if any(entry.dirty for entry in runs):
        found.append("uncommitted code")
    if any(entry.commit is None for entry in runs):
        found.append("code of no commit")
    found += [
        f"tuned by {study}" for study in sorted({entry.study for entry in runs if entry.study})
    ]
    reproductions = [entry.reproductions for entry in runs]
    if min(reproductions) > 1:
        found.append(f"reproduced {min(reproductions)}x")
    elif max(reproductions) > 1:
        found.append(f"{sum(count > 1 for count in reproductions)} of {len(runs)} seeds reproduced")
    if verified := sum(entry.verified for entry in runs):
        found.append(f"verified {verified}x")
    if any(entry.refuted for entry in runs):
        found.append(REFUTED)
    if len(runs) < FEW:
        found.append(f"{len(runs)} seed{'s' * (len(runs) > 1)}")
    return found


def _timings(runs: Sequence[Entry]) -> dict[str, Timings]:
    """Return the mean times by hardware."""
    by_machine: dict[str, list[Timings]] = defaultdict(list)
    for entry in runs:
        by_machine[entry.hardware].append(entry.timings)
    return {
        machine: Timings(
            **{key: mean(getattr(timing, key) for timing in found) for key in Timings.model_fields}
        )
        for machine, found in sorted(by_machine.items())
    }


def mean(values: Iterable[float | None]) -> float | None:
    """Return the mean of what is known; None of nothing."""
    known = [value for value in values if value is not None]
    return short(fmean(known)) if known else None


def _mean_curve(curves: Sequence[Sequence[tuple[Any, ...]]]) -> list[tuple[Any, ...]]:
    """Return the mean over seeds at the steps that all of them have."""
    by_step = [{point[0]: point for point in curve} for curve in curves if curve]
    if not by_step:
        return []
    shared = sorted(set.intersection(*(set(points) for points in by_step)))
    return [
        tuple(
            short(fmean(values))
            for values in zip(*(points[step] for points in by_step), strict=True)
        )
        for step in shared
    ]
