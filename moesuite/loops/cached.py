"""Losses that run the model again in backward (GradCache): MoE layers cannot, and say so."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from moesuite.errors import UserError
from moesuite.nn.moe import MoE, moe_layers
from moesuite.nn.recomputation import in_backward, in_reentrant_backward


@contextmanager
def refusing_cached(model: nn.Module) -> Iterator[None]:
    """Within this context, refuse forwards of MoE layers for which `refuse_cached` is."""
    handles = [layer.register_forward_hook(refuse_cached) for _, layer in moe_layers(model)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def refuse_cached(layer: MoE, _: Any, output: Tensor) -> None:
    """Refuse a forward in backward that repeats none with a graph, as checkpointing does.

    It would be taken for one that does: without padding mask, and without auxiliary losses.

    Raises:
        UserError: for such a forward.
    """
    if torch.compiler.is_compiling() or not (layer.training and output.requires_grad):
        return
    if in_backward() and not in_reentrant_backward() and not layer._history.recall():
        raise UserError(
            "the loss runs the model again in backward, where MoE layers know of neither padding "
            "nor auxiliary losses (GradCache); type the loss without a cache, e.g. "
            "MultipleNegativesRankingLoss(model) for CachedMultipleNegativesRankingLoss(model)"
        )
