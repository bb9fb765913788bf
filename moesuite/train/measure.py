"""The compute part of a record: FLOPs, parameters, and time against the matched dense model in the same process."""

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
from moesuite.records.compute import Compute, LayerCompute, Timing
from moesuite.routing.scope import alone
from moesuite.task import Task
from moesuite.train.optim import build_optimizer

MEASURE_SECONDS = 2.0  # budget of each of the two measurements
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
    """Account `model` and time it against `dense`.

    Args:
        model: the trained model, on the device that is to be timed.
        dense: the matched dense model, on any device.
        task: for inputs and loss.
        example: a batch.
        config: of the run.
        expected: cost before training.
        step: the account of a training step behind it.
        precision: makes the context of a forward pass, such as autocast.
    """
    device = next(model.parameters()).device
    peak = peak_memory(device)  # of training: measuring holds two more models
    example = placed(example, device)
    inputs, size = task.inputs(example), task.size(example)
    with precision():
        routings = observed_routings(model, inputs)
    found = combine(model, account(model, inputs, False, routings), step, size)
    with alone():  # as many steps as the clock says: not those of other processes
        timings = (
            _timings(model, dense, inputs, task, example, config, precision)
            if config.measure
            else {}
        )
    return Compute(
        activated=found.forward.activated,
        executed=found.forward.executed,
        expected=expected.forward.executed,
        training=expected.training.executed,
        training_step_flops=expected.training.executed.total * config.data.batch_size,
        layers=[_layer(layer) for layer in found.layers],
        uncounted=found.uncounted,
        parameters_total=found.parameters_total,
        parameters_active=found.parameters_active,
        activation_bytes=expected.activation_bytes,
        slots_per_token_asked=next(
            (layer.router.spec.slots_per_token for _, layer in moe_layers(model)), 1.0
        ),
        slots_per_token_effective=found.slots_per_token,
        **{"latency": None, "training_step": None, **timings},
        threads=torch.get_num_threads(),
        batch_size=size,
        peak_memory_bytes=peak,
        device=str(device),
    )


def _layer(layer: LayerCost) -> LayerCompute:
    return LayerCompute(
        layer=layer.name,
        activated=layer.forward.activated,
        executed=layer.forward.executed,
        slots_per_token=layer.slots_per_token,
        parameters_total=layer.parameters_total,
        parameters_active=layer.parameters_active,
    )


def _timings(
    model: nn.Module,
    dense: nn.Module,
    inputs: Any,
    task: Task,
    example: Any,
    config: RunConfig,
    precision: Precision,
) -> dict[str, Any]:
    """Time inference and training steps in turns with the dense model, and see what a step holds."""
    weight = next(model.parameters())
    models = copy.deepcopy(model), dense.to(weight.device, weight.dtype)
    latency = _latency(*models, inputs, precision)
    device = weight.device
    ours, theirs = (
        _training_step(m.train(), inputs, task, example, config, precision) for m in models
    )
    return {
        "latency": latency,
        "training_step": compare(ours, theirs, MEASURE_SECONDS, device),
        "step_peak_bytes": peak_of(ours, device),
        "dense_step_peak_bytes": peak_of(theirs, device),
    }


def _latency(model: nn.Module, dense: nn.Module, inputs: Any, precision: Precision) -> Timing:
    """Time one forward pass in evaluation, where routers that drop have no limit."""

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
