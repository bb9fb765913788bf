"""Figures that no run can have, refused with one line: an id is only a hash, which whoever changes a figure can renew.

Here: quality, and the course of a run; beside it costs (`plausible_costs`), routing health (`plausible_routing`), and
what several records must agree on (`agreement`).
"""

from __future__ import annotations

import datetime
import math
import re
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import Any

from moesuite.errors import UserError
from moesuite.leaderboard.plausible_costs import check_costs
from moesuite.leaderboard.plausible_routing import check_routing
from moesuite.leaderboard.ranges import share, within
from moesuite.metrics import EMBEDDINGS, FAMILIES, MetricSpec, known_spec, primary_name
from moesuite.record import SCHEMA, SCHEMA_SINCE, RunRecord

SINCE = datetime.datetime.fromisoformat(SCHEMA_SINCE)
AHEAD = datetime.timedelta(days=1)  # that a clock may be wrong
NESTED = (("top1", "top5"), ("recall@1", "recall@10"))  # of the same examples: the first is never the larger one
SAME_SPLIT = 0.02  # of two evaluations of one model on one split, beside three deviations of chance: routers may draw
SIZE = re.compile(r"([\d,]+) (?:test|validation|valid)\b")


def check_plausible(record: RunRecord) -> None:
    """Refuse a record with a figure that cannot be.

    Raises:
        UserError: names the first such field, its value, and what is allowed.
    """
    _check_course(record)
    specs = _specs(record)
    for field in ("quality", "limited_quality"):
        _check_quality(record, field, specs)
    if record.status == "ok":
        _check_examples(record)
    if record.compute is not None:
        check_costs(record, record.compute)
    check_routing(record)
    if (ranking := specs.get(record.primary)) is not None:
        _check_curve(record, ranking)


def _check_course(record: RunRecord) -> None:
    """Judge times and steps."""
    for name in ("steps", "seconds", "waited", "unreadable"):
        within(name, getattr(record, name), 0, None)
    within("waited", record.waited, 0, record.seconds)
    limit = record.config["trainer"].get("max_steps")
    if isinstance(limit, int) and limit >= 0:
        within("steps", record.steps, 0, limit)
    made = datetime.datetime.fromisoformat(record.created)
    if made < SINCE:
        raise UserError(f"created is {record.created}; allowed: {SCHEMA_SINCE} or later, when schema {SCHEMA} began")
    if made > datetime.datetime.now(datetime.UTC) + AHEAD:
        raise UserError(f"created is {record.created}; allowed: no time in the future")
    if record.sunk is not None:
        trained = record.steps > 0  # a run that is only evaluated takes no step of the dense one over
        within("sunk.steps", record.sunk.steps, 0, record.steps if trained else None)
        within("sunk.seconds", record.sunk.seconds, 0, record.seconds if trained else None)
        within("sunk.flops", record.sunk.flops, 0, None)
    if record.lookahead is not None:
        share("lookahead.outputs", record.lookahead.outputs)
    for index, layer in enumerate(record.upcycled):
        within(f"upcycled.{index}.difference", layer.difference, 0, None)
        within(f"upcycled.{index}.served_difference", layer.served_difference, 0, layer.difference)
        within(f"upcycled.{index}.scale", layer.scale, 0, None)
        share(f"upcycled.{index}.unserved", layer.unserved)


def _specs(record: RunRecord) -> dict[str, MetricSpec]:
    """Return the declaration of each metric of a record, after what it says itself is compared with the package's."""
    options = record.config["task"]
    family = str(options.get("family", ""))
    specs = {}
    for name in {record.primary, *record.quality, *record.metrics}:
        known, told = known_spec(family, options, name), record.metrics.get(name)
        if known is None and family in FAMILIES:
            raise UserError(f"quality.{name} is no metric of {family}; allowed: {', '.join(FAMILIES[family])}")
        if known is None and told is None and name in record.quality:
            raise UserError(f"metrics.{name} is missing; allowed: the declaration of every metric that is reported")
        for key in ("name", "direction", "least", "most"):
            right = getattr(known, key) if known else {"name": name}.get(key)
            if told is not None and (known or key == "name") and getattr(told, key) != right:
                raise UserError(f"metrics.{name}.{key} is {getattr(told, key)}; allowed: {right}")
        if spec := known or told:
            specs[name] = spec
    ranking = primary_name(family, options)
    if ranking not in (None, record.primary):
        raise UserError(f"primary is {record.primary}; allowed: {ranking}, by which {record.task} is ranked")
    return specs


def _check_quality(record: RunRecord, field: str, specs: Mapping[str, MetricSpec]) -> None:
    """Judge directions, ranges, and metrics that bound each other."""
    figures = getattr(record, field)
    for name, quality in figures.items():
        if name not in specs:
            raise UserError(f"{field}.{name} is not reported without limit; allowed: {', '.join(record.quality)}")
        spec = specs[name]
        if quality.direction != spec.direction:
            raise UserError(f"{field}.{name}.direction is {quality.direction}; allowed: {spec.direction}")
        if not spec.admits(quality.value):
            raise UserError(f"{field}.{name}.value is {quality.value:.6g}; allowed: {spec.range}")
        within(f"{field}.{name}.n", quality.n, 1, None)
    for smaller, larger in NESTED:
        if smaller in figures and larger in figures:
            most = figures[larger].value
            within(f"{field}.{smaller}.value", figures[smaller].value, None, most, f" ({larger})")


