"""ReMoE: differentiable routing by gates ReLU(x W_g); a penalty controls their sparsity.

Wang et al., "ReMoE: Fully Differentiable Mixture-of-Experts with ReLU Routing" (2024),
https://arxiv.org/abs/2412.14711: an L1 penalty on the gates, weighted by each expert's load, with λ
← λ·α^sign(target sparsity - sparsity) after each step, α = 1.2, λ₀ = 1e-8. The target is
`slots_per_token` experts per token. No capacity: as in the paper, training starts with about half
of the experts active, at the cost of that. Not in the paper: λ is per layer, not per model.
"""

from __future__ import annotations

from typing import Annotated

import torch
from annotated_types import Ge, Gt
from jaxtyping import Bool, Float
from torch import Tensor

from moesuite.routing.router import LayerSpec, Router, Routing, build_gate


class Relu(Router):
    """Every expert with a positive gate processes the token."""

    paper = "Wang et al. 2024, https://arxiv.org/abs/2412.14711"
    protocol = 2  # statistics stay in float32 in half-precision models
    tokens_choose = False
    causal = True
    adaptive = True
    bounded = False
    penalty: Tensor
    excess: Tensor

    def __init__(
        self,
        spec: LayerSpec,
        start: Annotated[float, Gt(0)] = 1e-8,
        factor: Annotated[float, Ge(1)] = 1.2,
    ) -> None:
        """Build the router.

        Args:
            spec: the layer.
            start: λ₀, > 0.
            factor: α, >= 1.
        """
        super().__init__(spec)
        self.factor = factor
        self.gate = build_gate(spec)
        self.register_buffer("penalty", torch.tensor(start))
        # sign(experts per token - budget) in the previous training forward, averaged over units of
        # `balance_scope`
        self.register_buffer("excess", torch.zeros(()))

    def advance(self) -> None:
        """Raise the penalty if more experts are active than budgeted, lower it if fewer are."""
        self.penalty *= self.factor**self.excess

    def forward(
        self, x: Float[Tensor, "G T D"], mask: Bool[Tensor, "G T"] | None = None
    ) -> Routing:
        gates = self.gate(x).relu()  # [G, T, E]
        real = torch.ones_like(gates[..., 0]) if mask is None else mask.to(gates)
        gates = gates * real[..., None]
        active = gates > 0
        scope, budget = self.scope, self.spec.slots_per_token
        served, sums, count = scope.join(*map(scope.over_tokens, (active.to(gates), gates, real)))
        tokens = count.clamp(min=1)[:, None]
        load = served / tokens  # [U, E], as a share of the tokens
        if self.training:
            self.excess = scope.mean((load.sum(dim=-1) - budget).sign(), count).detach()
        weighted = (sums * (load * gates.shape[-1] / budget) / tokens).sum(dim=-1)
        return self.choose_pairs(
            gates, active, mask, {"l1": self.penalty * scope.mean(weighted, count)}
        )
