"""What a trained router looks at: the experts of each token of a few test examples."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from moesuite.models.forward import call, evaluating, placed
from moesuite.nn.moe import moe_layers
from moesuite.records.certificate import Example, LayerRouting
from moesuite.routing.forms import Routing, SoftRouting
from moesuite.task import Task

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
        found.append(LayerRouting(layer=name, experts=experts, prefix=prefix, columns=columns, slots=slots))
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
    return (100 * weights / weights.amax(dim=1, keepdim=True).clamp(min=1e-9)).round().int().tolist()
