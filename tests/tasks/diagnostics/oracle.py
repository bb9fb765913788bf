"""Models that know what is hidden in a world: experts that are its teachers, and how they score."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from moesuite import compose
from moesuite.models.forward import call
from moesuite.nn.moe import MoE, moe_layers
from moesuite.nn.stats import masses
from moesuite.task import Task
from moesuite.tasks.diagnostics.planted import Clusters, Teachers
from moesuite.tasks.diagnostics.world import generator
from moesuite.train.build import build_models, build_task
from moesuite.train.dataloaders import eval_loader

QUIET = ("measure=false", "logger=none", "trainer.enable_progress_bar=false")
FEW = ("task.train=8", "task.val=8", "task.test=32")


def untrained(*words: str) -> tuple[Task, nn.Module, Any]:
    """Return task, model in evaluation, and its test batch."""
    config = compose(*words)
    task = build_task(config.task)
    batch = next(iter(eval_loader(task, config.data, "test")))
    return task, build_models(config, task, task.inputs(batch)).model.eval(), batch


def layer_of(model: nn.Module) -> MoE:
    ((_, layer),) = moe_layers(model)
    return layer


def hidden_clusters(world: Any) -> Clusters:
    """Return what is drawn first."""
    return Clusters.draw(world.mixture, world.sampling.width, generator(world.sampling.world))


@torch.no_grad()
def give_functions(layer: MoE, teachers: Teachers) -> None:
    """Let expert m be T_m of the first numbers of a token, x ↦ down · relu(up · x) - centre."""
    experts: Any = layer.experts
    count, units, width = teachers.up.shape
    for parameter in experts.parameters():
        parameter.zero_()
    experts.up.weight[:count, :width, :units] = teachers.up.mT
    experts.down.weight[:count, :units, :width] = teachers.down.mT
    experts.down.bias[:count, :width] = -teachers.centre


@torch.no_grad()
def teach(layer: MoE, hidden: Clusters) -> None:
    """Let expert m be T_m(x - c_m)."""
    give_functions(layer, hidden.teachers)
    experts: Any = layer.experts
    count, units = hidden.teachers.up.shape[:2]
    shifts = (hidden.teachers.up @ hidden.centres[:count, :, None]).squeeze(-1)
    experts.up.bias[:count, :units] = -shifts


def scores(task: Task, model: nn.Module, batch: Any) -> dict[str, float]:
    """Score a model as a run does."""
    metrics = task.metrics()
    with torch.no_grad():
        output = call(model, task.inputs(batch))
    has_layers = any(True for _ in moe_layers(model))
    task.update(metrics, output, {**batch, **masses(model)} if has_layers else batch)
    return {name: float(value) for name, value in metrics.compute().items()}


def set_gate(layer: MoE, rows: Tensor) -> None:
    """Give a linear gate its rows [E, D]; experts without a row are never preferred."""
    gate: Any = layer.router.gate
    with torch.no_grad():
        gate.weight.zero_()
        gate.weight[: len(rows)] = rows
