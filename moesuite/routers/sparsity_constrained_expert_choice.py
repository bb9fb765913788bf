"""Sparsity-constrained expert choice: dispatch by a transport plan of at most C tokens per expert.

Liu et al., "Routers in Vision Mixture of Experts: An Empirical Study" (2024),
https://arxiv.org/abs/2401.15969, section 3: cost -softmax(logits), marginals 1 per token and T/E
per expert, k = capacity, 20 steps of Adam on the semi-dual; the combine weight is softmax(logits).
Slots without mass in the plan stay empty. The plan depends on the whole group: not causal. Not in
the paper: no early stop, where the official code stops at a gradient norm of 1e-3.
"""

from __future__ import annotations

from typing import Annotated

import torch
from annotated_types import Ge
from jaxtyping import Bool, Float
from torch import Tensor

from moesuite.routing.router import LayerSpec, Router, SlotRouting, build_gate
from moesuite.routing.transport import sparse_transport

FAR = 1e4  # cost of padding, far above those of real tokens in [-1, 0]


class SparsityConstrainedExpertChoice(Router):
    """Top-C tokens per expert in the k-sparse plan."""

    paper = "Liu et al. 2024, https://arxiv.org/abs/2401.15969"
    tokens_choose = False

    def __init__(self, spec: LayerSpec, iterations: Annotated[int, Ge(1)] = 20) -> None:
        """Build the router.

        Args:
            spec: the layer.
            iterations: steps of Adam, >= 1.
        """
        super().__init__(spec)
        self.iterations = iterations
        self.gate = build_gate(spec)

    def forward(
        self, x: Float[Tensor, "G T D"], mask: Bool[Tensor, "G T"] | None = None
    ) -> SlotRouting:
        gates = self.gate(x).softmax(dim=-1)  # [G, T, E]
        real = torch.ones_like(gates[..., 0]) if mask is None else mask.to(gates)
        num_experts = self.spec.num_experts
        share = real.sum(dim=1, keepdim=True).clamp(min=1) / num_experts
        shares = share.expand(-1, num_experts)  # [G, E]
        costs = -gates.transpose(1, 2).detach() + FAR * (1 - real)[:, None]  # [G, E, T]
        limits = None if mask is None else self.group_capacity(mask)
        plan, _ = sparse_transport(
            costs, real, shares, self.capacity(x.shape[1]), self.iterations, limits=limits
        )
        routing = self.choose_tokens(plan.masked_fill(plan == 0, -1.0), mask)
        return routing.reweighed(gates)
