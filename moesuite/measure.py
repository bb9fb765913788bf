"""The compute part of a record: FLOPs, parameters, and time against the matched dense model in the same process."""

from __future__ import annotations

import copy
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from moesuite.compute import cost
from moesuite.config import RunConfig
from moesuite.moe import aux_loss, call
from moesuite.optim import build_optimizer
from moesuite.record import Compute, Timing
from moesuite.task import Task
from moesuite.timing import compare, peak_memory

MEASURE_SECONDS = 2.0  # budget of each of the two measurements
MEASURE_BATCH = 32
Precision = Callable[[], AbstractContextManager[Any]]


def measure(
    model: nn.Module,
    dense: nn.Module,
    task: Task,
    example: Any,
    config: RunConfig,
    flops_per_step: float,
    precision: Precision = nullcontext,
) -> Compute:
    """Account `model` and time it against `dense`.

    Args:
        model: the trained model.
        dense: the matched dense model.
        task: for inputs and loss.
        example: a batch.
        config: of the run.
        flops_per_step: of training, as counted.
        precision: makes the context of a forward pass, such as autocast.
    """
    peak = peak_memory()  # of training: measuring holds two more models
    weight = next(model.parameters())
    device = weight.device
    example = {k: v.to(device) if isinstance(v, Tensor) else v for k, v in example.items()}
    inputs, size = task.inputs(example), task.size(example)
    with precision():
        account = cost(model.eval(), inputs, size)
    latency = step = None
    if config.measure:
        models = copy.deepcopy(model), dense.to(device, weight.dtype)
        latency = _latency(*models, inputs, precision)
        step = _training_step(*models, inputs, task, example, config, precision)
    return Compute(
        activated=account.activated,
        executed=account.executed,
        training_step_flops=flops_per_step,
        parameters_total=account.parameters_total,
        parameters_active=account.parameters_active,
        slots_per_token_asked=config.slots_per_token,
        slots_per_token_effective=account.slots_per_token,
        latency=latency,
        training_step=step,
        threads=torch.get_num_threads(),
        batch_size=size,
        peak_memory_bytes=peak,
        device=str(device),
    )


def _latency(model: nn.Module, dense: nn.Module, inputs: Any, precision: Precision) -> Timing:
    """Time one forward pass in evaluation, where routers that drop have no limit."""

    def forward(model: nn.Module) -> None:
        with precision():
            call(model, inputs)

    with torch.inference_mode():
        return compare(partial(forward, model.eval()), partial(forward, dense.eval()), MEASURE_SECONDS)


def _training_step(
    model: nn.Module, dense: nn.Module, inputs: Any, task: Task, example: Any, config: RunConfig, precision: Precision
) -> Timing:
    """Time a whole training step: forward, backward, update."""

    def prepare(model: nn.Module) -> Callable[[], None]:
        optimizer, _ = build_optimizer(model, config.optim, steps=1)

        def step() -> None:
            with precision():
                loss = task.loss(call(model, inputs), example) + aux_loss(model)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()

        return step

    return compare(prepare(model.train()), prepare(dense.train()), MEASURE_SECONDS)
