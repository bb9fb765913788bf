"""What a trained model is worth on the test split: quality with and without the capacity limit, and routing health."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import lightning as L
import torch

from moesuite.models.forward import evaluating
from moesuite.nn.moe import moe_layers
from moesuite.nn.stats import Counts, layer_health
from moesuite.records.metrics import MetricSpec
from moesuite.records.record import LayerHealth, Quality
from moesuite.surgery.moefy import limited_evaluation
from moesuite.train.module import MoEModule


class Evaluated(NamedTuple):
    """Fields of a record: quality without limit, and under the training capacity (routers that drop); health.

    `metrics` declares direction and range of each metric.
    """

    quality: dict[str, Quality]
    limited_quality: dict[str, Quality]
    metrics: dict[str, MetricSpec]
    health: list[LayerHealth]


def evaluate(trainer: L.Trainer, module: MoEModule, loader: Callable[[], Any], device: torch.device) -> Evaluated:
    """Evaluate on the test split, under the training capacity too where a router drops tokens.

    Args:
        trainer: of the run.
        module: trained.
        loader: makes the batches of the test split.
        device: of the training.
    """
    quality, ranked = _test(trainer, module, loader(), device), module.counts
    limited, under_capacity = dict[str, Quality](), dict[str, Counts]()
    if any(layer.router.drops for _, layer in moe_layers(module.model)):
        with limited_evaluation(module.model):
            limited, under_capacity = _test(trainer, module, loader(), device), module.counts
    layers = [layer_health(name, ranked[name], under_capacity.get(name)) for name in ranked]
    specs = {name: module.task.spec(name) for name in quality}
    return Evaluated(quality, limited, specs, layers)


def _test(trainer: L.Trainer, module: MoEModule, loader: Any, device: torch.device) -> dict[str, Quality]:
    task = module.task
    trainer.test(module, loader, verbose=False)
    module.model.to(device)  # Lightning leaves it on the CPU: what follows is measured where training was
    with evaluating(module.model):
        results = module.results | task.beyond(module.model)
    return {
        name: Quality(value=value, direction=task.spec(name).direction, n=task.examples(name, module.examples))
        for name, value in results.items()
    }
