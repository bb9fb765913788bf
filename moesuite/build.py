"""Task and models of a configuration."""

from __future__ import annotations

import copy
import json
from functools import lru_cache, partial
from typing import Any

import torch
from torch import nn

from moesuite.backbones import build_backbone
from moesuite.certificate import build_with, causal, causal_routers
from moesuite.config import RunConfig
from moesuite.errors import UserError
from moesuite.moe import moe_layers
from moesuite.plugins import checked_options, task_class
from moesuite.subject import Subject
from moesuite.surgery import moefy
from moesuite.task import Task
from moesuite.weights import start_from


def declare_task(options: dict[str, Any]) -> Task:
    """Build a task from its resolved options, without its data."""
    cls = task_class(options["family"])
    own = {key: value for key, value in options.items() if key not in ("family", "recipe")}
    return cls(**checked_options(cls.__init__, own, "task"))


def build_task(options: dict[str, Any]) -> Task:
    """Build a task from its resolved options and load its data."""
    task = declare_task(options)
    task.prepare()
    return task


def shared_task(options: dict[str, Any]) -> Task:
    """Return a loaded task, which runs of the same options in this process share: a sweep loads its data once."""
    return _shared(json.dumps(options, sort_keys=True))


@lru_cache(maxsize=1)
def _shared(options: str) -> Task:
    return build_task(json.loads(options))


def build_models(config: RunConfig, task: Task, example: Any) -> tuple[nn.Module, nn.Module]:
    """Return the model with its MoE layers, and the matched dense model with the same initial weights.

    Raises:
        UserError: for a router that looks ahead on a causal task, or `init` weights that do not fit.
    """
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
            config.renormalise,
            **config.router_options,
        )
    if config.init is not None:
        start_from(model, config.init)
    decoders = task.causal_decoder and any(layer.in_decoder for _, layer in moe_layers(model))
    if (task.causal or decoders) and not config.allow_noncausal:
        refuse_lookahead(config, "in the decoder, this task" if decoders else "this task")
    return model, dense


def refuse_lookahead(config: RunConfig, where: str = "this task") -> None:
    """Measure whether the router of `config` is causal, where later tokens are predicted.

    Raises:
        UserError: if it is not, with the names of those that are.
    """
    name, options = config.router["name"], config.router_options
    found = causal(Subject(partial(build_with, name, **options), max(2, config.num_experts)))
    if not found.holds:
        raise UserError(
            f"router={name} is not causal (certificate: {found.detail}), and {where} predicts later tokens; allowed: "
            f"{', '.join(causal_routers())}; or type allow_noncausal=true, and the record will say so"
        )
