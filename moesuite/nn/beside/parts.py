"""The layer that replaces an MLP, built from its router and what it has beside it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from moesuite.errors import UserError
from moesuite.nn.beside.default_outputs import DefaultOutputs
from moesuite.nn.beside.null_experts import NullExperts
from moesuite.nn.beside.shared_experts import SharedExperts
from moesuite.nn.experts import DenseMLP, Experts
from moesuite.nn.moe import MoE
from moesuite.routing.router import Router

HALF = 0.5  # of an upcycled layer's output is that of its shared experts


@dataclass(frozen=True)
class Parts:
    """What an MoE layer has beside its router and its routed experts.

    Attributes:
        renormalise: divide the combine weights of each token by their sum.
        shared_experts: S, >= 0, see `moesuite.nn.beside.shared_experts`.
        null_experts: number by kind, see `moesuite.nn.beside.null_experts`.
        dense_gradient: let running means stand in for the outputs that a token lacks, see
            `moesuite.nn.beside.default_outputs`.

    Raises:
        UserError: for a value out of range.
    """

    renormalise: bool = False
    shared_experts: int = 0
    null_experts: Mapping[Any, int] = field(default_factory=dict)
    dense_gradient: bool = False

    def __post_init__(self) -> None:
        if self.shared_experts < 0:
            raise UserError(
                f"shared_experts={self.shared_experts}: expected 0 or more, e.g. shared_experts=1"
            )
        if self.dense_gradient and self.renormalise:
            raise UserError(
                "dense_gradient=true renormalise=true: the weights of all experts sum to 1 as they "
                "are, and all give an output; leave one of the two out"
            )

    def layer(self, router: Router, mlp: DenseMLP, in_decoder: bool = False) -> MoE:
        """Return a layer whose experts are copies of `mlp`, on the device of the MLP.

        Args:
            router: of the pool, null experts included.
            mlp: the dense MLP.
            in_decoder: whether the layer is in the decoder of an encoder-decoder.
        """
        weight, counts = mlp.up.weight, self.null_experts
        experts = Experts(mlp, router.spec.num_experts - sum(counts.values()))
        layer = MoE(
            router,
            experts,
            mlp.channels_first,
            in_decoder,
            self.renormalise,
            SharedExperts(mlp, self.shared_experts) if self.shared_experts else None,
            null=NullExperts(experts.dim, counts) if counts else None,
            default=DefaultOutputs(experts.num_experts, experts.dim)
            if self.dense_gradient
            else None,
        )
        # not the router's buffers, which may count: half precision stops at 256
        for part in (router, layer.null):
            for parameter in () if part is None else part.parameters():
                parameter.data = parameter.data.to(weight.dtype)
        return layer.to(weight.device)


def parts_of(layer: MoE) -> Parts:
    """Return the parts that a layer was built from."""
    counts = {} if layer.null is None else layer.null.counts
    return Parts(layer.renormalise, layer.shared_experts, counts, layer.default is not None)


@torch.no_grad()
def halve(layer: MoE) -> None:
    """Halve the outputs of routed and of shared experts, if a layer has both.

    Where combine weights sum to 1, both are the MLP, and their sum is it then. Not in DeepSeekMoE,
    which trains from scratch.
    """
    shared = layer.shared
    if isinstance(shared, SharedExperts):
        assert isinstance(layer.experts, Experts)
        for down in (layer.experts.down, shared.experts.down):
            for parameter in down.parameters():
                parameter.mul_(HALF)
