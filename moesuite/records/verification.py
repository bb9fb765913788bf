"""Compare a rerun with its record: equal, within the tolerance of seeds, or different. No torch.

Figures of a record are of two kinds. Counts follow from the configuration and agree to the last
digits: steps, examples, parameters, expected FLOPs; also FLOPs and slots of the trained model, as
far as routing does not change them. All others follow from training and depend on the processor and
its libraries through rounding, which training magnifies; if training agrees to the last bit, so do
the costs of routing.

`equal`: counts agree, and all metrics differ by less than float noise, `NOISE` of their size. Curve
and routing may then differ by `COURSE`: a token near a tie may go to another expert. `within`:
counts agree, and no metric differs by more than two runs of different seeds would in 95 % of cases:
t · √2 · s with the standard deviation s of the metric over n >= 3 seeds (the rerun and records of
other seeds, never the record itself, which would widen its own tolerance) and Student's t with
n - 1 degrees of freedom, at a level of 5 % shared among the metrics (Bonferroni). `different`:
everything else, including metrics that differ although curve and routing agree to noise, which
chance does not explain.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

from moesuite.config.roles import Role
from moesuite.config.schema import options_of
from moesuite.records.certificate import Rerun, Verdict
from moesuite.records.record import RunRecord
from moesuite.statistics.tolerance import ENOUGH, NOISE, differing, tolerance

COURSE = 0.02  # relative and absolute, of curve and routing where metrics agree
EXACT = 1e-9  # relative: the order of a sum
COUNTS = (
    "expected",
    "training",
    "training_step_flops",
    "parameters_total",
    "slots_per_token_asked",
)
PASSES = ("activated", "executed")  # FLOPs of the trained model
# what may depend on the routing after training
ROUTED = (*PASSES, "parameters_active", "slots_per_token_effective", "layers")
POINT = ("loss", "quality", "entropy")
SHOWN = 3  # figures that a reason names


def metrics_of(record: RunRecord) -> dict[str, float]:
    """Return the metrics of both evaluations."""
    limited = {f"limited {name}": quality.value for name, quality in record.limited_quality.items()}
    return {name: quality.value for name, quality in record.quality.items()} | limited


def counts_of(record: RunRecord) -> dict[str, float]:
    """Return the figures that follow from the configuration alone."""
    counts = {f"n of {name}": float(quality.n) for name, quality in record.quality.items()}
    counts |= {"steps": float(record.steps), "unreadable": float(record.unreadable)}
    counts |= {f"examples of {name}": float(size) for name, size in record.splits.items()}
    counts |= {f"FLOPs at step {point.step}": point.flops for point in record.curve}
    if record.compute is not None:
        counts |= _numbers({name: getattr(record.compute, name) for name in COUNTS})
        counts |= {
            f"{layer.layer} parameters": float(layer.parameters_total)
            for layer in record.compute.layers
        }
    return counts


def fixed(again: RunRecord) -> frozenset[str]:
    """Return the costs of the trained model that equal those expected before training.

    Routing does not change these. If it changes no part, slots, active parameters and layers are
    fixed too.
    """
    if again.compute is None:
        return frozenset()
    expected = _numbers(again.compute.expected.model_dump())
    parts = _numbers({name: getattr(again.compute, name) for name in PASSES})
    same = {name for name, value in parts.items() if value == expected[name.partition(" ")[2]]}
    return frozenset(routed_of(again) if same == parts.keys() else same)


def routed_of(record: RunRecord) -> dict[str, float]:
    """Return the figures that may depend on the trained routing: FLOPs, parameters, slots."""
    return (
        {}
        if record.compute is None
        else _numbers({name: getattr(record.compute, name) for name in ROUTED})
    )


def decided(record: RunRecord, again: RunRecord) -> list[str]:
    """Return the figures that follow from the configuration alone and differ, with both values."""
    names = fixed(again)
    ours, theirs = (metrics_of(run) | training_of(run) for run in (record, again))
    if record.curve and not differing(ours, theirs, 0.0, 0.0):
        names |= routed_of(record).keys() | routed_of(again).keys()  # the very same training
    ours, theirs = (
        counts_of(run) | {name: value for name, value in routed_of(run).items() if name in names}
        for run in (record, again)
    )
    odd = differing(ours, theirs, EXACT, 0.0)
    return [
        f"{name} (recorded {_figure(ours, name)}, again {_figure(theirs, name)})" for name in odd
    ]


def _figure(figures: Mapping[str, float], name: str) -> str:
    return f"{figures[name]:.10g}" if name in figures else "nothing"


def training_of(record: RunRecord) -> dict[str, float]:
    """Return what training left beside the metrics: curve, and routing health."""
    points = {
        f"curve at step {p.step}": {name: getattr(p, name) for name in POINT} for p in record.curve
    }
    layers = {layer.layer: layer.model_dump(exclude={"layer"}) for layer in record.health}
    return _numbers({**points, **layers})


def course_of(record: RunRecord) -> dict[str, float]:
    """Return the same, and what the routing costs."""
    return training_of(record) | routed_of(record)


def _numbers(values: Mapping[str, Any]) -> dict[str, float]:
    """Return all numbers below, by their path."""
    return dict(_walk("", values))


def _walk(name: str, value: Any) -> Iterator[tuple[str, float]]:
    if hasattr(value, "model_dump"):
        value = value.model_dump()
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _walk(f"{name} {key}".lstrip(), inner)
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _walk(f"{name} {index}", inner)
    elif isinstance(value, int | float):
        yield name, float(value)


def is_seed_of(other: RunRecord, record: RunRecord) -> bool:
    """Return whether another finished record is of the same run with another seed."""
    if other.status != "ok" or other.id == record.id or other.seed == record.seed:
        return False
    return _but_seed(other) == _but_seed(record)


def _but_seed(record: RunRecord) -> list[Any]:
    """Return everything but seeds that a run depends on.

    The dense run that it upcycles differs by seed and is left out.
    """
    aside = {"upcycle"} & record.contents.keys()
    options = {
        (name, option): value
        for name, option, value, role in options_of(record.config)
        if role.in_id and role not in (Role.SEED, Role.DETAIL) and name not in aside
    }
    contents = {name: sha for name, sha in record.contents.items() if name not in aside}
    return [options, contents, record.protocol, record.data_fingerprint]


def judge(record: RunRecord, again: RunRecord, seeds: Sequence[RunRecord]) -> Verdict:
    """Compare a record with its rerun.

    Args:
        record, again: both finished, of the same id.
        seeds: finished runs of other seeds.
    """
    ours, theirs = metrics_of(record), metrics_of(again)
    by_seed = {run.seed: metrics_of(run) for run in [*seeds, again]}
    metrics = {}
    for name in sorted(ours.keys() & theirs.keys()):
        values = [known[name] for known in by_seed.values() if name in known]
        difference = abs(ours[name] - theirs[name])
        metrics[name] = Rerun(
            recorded=ours[name],
            again=theirs[name],
            difference=difference,
            tolerance=tolerance(values, len(ours)),
        )
    verdict, reason = _verdict(record, again, metrics, len(by_seed))
    return Verdict(
        verdict=verdict,
        reason=reason,
        metrics=metrics,
        seeds=len(by_seed) if len(by_seed) >= ENOUGH else 0,
        machine=again.environment.get("device", "unknown"),
        version=again.environment.get("moesuite", ""),
        **{name: getattr(again, name) for name in ("created", "code", "git_commit", "git_dirty")},
    )


def _verdict(
    record: RunRecord, again: RunRecord, metrics: Mapping[str, Rerun], seeds: int
) -> tuple[Literal["equal", "within", "different"], str]:
    if odd := decided(record, again):
        return "different", f"what the configuration alone decides differs: {_named(odd)}"
    odd = differing(metrics_of(record), metrics_of(again))
    if not odd:
        course = differing(course_of(record), course_of(again), COURSE, COURSE)
        if course:
            return "different", f"metrics agree, but not the course: {_named(course)}"
        return "equal", f"all metrics agree to {NOISE:g} of their size"
    ours, theirs = training_of(record), training_of(again)
    if ours and not differing(ours, theirs):
        return "different", f"curve and routing agree, but not {_named(odd)}"
    if seeds < ENOUGH:
        return (
            "different",
            f"{_named(odd)} differ, and {seeds} of {ENOUGH} seeds give no tolerance; "
            "type seeds=1,2",
        )
    if far := [name for name in odd if name not in metrics or not _is_within(metrics[name])]:
        return "different", f"{_named(far)} differ by more than {seeds} seeds explain"
    return "within", f"{_named(odd)} differ by no more than {seeds} seeds explain"


def contradiction(record: RunRecord, verdict: Verdict) -> str:
    """Return how a verdict contradicts its own figures or the record; empty if it does not."""
    recorded = metrics_of(record)
    if {name: metric.recorded for name, metric in verdict.metrics.items()} != recorded:
        return "its recorded metrics are not those of the record"
    if verdict.verdict == "different":
        return ""
    far = differing(recorded, {name: metric.again for name, metric in verdict.metrics.items()})
    if verdict.verdict == "within":
        far = [name for name in far if not _is_within(verdict.metrics[name])]
    return f"{verdict.verdict}, but {_named(far)} differ by more" if far else ""


def _is_within(metric: Rerun) -> bool:
    return metric.tolerance is not None and abs(metric.recorded - metric.again) <= metric.tolerance


def _named(names: Sequence[str]) -> str:
    more = len(names) - SHOWN
    return ", ".join(names[:SHOWN]) + (f" and {more} more" if more > 0 else "")
