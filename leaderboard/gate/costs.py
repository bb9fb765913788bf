"""Impossible costs: FLOPs, parameters and times against each other and the configuration."""

from __future__ import annotations

from collections.abc import Sequence

from moesuite.errors import UserError
from moesuite.leaderboard.gate.ranges import CLOSE, is_dense, may_be_moe, within
from moesuite.records.compute import Compute, LayerCompute, Split, Timing
from moesuite.records.record import RunRecord

PARTS = ("router", "dispatch_combine", "experts", "padding")
ROUTED = ("activated", "executed")
BACKWARD = (
    1.0,
    10.0,
)  # FLOPs of training over those of a forward pass; 2 to 3.5 where all operations are counted


def check_costs(record: RunRecord, compute: Compute) -> None:
    """Refuse costs that contradict each other, or the configuration.

    Raises:
        UserError: names the first such field, its value, and what is allowed.
    """
    _check_signs(compute)
    _check_passes(compute)
    _check_work(record, compute)
    _check_layers(compute, is_dense(record))
    _check_budget(record, compute)
    for name in ("latency", "training_step"):
        if (timing := getattr(compute, name)) is not None:
            _check_timing(f"compute.{name}", timing)
    if record.energy is not None:
        for name in ("kwh", "cpu_kwh", "gpu_kwh", "memory_kwh"):
            within(f"energy.{name}", getattr(record.energy, name), 0, None)


def _check_signs(compute: Compute) -> None:
    for name in ("activated", "executed", "expected", "training"):
        _check_parts(f"compute.{name}", getattr(compute, name))
    for index, layer in enumerate(compute.layers):
        for name in ROUTED:
            _check_parts(f"compute.layers.{index}.{name}", getattr(layer, name))
    for name in ("threads", "batch_size", "peak_memory_bytes"):
        within(f"compute.{name}", getattr(compute, name), 1, None)
    for name in ("activation_bytes", "step_peak_bytes", "dense_step_peak_bytes"):
        if (value := getattr(compute, name)) is not None:
            within(f"compute.{name}", value, 0, None)


def _check_parts(name: str, split: Split) -> None:
    for part in ("backbone", *PARTS):
        within(f"{name}.{part}", getattr(split, part), 0, None)


def _check_passes(compute: Compute) -> None:
    """Check passes against each other.

    The backbone is the same in all; only padding and dispatch differ by routing.
    """
    activated, executed, expected, training = (
        compute.activated,
        compute.executed,
        compute.expected,
        compute.training,
    )
    for part in ("backbone", "router", "experts"):
        right = getattr(executed, part)
        within(
            f"compute.activated.{part}",
            getattr(activated, part),
            right,
            right,
            f" (executed.{part})",
        )
    within("compute.activated.padding", activated.padding, 0, 0)
    moved = executed.dispatch_combine
    within(
        "compute.activated.dispatch_combine",
        activated.dispatch_combine,
        0,
        moved,
        " (executed.dispatch_combine)",
    )
    within(
        "compute.expected.backbone",
        expected.backbone,
        executed.backbone,
        executed.backbone,
        " (executed.backbone)",
    )
    least, most = (factor * expected.backbone for factor in BACKWARD)
    within("compute.training.backbone", training.backbone, least, most, " (1 to 10 forward passes)")


def _check_work(record: RunRecord, compute: Compute) -> None:
    """Check that there are FLOPs, if every operation is counted, and activations to keep."""
    for name in ("executed", "expected", "training"):
        if not compute.uncounted and not getattr(compute, name).total > 0:
            raise UserError(f"compute.{name} sums to 0; allowed: more than 0")
    if record.steps > 0 and not compute.activation_bytes > 0:
        raise UserError(
            f"compute.activation_bytes is {compute.activation_bytes:g}; "
            "allowed: more than 0 in training"
        )
    accelerator, device = (
        record.config["trainer"].get("accelerator"),
        compute.device.partition(":")[0],
    )
    fitting = {"cpu": "cpu", "cuda": "cuda", "mps": "mps"}.get(str(accelerator))
    if fitting is not None and device != fitting:
        raise UserError(
            f"compute.device is {compute.device:.40}; allowed: {fitting} (trainer.accelerator)"
        )


