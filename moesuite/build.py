"""Task and models of a configuration."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import nn

from moesuite.backbones import build_backbone
from moesuite.config import RunConfig
from moesuite.plugins import checked_options, task_class
from moesuite.surgery import moefy
from moesuite.task import Task


def build_task(options: dict[str, Any]) -> Task:
    """Build a task from its resolved options and load its data."""
    cls = task_class(options["family"])
    own = {key: value for key, value in options.items() if key not in ("family", "recipe")}
    task = cls(**checked_options(cls.__init__, own, "task"))
    task.prepare()
    return task


def build_models(config: RunConfig, task: Task, example: Any) -> tuple[nn.Module, nn.Module]:
    """Return the model with its MoE layers, and the matched dense model with the same initial weights."""
    backbone = config.backbone
    dense = build_backbone(
        backbone.model, backbone.pretrained, backbone.seed, task.backbone_arguments(), backbone.kwargs
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.router_seed)
        model = moefy(
            copy.deepcopy(dense),
            config.router["name"],
            config.num_experts,
            config.layers,
            config.slots_per_token,
            config.eval_slots_per_token,
            example,
            **config.router_options,
        )
    return model, dense