def _check_examples(record: RunRecord) -> None:
    """Judge the number of examples behind each metric by the size of the test split."""
    options = record.config["task"]
    family = str(options.get("family", ""))
    for role, size in record.splits.items():
        within(f"splits.{role}", size, 1, None)
    test = record.splits.get("test")
    is_open = options.get("streaming") or options.get("kind") == "mteb"  # the number of examples is not known before
    if test is None and family in FAMILIES and not is_open:
        raise UserError("splits.test is missing; allowed: the number of test examples that are scored")
    if test is not None and (known := known_size(record.task, options)) is not None:
        within("splits.test", test, known - record.unreadable, known, f" ({record.task})")
    for name, quality in record.quality.items():
        where = f"quality.{name}.n"
        if family == "preferences" and name.startswith("points_"):
            within(where, quality.n, options.get("games"), options.get("games"), " (task.games)")
        elif test is not None and family in FAMILIES:
            partial = family == "understanding" or (family == "embeddings" and name not in EMBEDDINGS)
            within(where, quality.n, 1 if partial else test - record.unreadable, test, " (splits.test)")
    for name, quality in record.limited_quality.items():
        same = record.quality[name].n
        within(f"limited_quality.{name}.n", quality.n, same, same, f" (quality.{name}.n)")


@cache
def _declared_task(name: str) -> dict[str, Any]:
    """Return the task section of a data set of the package; empty for any other."""
    import yaml

    spec = find_spec("moesuite.tasks")
    assert spec is not None and spec.submodule_search_locations is not None
    path = Path(spec.submodule_search_locations[0]) / f"{name}.yaml"
    if not name.replace("_", "").isalnum() or not path.is_file():
        return {}
    return dict(yaml.safe_load(path.read_text())["task"])


def known_size(task: str, options: Mapping[str, Any]) -> int | None:
    """Return the images of the test split of a data set of the package, as its YAML says; None: not known."""
    declared = _declared_task(task)
    same = all(options.get(key) == declared.get(key, options.get(key)) for key in ("hub", "embedded", "splits"))
    if options.get("family") != "vision" or options.get("source") or not declared or not same:
        return None
    found = SIZE.search(str(declared.get("size", "")))
    return int(found[1].replace(",", "")) if found else None


def _check_curve(record: RunRecord, ranking: MetricSpec) -> None:
    """Judge the course of training by itself, by steps and costs, and by the quality at its end."""
    experts = sum(len(layer.load) for layer in record.health)
    for index, point in enumerate(record.curve):
        where = f"curve.{index}"
        within(f"{where}.step", point.step, 0, record.steps, " (steps)")
        within(f"{where}.seconds", point.seconds, 0, record.seconds, " (seconds)")
        within(f"{where}.flops", point.flops, 0, None)
        if not ranking.admits(point.quality):
            raise UserError(f"{where}.quality is {point.quality:.6g}; allowed: {ranking.range}")
        for name in ("entropy", "unserved"):
            if (value := getattr(point, name)) is not None:
                share(f"{where}.{name}", value)
        if point.dead is not None:
            within(f"{where}.dead", point.dead, 0, experts or None)
    for index, (before, after) in enumerate(pairwise(record.curve), start=1):
        for name in ("step", "seconds", "flops"):
            within(f"curve.{index}.{name}", getattr(after, name), getattr(before, name), None, " (the point before)")
    for where, value, expected in _expected_flops(record):
        within(where, value, expected, expected, " (steps by compute.training_step_flops)")
    if record.curve and record.status == "ok" and record.curve[-1].step == record.steps and _on_test(record):
        value, end = record.quality[record.primary].value, record.curve[-1].quality
        slack = SAME_SPLIT * max(1.0, abs(value)) + 3 * math.sqrt(0.25 / record.quality[record.primary].n)
        last = len(record.curve) - 1
        within(f"curve.{last}.quality", end, value - slack, value + slack, f" (quality.{record.primary}, same split)")


def _on_test(record: RunRecord) -> bool:
    """Return whether validation is on the whole test split, for want of another one."""
    limit = record.config["trainer"].get("limit_val_batches")
    return "test" in record.splits and "val" not in record.splits and limit in (None, 1.0)


def _expected_flops(record: RunRecord) -> Iterator[tuple[str, float, float]]:
    """Yield field, value and right value of the FLOPs of each point: steps by FLOPs of a step, on each device."""
    if record.compute is None or not record.curve:
        return
    step_flops = record.compute.training_step_flops
    begun, spent = (record.sunk.steps, record.sunk.flops) if record.sunk else (0, 0.0)
    own = [point for point in record.curve if point.step > begun]
    if not own or step_flops <= 0:
        return
    world = _devices(record) or max(1, round((own[-1].flops - spent) / (step_flops * (own[-1].step - begun))))
    for index, point in enumerate(record.curve):
        if point.step > begun:
            yield f"curve.{index}.flops", point.flops, spent + (point.step - begun) * step_flops * world


def _devices(record: RunRecord) -> int:
    """Return the number of processes of a run; 0: its configuration leaves it open."""
    options = record.config["trainer"]
    counts = [options.get(name) or 1 for name in ("devices", "num_nodes")]
    return math.prod(counts) if all(isinstance(count, int) and count > 0 for count in counts) else 0
