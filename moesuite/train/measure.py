"""Cost of a run for its record: FLOPs, parameters, and time against the matched dense model.

Both models are timed in the same process, alternating. A figure that `moesuite.compute.cost` or
`_timings` returns under a name that `moesuite.records.compute` declares reaches the record without
a line here.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any

import torch
from torch import nn

from moesuite.compute.cost import Cost, LayerCost, combine, observed_routings
from moesuite.compute.passes import Pass, account
from moesuite.compute.timing import compare, peak_memory, peak_of
from moesuite.config.schema import RunConfig
from moesuite.models.forward import call, placed
from moesuite.nn.moe import aux_loss, moe_layers
from moesuite.records.compute import Compute, LayerCompute, StrictModel, Timing
from moesuite.routing.scope import alone
from moesuite.task import Task
from moesuite.train.optim import build_optimizer

MEASURE_SECONDS = 2.0  # time limit of each of the two measurements
MEASURE_BATCH = 32
Precision = Callable[[], AbstractContextManager[Any]]


def measure(
    model: nn.Module,
    dense: nn.Module,
    task: Task,
    example: Any,
    config: RunConfig,
    expected: Cost,
    step: Pass,
    precision: Precision = nullcontext,
) -> Compute:
    """Measure what `model` costs, and time it against `dense`.

    Args:
        model: the trained model, on the device to time.
        dense: the matched dense model, on any device.
        task: defines inputs and loss.
        example: a batch.
        config: of the run; without `measure`, nothing is timed.
        expected: cost before training.
        step: the accounted training step that `expected` is derived from.
        precision: returns the context of a forward pass, such as autocast.
    """
    device = next(model.parameters()).device
    peak = peak_memory(device)  # of training: timing holds two more models
    example = placed(example, device)
    inputs, size = task.inputs(example), task.size(example)
    with precision():
        routings = observed_routings(model, inputs)
    cost = combine(model, account(model, inputs, False, routings), step, size)
    timings: dict[str, Any] = {"latency": None, "training_step": None}
    if config.measure:
        with alone():  # the clock decides the number of steps: do not wait for other processes
            timings |= _timings(model, dense, inputs, task, example, config, precision)
    figures = {
        **_declared(Compute, cost),
        **vars(cost.forward),
        **timings,
        "expected": expected.forward.executed,
        "training": cost.training.executed,
        "training_step_flops": cost.training.executed.total * config.data.batch_size,
        "layers": [_layer(layer) for layer in cost.layers],
        "slots_per_token_asked": _requested_slots(model),
        "slots_per_token_effective": cost.slots_per_token,
        "threads": torch.get_num_threads(),
        "batch_size": size,
        "peak_memory_bytes": peak,
        "device": str(device),
    }
    return Compute(**figures)


def _layer(cost: LayerCost) -> LayerCompute:
    figures = {**_declared(LayerCompute, cost), **vars(cost.forward), "layer": cost.name}
    return LayerCompute(**figures)


def _declared(section: type[StrictModel], cost: Cost | LayerCost) -> dict[str, Any]:
    """Return the figures of a cost that a section of the record declares under the same names."""
    return {name: value for name, value in vars(cost).items() if name in section.model_fields}


def _requested_slots(model: nn.Module) -> float:
    """Return the slots per token that the first MoE layer was built with; 1 for a dense model."""
    for _, layer in moe_layers(model):
        slots = layer.router.spec.slots_per_token  # of the pool, null experts included
        return (
            slots
            if layer.null is None
            else round(slots * layer.experts.num_experts / layer.pool, 9)
        )
    return 1.0


def _timings(
    model: nn.Module,
    dense: nn.Module,
    inputs: Any,
    task: Task,
    example: Any,
    config: RunConfig,
    precision: Precision,
) -> dict[str, Any]:
    """Time inference and training steps against the dense model; measure the memory of a step."""
    weight = next(model.parameters())
    device = weight.device
    models = copy.deepcopy(model), dense.to(device, weight.dtype)
    latency = _latency(*models, inputs, precision)
    ours, theirs = (
        _training_step(timed.train(), inputs, task, example, config, precision) for timed in models
    )
    return {
        "latency": latency,
        "training_step": compare(ours, theirs, MEASURE_SECONDS, device),
        "step_peak_bytes": peak_of(ours, device),
        "dense_step_peak_bytes": peak_of(theirs, device),
    }


def _latency(model: nn.Module, dense: nn.Module, inputs: Any, precision: Precision) -> Timing:
    """Time one forward pass in evaluation, where capacity is not limited."""

    def forward(model: nn.Module) -> None:
        with precision():
            call(model, inputs)

    device = next(model.parameters()).device
    with torch.inference_mode():
        return compare(
            partial(forward, model.eval()), partial(forward, dense.eval()), MEASURE_SECONDS, device
        )


def _training_step(
    model: nn.Module, inputs: Any, task: Task, example: Any, config: RunConfig, precision: Precision
) -> Callable[[], None]:
    """Return a whole training step: forward, backward, update."""
    optimizer, _ = build_optimizer(model, config.optim, steps=1)

    def step() -> None:
        with precision():
            loss = task.loss(call(model, inputs), example) + aux_loss(model)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    return step
