"""A trained model on the test split: quality with and without the capacity limit, routing health, a few routings."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import lightning as L
import torch
from torch import Tensor, nn

from moesuite.models.forward import call, evaluating, placed
from moesuite.nn.moe import moe_layers
from moesuite.nn.stats import Counts, layer_health
from moesuite.records.certificate import Example, LayerRouting
from moesuite.records.metrics import MetricSpec
from moesuite.records.record import LayerHealth, Quality
from moesuite.routing.forms import Routing, SoftRouting
from moesuite.surgery.moefy import limited_evaluation
from moesuite.task import Task
from moesuite.train.module import MoEModule


class Evaluated(NamedTuple):
    """Fields of a record: quality without limit, and under the training capacity (routers that drop); health.

    `metrics` declares direction and range of each metric.
    """

    quality: dict[str, Quality]
    limited_quality: dict[str, Quality]
    metrics: dict[str, MetricSpec]
    health: list[LayerHealth]


def evaluate(
    trainer: L.Trainer, module: MoEModule, loader: Callable[[], Any], device: torch.device
) -> Evaluated:
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


def _test(
    trainer: L.Trainer, module: MoEModule, loader: Any, device: torch.device
) -> dict[str, Quality]:
    task = module.task
    trainer.test(module, loader, verbose=False)
    module.model.to(
        device
    )  # Lightning leaves it on the CPU: what follows is measured where training was
    with evaluating(module.model):
        results = module.results | task.beyond(module.model)
    return {
        name: Quality(
            value=value, direction=task.spec(name).direction, n=task.examples(name, module.examples)
        )
        for name, value in results.items()
    }


EXAMPLES = 4  # that are kept of a run
SLOTS = 16  # of soft routing
PREFIXES = 8  # class, distillation and register tokens that models put before an image's


def look(model: nn.Module, task: Task, batch: Any) -> list[Example]:
    """Route a batch of test examples.

    Args:
        model: trained, on any device; a dense one has nothing to show.
        task: that the batch is of.
        batch: its first `EXAMPLES` are kept; no more than these, where memory is dear.
    """
    shown = task.shown(batch)[:EXAMPLES]
    layers = list(moe_layers(model))
    if not layers or not shown:
        return []
    with evaluating(model), torch.no_grad():
        call(model, task.inputs(placed(batch, next(model.parameters()).device)))
    return [_example(index, what, layers) for index, what in enumerate(shown)]


def _example(index: int, what: str | list[str], layers: list[tuple[str, Any]]) -> Example:
    image, words = (what, []) if isinstance(what, str) else ("", what)
    found = []
    for name, layer in layers:
        routing, mask = layer.routing, layer.side.mask
        tokens = routing.num_tokens if mask is None else int(mask[index].sum())
        if words and routing.num_tokens < len(words):  # a decoder's tokens are others
            continue
        combine = routing.dense()[1][index]  # [T, E, C]
        experts = _experts(combine.sum(dim=-1))[: len(words) if words else tokens]
        prefix, columns = (0, 0) if words else _grid(tokens)
        slots = _slots(routing, index)
        found.append(
            LayerRouting(layer=name, experts=experts, prefix=prefix, columns=columns, slots=slots)
        )
    return Example(image=image, words=words, layers=found)


def _experts(weights: Tensor) -> list[list[int]]:
    """Return the experts of each token by weight [T, E]; of soft routing, where all serve, the first one."""
    order = weights.argsort(dim=-1, descending=True, stable=True).tolist()
    served = (weights > 0).sum(dim=-1).tolist()
    everyone = weights.shape[-1] > 1 and all(count == weights.shape[-1] for count in served)
    return [row[: 1 if everyone else count] for row, count in zip(order, served, strict=True)]


def _grid(tokens: int) -> tuple[int, int]:
    """Return (tokens before the image's, tokens in a row of it), for square images; (0, 0) if it is none."""
    for prefix in range(min(PREFIXES, tokens)):
        if math.isqrt(tokens - prefix) ** 2 == tokens - prefix:
            return prefix, math.isqrt(tokens - prefix)
    return 0, 0


def _slots(routing: Routing, index: int) -> list[list[int]]:
    if not isinstance(routing, SoftRouting):
        return []
    weights = routing.dispatch[index].flatten(1).T[:SLOTS]  # [slots, T]
    return (
        (100 * weights / weights.amax(dim=1, keepdim=True).clamp(min=1e-9)).round().int().tolist()
    )
