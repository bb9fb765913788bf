"""Sparsity-constrained token choice: dispatch by a transport plan of at most K experts per token.

The transpose of `sparsity_constrained_expert_choice`: Liu et al., "Routers in Vision Mixture of
Experts" (2024), https://arxiv.org/abs/2401.15969, section 3, with k = K entries per token and a
potential per expert. The plan depends on the whole group: not causal. Not in the paper: no early
stop, where the official code stops at a gradient norm of 1e-3.
"""

from __future__ import annotations

from typing import Annotated

import torch
from annotated_types import Ge
from jaxtyping import Bool, Float
from torch import Tensor

from moesuite.routing.router import LayerSpec, Router, Routing, build_gate, top
from moesuite.routing.transport import sparse_transport


class SparsityConstrainedTokenChoice(Router):
    """Top-K experts per token in the k-sparse plan."""

    paper = "Liu et al. 2024, https://arxiv.org/abs/2401.15969"
    dense_gates = True
    drops = True

    def __init__(
        self, spec: LayerSpec, k: Annotated[int, Ge(1)] = 1, iterations: Annotated[int, Ge(1)] = 20
    ) -> None:
        """Build the router.

        Args:
            spec: the layer.
            k: experts per token, in [1, E].
            iterations: steps of Adam, >= 1.

        Raises:
            UserError: if k > E.
        """
        super().__init__(spec)
        self.k = self.choices(k)
        self.iterations = iterations
        self.gate = build_gate(spec)

    def forward(
        self, x: Float[Tensor, "G T D"], mask: Bool[Tensor, "G T"] | None = None
    ) -> Routing:
        gates = self.gate(x).softmax(dim=-1)  # [G, T, E]
        real = torch.ones_like(gates[..., 0]) if mask is None else mask.to(gates)
        share = real.sum(dim=1, keepdim=True) / self.spec.num_experts
        shares = share.expand(-1, self.spec.num_experts)  # [G, E]
        costs = -gates.detach()
        plan, _ = sparse_transport(costs, shares, real, self.k, self.iterations)  # [G, T, E]
        mass, experts = top(plan, self.k)
        experts = experts.masked_fill(mass == 0, self.spec.num_experts)
        weights = torch.cat([gates, torch.zeros_like(gates[..., :1])], dim=-1).gather(-1, experts)
        return self.choose_experts(weights, experts, mask, all_gates=gates)
