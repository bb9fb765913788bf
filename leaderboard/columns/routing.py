"""Columns of routing health, in the evaluation that ranks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import fmean

from moesuite.leaderboard.columns.column import Column, Value, first, largest
from moesuite.records.record import LayerHealth, RunRecord
from moesuite.records.record import dropped_under_capacity as dropped


def _of_health(read: Callable[[Sequence[LayerHealth]], Value]) -> Callable[[RunRecord], Value]:
    return lambda record: read(record.health) if record.health else None


ROUTING = (
    Column(
        "unserved",
        "unserved",
        "share of test tokens that no expert served in the evaluation that ranks, without a "
        "capacity limit where the router has one; mean over MoE layers",
        _of_health(lambda layers: fmean(layer.unserved for layer in layers)),
        format="share",
        on_router_page=True,
    ),
    Column(
        "null_share",
        "to null experts",
        "share of the choices that fell on null experts, which do no work; mean over MoE layers; – "
        "without null experts. All other columns of routing are of experts that compute",
        _of_health(lambda layers: fmean(layer.null_share for layer in layers) or None),
        format="share",
        shown=False,
        on_router_page=True,
    ),
    Column(
        "dropped_under_capacity",
        "dropped under capacity",
        "share of test tokens that no expert serves when evaluation keeps the training capacity; "
        "– where evaluation has no capacity to lift",
        _of_health(dropped),
        format="share",
        shown=False,
        on_router_page=True,
    ),
    Column(
        "dead",
        "dead",
        "experts of all MoE layers that get less than 1 % of the uniform load",
        _of_health(lambda layers: sum(layer.dead for layer in layers)),
        over="experts",
        on_router_page=True,
    ),
    Column(
        "experts",
        "",
        "experts of all MoE layers",
        _of_health(lambda layers: sum(len(layer.load) for layer in layers)),
        average=first,
    ),
    Column(
        "entropy",
        "load entropy",
        "entropy of the load of the experts over its largest possible value; mean over MoE layers",
        _of_health(lambda layers: fmean(layer.entropy for layer in layers)),
        shown=False,
    ),
    Column(
        "lookahead",
        "",
        "share of the outputs that depend on later tokens, where these are to be predicted",
        lambda record: record.lookahead.outputs if record.lookahead else None,
        average=largest,
        format="share",
    ),
)