def _check_layers(compute: Compute, dense: bool) -> None:
    """Check totals by the layers that they are sums of."""
    for name in ROUTED:
        whole: Split = getattr(compute, name)
        for part in PARTS:
            total = sum(getattr(getattr(layer, name), part) for layer in compute.layers)
            why = " (a dense model)" if dense else " (the sum over compute.layers)"
            within(f"compute.{name}.{part}", getattr(whole, part), total, total, why)
    if dense and compute.layers:
        raise UserError(
            f"compute.layers is of {len(compute.layers)} layers; allowed: none of a dense model"
        )
    within("compute.parameters_total", compute.parameters_total, 1, None)
    for index, layer in enumerate(compute.layers):
        name = f"compute.layers.{index}.parameters_active"
        within(name, layer.parameters_active, 0, layer.parameters_total, " (parameters_total)")
    active = compute.parameters_total - sum(
        x.parameters_total - x.parameters_active for x in compute.layers
    )
    why = f" (total {compute.parameters_total} without the layers' inactive ones)"
    within("compute.parameters_active", compute.parameters_active, active, active, why)


def _check_budget(record: RunRecord, compute: Compute) -> None:
    """Check what the configuration decides: FLOPs of a step, batch, and slots per token."""
    batch = record.config["data"].get("batch_size")
    if isinstance(batch, int):
        step = compute.training.total * batch
        within(
            "compute.training_step_flops",
            compute.training_step_flops,
            step,
            step,
            " (training by batch_size)",
        )
        within("compute.batch_size", compute.batch_size, 1, batch, " (data.batch_size)")
    budget = record.config.get("slots_per_token")
    if isinstance(budget, int | float) and compute.layers:
        within(
            "compute.slots_per_token_asked",
            compute.slots_per_token_asked,
            budget,
            budget,
            " (slots_per_token)",
        )
    elif budget is None and not may_be_moe(record):
        within(
            "compute.slots_per_token_asked",
            compute.slots_per_token_asked,
            1,
            1,
            " (slots_per_token left open)",
        )
    within("compute.slots_per_token_asked", compute.slots_per_token_asked, 0, None)
    _check_slots(compute.layers, compute.slots_per_token_effective, record)


def _check_slots(layers: Sequence[LayerCompute], effective: float, record: RunRecord) -> None:
    """Check expert work against the layers.

    No router gives a layer more slots than its experts serve, up to rounding; shared experts add
    one each.
    """
    budgets = [record.config.get("slots_per_token"), record.config.get("eval_slots_per_token")]
    most = max(
        float(value)
        for value in (record.config.get("num_experts"), *budgets, 1)
        if isinstance(value, int | float)
    )
    shared = record.config.get("shared_experts") or 0
    for index, layer in enumerate(layers):
        name = f"compute.layers.{index}.slots_per_token"
        within(
            name,
            layer.slots_per_token,
            shared,
            None if may_be_moe(record) else 2 * most + shared,
            " (num_experts, rounded up, and shared_experts)",
        )
    slots = [layer.slots_per_token for layer in layers] or [1.0]
    within(
        "compute.slots_per_token_effective", effective, min(slots), max(slots), " (compute.layers)"
    )


def _check_timing(name: str, timing: Timing) -> None:
    """Check medians, quartiles and ratio against each other.

    `moesuite.records.compute.Timing` states the bounds.
    """
    within(f"{name}.n", timing.n, 1, None)
    for part in ("median", "dense_median"):
        if not getattr(timing, part) > 0:
            raise UserError(f"{name}.{part} is {getattr(timing, part):.6g}; allowed: more than 0")
    within(f"{name}.iqr", timing.iqr, 0, None)
    if timing.quartiles is None or timing.dense_quartiles is None:
        raise UserError(
            f"{name}.quartiles is missing; allowed: two numbers, and of dense_quartiles too"
        )
    (low, high), (dense_low, dense_high) = timing.quartiles, timing.dense_quartiles
    for part, value in (("quartiles", low), ("dense_quartiles", dense_low)):
        if not value > 0:
            raise UserError(f"{name}.{part}.0 is {value:.6g}; allowed: more than 0")
    within(f"{name}.median", timing.median, low, high, " (quartiles)")
    within(f"{name}.dense_median", timing.dense_median, dense_low, dense_high, " (dense_quartiles)")
    within(
        f"{name}.iqr",
        timing.iqr,
        (high - low) * (1 - CLOSE),
        (high - low) * (1 + CLOSE),
        " (quartiles)",
    )
    within(
        f"{name}.ratio_to_dense",
        timing.ratio_to_dense,
        low / dense_high,
        high / dense_low,
        " (quartiles)",
    )
