"""Impossible training: times, steps against the plan of the configuration, learning curve."""

from __future__ import annotations

import datetime
import math
from collections.abc import Iterator
from itertools import pairwise

from moesuite.errors import UserError
from moesuite.leaderboard.gate.plan import (
    MOST_DEVICES,
    devices,
    most_steps,
    planned_steps,
    validated_every,
)
from moesuite.leaderboard.gate.ranges import share, within
from moesuite.records.metrics import MetricSpec
from moesuite.records.record import SCHEMA, SCHEMA_SINCE, RunRecord

SINCE = datetime.datetime.fromisoformat(SCHEMA_SINCE)
AHEAD = datetime.timedelta(days=1)  # that a clock may be wrong
# of two evaluations of one model on one split, beside three deviations of chance: routers may draw
SAME_SPLIT = 0.02


def check_course(record: RunRecord) -> None:
    """Refuse times and steps that cannot be.

    Raises:
        UserError: names the first such field, its value, and what is allowed.
    """
    for name in ("steps", "seconds", "waited", "unreadable"):
        within(name, getattr(record, name), 0, None)
    within("waited", record.waited, 0, record.seconds)
    _check_time(record)
    _check_steps(record)
    if record.sunk is not None:
        trained = (
            record.steps > 0
        )  # a run that is only evaluated takes no step of the dense one over
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


def _check_time(record: RunRecord) -> None:
    created = datetime.datetime.fromisoformat(record.created)
    if created < SINCE:
        raise UserError(
            f"created is {record.created}; "
            f"allowed: {SCHEMA_SINCE} or later, when schema {SCHEMA} began"
        )
    if created > datetime.datetime.now(datetime.UTC) + AHEAD:
        raise UserError(f"created is {record.created}; allowed: no time in the future")


def _check_steps(record: RunRecord) -> None:
    """Check steps by the plan: all of it where the run ended, never more."""
    if (limit := most_steps(record.config)) >= 0:
        within("steps", record.steps, 0, limit)
    world = devices(record)
    plans = (
        planned_steps(record, count) for count in ([world] if world else range(1, MOST_DEVICES + 1))
    )
    first = next(plans)
    if first is None:
        return
    timed = record.config["trainer"].get("max_time") is not None
    if record.status != "ok" or timed:
        within("steps", record.steps, 0, first, " (the configuration's)")
    elif record.steps != first and record.steps not in plans:
        raise UserError(f"steps is {record.steps}; allowed: {first} (the configuration's)")


def check_curve(record: RunRecord, ranking: MetricSpec) -> None:
    """Check the course of training by itself, by steps and costs, and by the quality at its end.

    Raises:
        UserError: names the first such field, its value, and what is allowed.
    """
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
    _check_order(record)
    for where, value, expected in _expected_flops(record):
        within(where, value, expected, expected, " (steps by compute.training_step_flops)")
    _check_points(record)
    if (
        record.curve
        and record.status == "ok"
        and record.curve[-1].step == record.steps
        and _on_test(record)
    ):
        value, end = record.quality[record.primary].value, record.curve[-1].quality
        slack = SAME_SPLIT * max(1.0, abs(value)) + 3 * math.sqrt(
            0.25 / record.quality[record.primary].n
        )
        last = len(record.curve) - 1
        within(
            f"curve.{last}.quality",
            end,
            value - slack,
            value + slack,
            f" (quality.{record.primary}, same split)",
        )


def _check_order(record: RunRecord) -> None:
    """Check each point against the one before.

    Time passes between any two, even within one step of accumulated gradients.
    """
    for index, (before, after) in enumerate(pairwise(record.curve), start=1):
        for name in ("step", "seconds", "flops"):
            within(
                f"curve.{index}.{name}",
                getattr(after, name),
                getattr(before, name),
                None,
                " (the point before)",
            )
        if not after.seconds > before.seconds:
            name, least = f"curve.{index}.seconds", f"more than {before.seconds:.6g}"
            raise UserError(f"{name} is {after.seconds:.6g}; allowed: {least} (the point before)")


def _check_points(record: RunRecord) -> None:
    """Check when validation came, where the configuration decides it."""
    if (every := validated_every(record)) is None:
        return
    if every == 0:
        if record.curve:
            raise UserError(
                f"curve is of {len(record.curve)} points; "
                "allowed: none (trainer.limit_val_batches=0)"
            )
        return
    steps, why = [point.step for point in record.curve], f" (validation every {every} steps)"
    for index, step in enumerate(steps):
        if step % every or step == 0 or step in steps[:index]:
            raise UserError(
                f"curve.{index}.step is {step}; allowed: each multiple of {every} once{why}"
            )
    last = record.steps - record.steps % every
    if record.status == "ok" and last and last not in steps:
        ends = f"ends at step {steps[-1]}" if steps else "is empty"
        raise UserError(f"curve {ends}; allowed: a point at step {last}{why}")


def _on_test(record: RunRecord) -> bool:
    """Return whether validation is on the whole test split, for want of another one."""
    limit = record.config["trainer"].get("limit_val_batches")
    return "test" in record.splits and "val" not in record.splits and limit in (None, 1.0)


def _expected_flops(record: RunRecord) -> Iterator[tuple[str, float, float]]:
    """Yield (field, value, expected) of the FLOPs of each point: steps x FLOPs x devices."""
    if record.compute is None or not record.curve:
        return
    step_flops = record.compute.training_step_flops
    begun, spent = (record.sunk.steps, record.sunk.flops) if record.sunk else (0, 0.0)
    after_start = [point for point in record.curve if point.step > begun]
    if not after_start or step_flops <= 0:
        return
    world = devices(record) or max(
        1, round((after_start[-1].flops - spent) / (step_flops * (after_start[-1].step - begun)))
    )
    for index, point in enumerate(record.curve):
        if point.step > begun:
            yield (
                f"curve.{index}.flops",
                point.flops,
                spent + (point.step - begun) * step_flops * world,
            )
