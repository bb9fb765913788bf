"""A router in a small layer, and how two outputs of it compare: what certificates and conformance tests are made on."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from moesuite.errors import UserError
from moesuite.experts import Experts
from moesuite.grouped import layout
from moesuite.mlps import DenseMLP
from moesuite.moe import MoE, Side
from moesuite.router import LayerSpec, Router


@dataclass(frozen=True)
class Subject:
    """A router under test and the size of its layer.

    Args:
        build: (spec, **overriding options) -> router.
        num_experts: E, >= 2.
        slots_per_token: budget, in (0, E].
        groups, tokens, dim: G, T and D.
    """

    build: Callable[..., Router]
    num_experts: int = 4
    slots_per_token: float = 1.0
    groups: int = 3
    tokens: int = 24
    dim: int = 16

    def layer(self, num_experts: int | None = None, slots_per_token: float | None = None, sharp: float = 1.0) -> MoE:
        """Return a layer whose experts differ and whose weights have standard deviation `sharp`; 0: as upcycled."""
        torch.manual_seed(0)
        budget = self.slots_per_token if slots_per_token is None else slots_per_token
        spec = LayerSpec(self.dim, num_experts or self.num_experts, budget, tokens=self.tokens)
        try:
            router = self.build(spec)
        except UserError:
            if spec.num_experts > 1:
                raise
            router = self.build(spec, k=1)  # a router of K experts per token
        layer = MoE(router, Experts(small_mlp(self.dim, 2 * self.dim), spec.num_experts))
        if sharp:
            for parameter in layer.parameters():
                if parameter.ndim >= 2:
                    nn.init.normal_(parameter, std=sharp)
            for step in range(3):  # routers with a memory get one
                layer.train()(self.inputs(seed=100 + step))
            layer.context.losses.clear()
        return layer

    def inputs(self, seed: int = 1, tokens: int | None = None) -> Tensor:
        """Return tokens [G, T, D]."""
        generator = torch.Generator().manual_seed(seed)
        return torch.randn(self.groups, tokens or self.tokens, self.dim, generator=generator)


def small_mlp(dim: int = 6, hidden: int = 10, gated: bool = False, norm: bool = False) -> DenseMLP:
    """Return a small MLP, to build experts of."""
    linear = nn.Linear(dim, hidden), nn.Linear(dim, hidden) if gated else None, nn.Linear(hidden, dim)
    layer_norm = nn.LayerNorm(hidden) if norm else None
    return DenseMLP(linear[0], linear[1], linear[2], nn.GELU(), nn.Identity(), layer_norm, nn.Identity())


@torch.no_grad()
def output(layer: MoE, x: Tensor, training: bool = False, mask: Tensor | None = None, seed: int = 0) -> Tensor:
    """Return the output of a copy of `layer`, so that no pass leaves a trace in the next."""
    layer = copy.deepcopy(layer).train(training)
    layer.context.side = Side(mask)
    torch.manual_seed(seed)
    return layer(x)


def difference(ours: Tensor, theirs: Tensor) -> float:
    """Return the largest difference relative to the largest value."""
    if ours.numel() == 0:
        return 0.0
    return float((ours - theirs).abs().max() / theirs.abs().max().clamp(min=1e-12))


@torch.no_grad()
def dense_output(layer: MoE, x: Tensor) -> Tensor:
    """Return what the first expert alone answers to every token."""
    counts = [x.shape[:2].numel()] + [0] * (layer.experts.num_experts - 1)
    return layer.experts.ragged(x.flatten(0, 1), layout(counts)).reshape(x.shape)
