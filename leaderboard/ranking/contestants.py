"""One contestant: a router with its options, in a setting, over all its seeds."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from moesuite.leaderboard import columns
from moesuite.leaderboard.columns.column import Figures, short
from moesuite.leaderboard.ingest.entry import Entry
from moesuite.leaderboard.ingest.facts import Facts
from moesuite.leaderboard.ranking.labels import labels, labels_of_reruns, looks_ahead
from moesuite.leaderboard.ranking.naming import options_text
from moesuite.records.certificate import Certificates
from moesuite.records.compute import StrictModel
from moesuite.statistics.significance import estimate

# of a certificate: name -> letter on the page, and what it says
CHECKS = {
    "deterministic": ("D", "deterministic"),
    "causal": ("C", "causal"),
    "batch_independent": ("B", "independent of the batch"),
    "padding_invariant": ("P", "invariant to padding"),
}
CONTROLS = ("dense", "random")  # baselines of the routers, never ranked among them
BUDGET = ("num_experts", "slots_per_token", "layers")
# fields that the runs of a contestant have in common
SAME = ("setting", "router", "router_paper", "backbone", "hub", "version", "data_description")


class Difference(StrictModel):
    """Quality of a contestant minus that of another, over the seeds that both have.

    Attributes:
        mean: of the differences within a seed.
        half: half the width of its 95 % interval; None for too few seeds, like `detectable` and
            `equal`.
        seeds: number of shared seeds.
        detectable: smallest true difference that the test shows with a power of 80 %, corrected for
            all comparisons.
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
    """One contestant over all its seeds.

    Attributes:
        key: hash of the contestant.
        setting: hash of what it shares with those that it is compared with.
        variant: its options, as typed on the command line.
        values: quality by seed.
        mean, half: of `values`, and half the width of the 95 % interval, from five seeds on.
        to_dense, to_best: against the matched dense model, and against the best of the tie groups;
            None for these themselves.
        group: tie group in its setting; None if it is not ranked, for the reason `unranked`.
        figures: means over seeds by name of their column.
        timings: the same of the columns that differ by machine, by machine.
        budget: options that decide how much expert work there is.
        checks: of the certificate; None: does not arise; missing: not certified with these options.
        causal: whether no output depends on a later token: as certified, as a run showed, or as the
            router claims.
        stale: whether the certificate is of another protocol version.
        labels: what a reader has to know before comparing.
        metrics: (mean, whether smaller is better, examples) by name.
        runs: (seed, id) of the runs that count, then of the others.
        newest: when the last of the runs ended.
        verified, refuted: number of reruns of the runs that count that agree, and of those since
            the last that agrees. A row with `refuted` is shown, but neither ranked nor compared.
        curve, health: means over seeds at the steps that all seeds have.
    """

    key: str
    setting: str
    router: str
    variant: str = ""
    router_paper: str
    backbone: str
    values: dict[int, float]
    mean: float
    half: float | None
    to_dense: Difference | None = None
    to_best: Difference | None = None
    group: int | None = None
    unranked: str = ""
    figures: Figures
    timings: dict[str, Figures]
    budget: str
    steps: float
    causal: bool | None
    checks: dict[str, bool | None]
    stale: bool
    labels: list[str]
    metrics: dict[str, tuple[float, bool, int]]
    runs: list[tuple[int, str]]
    version: str
    data_description: str
    newest: str
    verified: int
    refuted: int
    hub: str
    curve: list[tuple[float, float, float, float]]
    health: list[tuple[float, float, float, float]]


def row_of(runs: Sequence[Entry], certificates: Certificates, facts: Mapping[str, Facts]) -> Row:
    """Return one contestant; of several runs of a seed the newest counts.

    Args:
        runs: finished runs of one contestant.
        certificates: by router.
        facts: settings and contestants by hash.
    """
    by_seed = {entry.seed: entry for entry in sorted(runs, key=lambda e: (e.created, e.id))}
    newest = [by_seed[seed] for seed in sorted(by_seed)]
    others = [entry for entry in runs if by_seed[entry.seed] is not entry]
    first = newest[0]
    options = facts[first.contestant]
    certified = _certified(first, options, certificates)
    values = {entry.seed: entry.value for entry in newest if entry.value is not None}
    quality = estimate(list(values.values()))
    return Row(
        **{name: getattr(first, name) for name in SAME},
        **certified,
        key=first.contestant,
        variant=options_text(options),
        values=values,
        mean=short(quality.mean),
        half=None if quality.half is None else short(quality.half),
        figures=averaged(newest, per_machine=False),
        timings=_timings(newest),
        budget=", ".join(f"{name}={options[name]}" for name in BUDGET if name in options),
        steps=fmean(entry.steps for entry in newest),
        causal=_causal(newest, certified["checks"]),
        labels=[*labels(newest), *labels_of_reruns(newest)],
        metrics={
            name: (_mean_of(newest, name), *first.metrics[name][1:]) for name in first.metrics
        },
        runs=[(entry.seed, entry.id) for entry in [*newest, *others]],
        newest=max(entry.created for entry in newest),
        verified=sum(entry.verified for entry in newest),
        refuted=sum(entry.refuted for entry in newest),
        curve=_mean_curve([entry.curve for entry in newest]),
        health=_mean_curve([entry.health for entry in newest]),
    )


def averaged(runs: Sequence[Entry], per_machine: bool) -> Figures:
    """Return the figures of a contestant.

    Args:
        runs: of its seeds; for `per_machine`, of those on one machine.
        per_machine: whether to average the columns that differ by machine, or the others.
    """
    return {
        column.name: column.average(run.figures[column.name] for run in runs)
        for column in columns.figures()
        if column.per_machine == per_machine
    }


def _timings(runs: Sequence[Entry]) -> dict[str, Figures]:
    by_machine: dict[str, list[Entry]] = defaultdict(list)
    for entry in runs:
        by_machine[entry.hardware].append(entry)
    return {
        machine: averaged(entries, per_machine=True)
        for machine, entries in sorted(by_machine.items())
    }


def _mean_of(runs: Sequence[Entry], metric: str) -> float:
    return short(fmean(entry.metrics[metric][0] for entry in runs if metric in entry.metrics))


def _certified(entry: Entry, options: Facts, certificates: Certificates) -> dict[str, Any]:
    """Return the checks of the router's certificate, if it was certified with these options."""
    router_options = {
        key.removeprefix("router."): value
        for key, value in options.items()
        if key.startswith("router.")
    }
    for certificate in certificates.get(entry.router, []):
        if certificate.given == router_options:
            checks = {
                name: certificate.checks[name].holds
                for name in CHECKS
                if name in certificate.checks
            }
            return {"checks": checks, "stale": certificate.protocol != entry.protocol}
    return {"checks": {}, "stale": False}


def _causal(runs: Sequence[Entry], checks: Mapping[str, bool | None]) -> bool | None:
    if any(map(looks_ahead, runs)):
        return False
    measured = checks.get("causal")
    return runs[0].router_causal if measured is None else measured


def _mean_curve(curves: Sequence[Sequence[tuple[float, ...]]]) -> list[Any]:
    """Return the mean over seeds at the steps that all of them have."""
    by_step = [{point[0]: point for point in curve} for curve in curves if curve]
    if not by_step:
        return []
    shared = sorted(set.intersection(*(set(points) for points in by_step)))
    points_at = [[points[step] for points in by_step] for step in shared]
    return [tuple(short(fmean(values)) for values in zip(*at, strict=True)) for at in points_at]
