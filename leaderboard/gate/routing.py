"""Impossible routing health: loads, entropies and dead experts against each other."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache

from moesuite.discovery.names import packaged
from moesuite.errors import UserError
from moesuite.leaderboard.gate.ranges import is_dense, may_be_moe, share, within
from moesuite.records.record import LayerHealth, RunRecord

ROUNDING = 2e-6  # of a share that a record states with six digits
DEAD_BELOW = 0.01  # of the uniform load; `moesuite.nn.stats` has torch


def check_routing(record: RunRecord) -> None:
    """Refuse impossible routing health, and figures that the router cannot have.

    Raises:
        UserError: names the first such field, its value, and what is allowed.
    """
    names = [layer.layer for layer in record.health]
    if is_dense(record) and names:
        raise UserError(f"health is of {len(names)} layers; allowed: none of a dense model")
    if (
        record.compute is not None
        and (costed := [layer.layer for layer in record.compute.layers]) != names
    ):
        raise UserError(f"health is of layers {names}; allowed: those of compute.layers, {costed}")
    has_limit = False if is_dense(record) else drops(record.router)
    if (
        has_limit is not None
        and record.status == "ok"
        and has_limit != bool(record.limited_quality)
    ):
        reported = ", ".join(record.limited_quality) or "empty"
        what = (
            "the metrics of quality"
            if has_limit
            else "none, for its router has no capacity that evaluation lifts"
        )
        raise UserError(f"limited_quality is {reported}; allowed: {what}")
    experts = None if may_be_moe(record) else _experts(record)
    for index, layer in enumerate(record.health):
        _check_layer(f"health.{index}", layer, experts, bool(record.limited_quality))
        most = 1 if record.config.get("null_experts") else 0
        within(f"health.{index}.null_share", layer.null_share, 0, most, " (null_experts)")


def _experts(record: RunRecord) -> int | None:
    count = record.config.get("num_experts")
    return count if isinstance(count, int) else None


def _check_layer(where: str, layer: LayerHealth, experts: int | None, limited: bool) -> None:
    count = len(layer.load)
    within(f"{where}.load's length", count, experts or 1, experts)
    for index, load in enumerate(layer.load):
        share(f"{where}.load.{index}", load)
    within(f"{where}.pairs_per_token", layer.pairs_per_token, 0, None)
    total, served = sum(layer.load), 1.0 if layer.pairs_per_token > 0 else 0.0
    if abs(total - served) > ROUNDING * count:
        raise UserError(f"{where}.load sums to {total:.6g}; allowed: {served:g}")
    share(f"{where}.unserved", layer.unserved)
    served = 1 - layer.unserved  # each such token by one expert at least, and by all at most
    why = f" (of {count} experts, unserved {layer.unserved:.6g})"
    within(
        f"{where}.pairs_per_token",
        layer.pairs_per_token,
        served - ROUNDING,
        count * served + ROUNDING,
        why,
    )
    fewest, most = (
        sum(load < DEAD_BELOW / count + slack for load in layer.load)
        for slack in (-ROUNDING, ROUNDING)
    )
    within(f"{where}.dead", layer.dead, fewest, most, " (experts below 1 % of the uniform load)")
    entropy = _entropy(layer.load)
    within(f"{where}.entropy", layer.entropy, entropy - 1e-3, entropy + 1e-3, " (that of load)")
    for name in ("dropped_under_capacity", "refused_under_capacity"):
        value = getattr(layer, name)
        if (value is not None) != limited:
            allowed = (
                "a share, beside limited_quality" if limited else "none without limited_quality"
            )
            raise UserError(f"{where}.{name} is {value}; allowed: {allowed}")
        if value is not None:
            share(f"{where}.{name}", value)


def _entropy(load: Sequence[float]) -> float:
    if len(load) == 1:
        return 1.0
    return -sum(part * math.log(part) for part in load if part > 0) / math.log(len(load))


@cache
def drops(router: str) -> bool | None:
    """Return whether a packaged router is also evaluated under its capacity; None for others."""
    path = packaged("routers", router)
    if router == "dense" or path is None:
        return None
    return "\n    drops = True\n" in path.read_text(encoding="utf-8")
