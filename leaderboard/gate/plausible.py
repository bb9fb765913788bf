"""Refuse figures that no run can have, in one line.

An id is only a hash, which whoever changes a figure can renew.

This module checks quality; its neighbours check origin, training course, costs and routing health,
and `moesuite.leaderboard.ingest.agreement` what several records must agree on.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from typing import Any

from moesuite.errors import UserError
from moesuite.leaderboard.gate.costs import check_costs
from moesuite.leaderboard.gate.course import check_course, check_curve
from moesuite.leaderboard.gate.origin import check_origin, declared_task
from moesuite.leaderboard.gate.ranges import within
from moesuite.leaderboard.gate.routing import check_routing
from moesuite.records.metrics import FAMILIES, MetricSpec, known_spec, primary_name
from moesuite.records.record import RunRecord

# over the same examples the first is never the larger one
NESTED = (("top1", "top5"), ("recall@1", "recall@10"))
COUNTED = ("top1", "top5", "fgsm", "pgd")  # correct images over all images
HIT = 1e-6  # rounding of such a share in single precision
SIZES = {
    "train": re.compile(r"([\d,]+) train\b"),
    "test": re.compile(r"([\d,]+) (?:test|validation|valid)\b"),
}


def check_plausible(record: RunRecord) -> None:
    """Refuse a record with an impossible figure.

    Raises:
        UserError: names the first such field, its value, and what is allowed.
    """
    check_origin(record)
    check_course(record)
    specs = _specs(record)
    for field in ("quality", "limited_quality"):
        _check_quality(record, field, specs)
    if record.status == "ok":
        _check_examples(record)
        _check_hits(record)
    _check_duplicates(record)
    if record.compute is not None:
        check_costs(record, record.compute)
    check_routing(record)
    if (ranking := specs.get(record.primary)) is not None:
        check_curve(record, ranking)


def _specs(record: RunRecord) -> dict[str, MetricSpec]:
    """Return the declaration of each metric, after comparing the record's with the package's."""
    options = record.config["task"]
    family = str(options.get("family", ""))
    specs = {}
    for name in {record.primary, *record.quality, *record.metrics}:
        known, told = known_spec(family, options, name), record.metrics.get(name)
        if known is None and family in FAMILIES:
            raise UserError(
                f"quality.{name} is no metric of {family}; allowed: {', '.join(FAMILIES[family])}"
            )
        if known is None and told is None and name in record.quality:
            raise UserError(
                f"metrics.{name} is missing; "
                "allowed: the declaration of every metric that is reported"
            )
        for key in ("name", "direction", "least", "most"):
            right = getattr(known, key) if known else {"name": name}.get(key)
            if told is not None and (known or key == "name") and getattr(told, key) != right:
                raise UserError(f"metrics.{name}.{key} is {getattr(told, key)}; allowed: {right}")
        if spec := known or told:
            specs[name] = spec
    ranking = primary_name(family, options)
    if ranking not in (None, record.primary):
        raise UserError(
            f"primary is {record.primary}; allowed: {ranking}, by which {record.task} is ranked"
        )
    return specs


def _check_quality(record: RunRecord, field: str, specs: Mapping[str, MetricSpec]) -> None:
    """Check directions, ranges, and metrics that bound each other."""
    figures = getattr(record, field)
    for name, quality in figures.items():
        if name not in specs:
            raise UserError(
                f"{field}.{name} is not reported without limit; "
                f"allowed: {', '.join(record.quality)}"
            )
        spec = specs[name]
        if quality.direction != spec.direction:
            raise UserError(
                f"{field}.{name}.direction is {quality.direction}; allowed: {spec.direction}"
            )
        if not spec.admits(quality.value):
            raise UserError(f"{field}.{name}.value is {quality.value:.6g}; allowed: {spec.range}")
        within(f"{field}.{name}.n", quality.n, 1, None)
    for smaller, larger in NESTED:
        if smaller in figures and larger in figures:
            most = figures[larger].value
            within(f"{field}.{smaller}.value", figures[smaller].value, None, most, f" ({larger})")


def _check_examples(record: RunRecord) -> None:
    """Check the number of examples behind each metric against the size of the test split."""
    options = record.config["task"]
    family = str(options.get("family", ""))
    for role, size in record.splits.items():
        within(f"splits.{role}", size, 1, None)
    test = record.splits.get("test")
    # the number of examples is not known before
    is_open = options.get("streaming") or options.get("kind") == "mteb"
    if test is None and family in FAMILIES and not is_open:
        raise UserError(
            "splits.test is missing; allowed: the number of test examples that are scored"
        )
    for role in SIZES:
        count, known = record.splits.get(role), known_size(record.task, options, role)
        if count is not None and known is not None:
            within(f"splits.{role}", count, known - record.unreadable, known, f" ({record.task})")
    for name, quality in record.quality.items():
        where = f"quality.{name}.n"
        if family == "preferences" and name.startswith("points_"):
            within(where, quality.n, options.get("games"), options.get("games"), " (task.games)")
        elif test is not None and family in FAMILIES:
            partial = family == "understanding" or (
                family in ("embeddings", "language") and name not in FAMILIES[family]
            )
            within(
                where, quality.n, 1 if partial else test - record.unreadable, test, " (splits.test)"
            )
    for name, quality in record.limited_quality.items():
        same = record.quality[name].n
        within(f"limited_quality.{name}.n", quality.n, same, same, f" (quality.{name}.n)")


def _check_duplicates(record: RunRecord) -> None:
    """Check the number of examples that also stand in train against the size of their split."""
    for role, duplicates in (record.duplicates or {}).items():
        if role not in ("val", "test"):
            raise UserError(f"duplicates.{role} is of no split; allowed: val, test")
        size = record.splits.get(role) if duplicates.unit == "examples" else None
        within(f"duplicates.{role}.total", duplicates.total, 0, size, f" (splits.{role})")
        most, why = duplicates.total, f" (duplicates.{role}.total)"
        within(f"duplicates.{role}.count", duplicates.count, 0, most, why)


def _check_hits(record: RunRecord) -> None:
    """Check shares of images of packaged data sets against the number of images."""
    if (
        record.config["task"].get("family") != "vision"
        or declared_task(record.task) is None
        or record.unreadable
    ):
        return
    for field in ("quality", "limited_quality"):
        for name, quality in getattr(record, field).items():
            hits = quality.value * quality.n
            if name in COUNTED and abs(hits - round(hits)) > HIT * quality.n:
                allowed = f"a multiple of 1/{quality.n} (n)"
                raise UserError(f"{field}.{name}.value is {quality.value:.9g}; allowed: {allowed}")


@cache
def _known_size(task: str, role: str) -> int | None:
    size = SIZES[role].search(str((declared_task(task) or {}).get("size", "")))
    return int(size[1].replace(",", "")) if size else None


def known_size(task: str, options: Mapping[str, Any], role: str = "test") -> int | None:
    """Return the number of images in a split of a packaged data set (from its YAML), or None."""
    declared = declared_task(task)
    if options.get("family") != "vision" or options.get("source") or not declared:
        return None
    same = all(
        options.get(key) == declared.get(key, options.get(key))
        for key in ("hub", "embedded", "splits")
    )
    return _known_size(task, role) if same else None
