"""Columns of quality under a budget, and of what the budget costs: FLOPs, time, parameters."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from moesuite.leaderboard.columns.column import Column, Value, largest
from moesuite.records.compute import Compute
from moesuite.records.record import RunRecord


def _of_compute(read: Callable[[Compute], Value]) -> Callable[[RunRecord], Value]:
    return lambda record: None if record.compute is None else read(record.compute)


def _of_timing(
    name: Literal["latency", "training_step"], field: str
) -> Callable[[RunRecord], Value]:
    def read(compute: Compute) -> Value:
        timing = getattr(compute, name)
        return None if timing is None else getattr(timing, field)

    return _of_compute(read)


def _limited_quality(record: RunRecord) -> Value:
    quality = record.limited_quality.get(record.primary)
    return None if quality is None else quality.value


COSTS = (
    Column(
        "limited_quality",
        "at training capacity",
        "quality when evaluation keeps the capacity limit of training",
        _limited_quality,
        shown=False,
        former="limited",
    ),
    Column(
        "activated",
        "activated",
        "FLOPs of one forward pass of one example that routed tokens need, 2 per multiply-add",
        _of_compute(lambda compute: compute.activated.total),
        unit="GFLOP",
        format="gflop",
        bounded_by="uncounted",
        axis=True,
    ),
    Column(
        "executed",
        "executed",
        "FLOPs of one forward pass of one example that really run, empty slots included",
        _of_compute(lambda compute: compute.executed.total),
        unit="GFLOP",
        format="gflop",
        bounded_by="uncounted",
        axis=True,
        on_router_page=True,
    ),
    Column(
        "uncounted",
        "",
        "1 if the model has an operation without a FLOP formula: FLOPs are lower bounds (≥)",
        _of_compute(lambda compute: int(bool(compute.uncounted))),
        average=largest,
    ),
    Column(
        "latency_ratio_to_dense",
        "latency / dense",
        "median time of a forward pass over that of the matched dense model, measured in turns",
        _of_timing("latency", "ratio_to_dense"),
        format="ratio",
        per_machine=True,
        duration=True,
        spread=True,
        former="latency",
    ),
    Column(
        "training_step_ratio_to_dense",
        "step / dense",
        "median time of a training step over that of the matched dense model, measured in turns",
        _of_timing("training_step", "ratio_to_dense"),
        format="ratio",
        per_machine=True,
        duration=True,
        spread=True,
        former="step",
    ),
    Column(
        "latency_median",
        "latency of a batch",
        "median time of a forward pass",
        _of_timing("latency", "median"),
        unit="ms",
        format="milliseconds",
        shown=False,
        axis=True,
        per_machine=True,
        duration=True,
        former="latency",
    ),
    Column(
        "training_step_median",
        "training step",
        "median time of a training step",
        _of_timing("training_step", "median"),
        unit="ms",
        format="milliseconds",
        shown=False,
        axis=True,
        per_machine=True,
        duration=True,
        former="step",
    ),
    Column(
        "parameters_active",
        "active parameters",
        "parameters that a token uses",
        _of_compute(lambda compute: compute.parameters_active),
        format="count",
        axis=True,
        former="active",
    ),
    Column(
        "parameters_total",
        "parameters",
        "parameters of the whole model",
        _of_compute(lambda compute: compute.parameters_total),
        format="count",
        axis=True,
        former="total",
    ),
    Column(
        "slots_per_token_effective",
        "slots / token",
        "expert work per token relative to the dense MLP: slots of all experts over tokens",
        _of_compute(lambda compute: compute.slots_per_token_effective),
        format="ratio",
        former="slots",
    ),
    Column(
        "seconds",
        "training",
        "time of training, without evaluation",
        lambda record: record.seconds,
        unit="s",
        shown=False,
        duration=True,
    ),
)
