"""Test a trained model: quality with and without capacity limit, health, routing examples."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import lightning as L
import torch
from torch import Tensor, nn

from moesuite.models.forward import call, evaluating, placed
from moesuite.nn.moe import limited_evaluation, moe_layers
from moesuite.nn.stats import Counts, layer_health
from moesuite.records.certificate import Example, LayerRouting
from moesuite.records.metrics import MetricSpec
from moesuite.records.record import LayerHealth, Lookahead, Quality
from moesuite.records.store import PREDICTIONS
from moesuite.routing.forms import Routing, SoftRouting
from moesuite.task import Task
from moesuite.train.module import MoEModule
from moesuite.train.results.predictions import Predictions, write_predictions

EXAMPLES = 4  # kept of each run
SLOTS = 16  # kept of soft routing
PREFIXES = 8  # most class, distillation and register tokens before an image's


class Evaluated(NamedTuple):
    """Results on the test split, by the names of the record's fields.

    Attributes:
        quality: without a capacity limit; what ranks.
        limited_quality: under the training capacity; empty for routers that do not drop.
        metrics: declaration of each metric: direction, range, meaning.
        health: routing health of each MoE layer.
    """

    quality: dict[str, Quality]
    limited_quality: dict[str, Quality]
    metrics: dict[str, MetricSpec]
    health: list[LayerHealth]


def evaluate(
    trainer: L.Trainer, module: MoEModule, loader: Callable[[], Any], device: torch.device
) -> Evaluated:
    """Evaluate on the test split; if a router drops tokens, under the training capacity as well.

    With predictions=true, the predictions without a capacity limit are written.

    Args:
        trainer: of the run.
        module: trained.
        loader: returns the batches of the test split.
        device: of the training.
    """
    rows = module.predictions = Predictions(module.task) if module.config.predictions else None
    quality = _test(trainer, module, loader(), device)
    module.predictions = None
    path = module.folder / PREDICTIONS
    write_predictions(path, rows, trainer.global_rank, trainer.world_size)
    ranked = module.counts
    limited_quality: dict[str, Quality] = {}
    limited: dict[str, Counts] = {}
    if any(layer.router.drops for _, layer in moe_layers(module.model)):
        with limited_evaluation(module.model):
            limited_quality = _test(trainer, module, loader(), device)
        limited = module.counts
    return Evaluated(
        quality=quality,
        limited_quality=limited_quality,
        metrics={name: module.task.spec(name) for name in quality},
        health=[layer_health(name, ranked[name], limited.get(name)) for name in ranked],
    )


def _test(
    trainer: L.Trainer, module: MoEModule, loader: Any, device: torch.device
) -> dict[str, Quality]:
    task = module.task
    trainer.test(module, loader, verbose=False)
    # Lightning leaves the model on the CPU; costs are measured on the device of the training
    module.model.to(device)
    with evaluating(module.model):
        results = module.results | task.beyond(module.model)
    return {
        name: Quality(
            value=value, direction=task.spec(name).direction, n=task.examples(name, module.examples)
        )
        for name, value in results.items()
    }


def measure_lookahead(model: nn.Module, task: Task, example: Any) -> Lookahead | None:
    """Measure how outputs for `example` depend on later inputs, or return None if all may."""
    example = placed(example, next(model.parameters()).device)
    with evaluating(model), torch.no_grad():
        return task.lookahead(lambda batch: call(model, task.inputs(batch)), example)


def routing_examples(model: nn.Module, task: Task, batch: Any) -> list[Example]:
    """Return the routing of the first `EXAMPLES` test examples in each MoE layer.

    Args:
        model: trained, on any device; a dense one has none.
        task: of the batch.
        batch: of at least one example; more than `EXAMPLES` would only take memory.
    """
    contents = task.shown(batch)[:EXAMPLES]
    layers = list(moe_layers(model))
    if not layers or not contents:
        return []
    with evaluating(model), torch.no_grad():
        call(model, task.inputs(placed(batch, next(model.parameters()).device)))
    return [_example(index, content, layers) for index, content in enumerate(contents)]


def _example(index: int, content: str | list[str], layers: list[tuple[str, Any]]) -> Example:
    """Return one example, an image as a data URI or the words of a text, with its routing."""
    image, words = (content, []) if isinstance(content, str) else ("", content)
    routings = []
    for name, layer in layers:
        routing, mask = layer.executed(layer.routing), layer.mask
        tokens = routing.num_tokens if mask is None else int(mask[index].sum())
        if words and routing.num_tokens < len(words):  # tokens of a decoder
            continue
        combine = routing.dense()[1][index]  # [T, E, C]
        experts = _experts(combine.sum(dim=-1))[: len(words) if words else tokens]
        prefix, columns = (0, 0) if words else _grid(tokens)
        slots = _slots(routing, index)
        routings.append(
            LayerRouting(layer=name, experts=experts, prefix=prefix, columns=columns, slots=slots)
        )
    return Example(image=image, words=words, layers=routings)


def _experts(weights: Tensor) -> list[list[int]]:
    """Return the experts of each token by weight [T, E]; only the first if all serve all tokens."""
    order = weights.argsort(dim=-1, descending=True, stable=True).tolist()
    served = (weights > 0).sum(dim=-1).tolist()
    all_serve = weights.shape[-1] > 1 and all(count == weights.shape[-1] for count in served)
    return [row[: 1 if all_serve else count] for row, count in zip(order, served, strict=True)]


def _grid(tokens: int) -> tuple[int, int]:
    """Return (prefix tokens, tokens in a row) of a square image, or (0, 0) if it is not square."""
    for prefix in range(min(PREFIXES, tokens)):
        if math.isqrt(tokens - prefix) ** 2 == tokens - prefix:
            return prefix, math.isqrt(tokens - prefix)
    return 0, 0


def _slots(routing: Routing, index: int) -> list[list[int]]:
    """Return dispatch weights of the first slots, in percent of each slot's largest."""
    if not isinstance(routing, SoftRouting):
        return []
    weights = routing.dispatch[index].flatten(1).T[:SLOTS]  # [slots, T]
    largest = weights.amax(dim=1, keepdim=True).clamp(min=1e-9)
    return (100 * weights / largest).round().int().tolist()
