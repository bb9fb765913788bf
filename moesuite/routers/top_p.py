"""Top-p: every token takes its best experts up to a cumulative probability p.

Huang et al., "Harder Tasks Need More Experts: Dynamic Routing in MoE Models" (2024),
https://arxiv.org/abs/2403.07652: the smallest set of best experts with Σ gates >= p, p = 0.4; an
entropy loss ("dynamic loss") of weight 1e-4 keeps the set from growing to all experts; balance loss
of weight 1e-2. Not in the paper: the budget limits slots in training.
"""

from __future__ import annotations

from typing import Annotated

from annotated_types import Ge, Gt, Le
from jaxtyping import Bool, Float
from torch import Tensor

from moesuite.routing.losses import balance_loss, entropy_loss
from moesuite.routing.router import LayerSpec, Router, Routing, build_gate, top

Weight = Annotated[float, Ge(0)]


class TopP(Router):
    """Dynamic K: the best experts until their gates sum to p."""

    paper = "Huang et al. 2024, https://arxiv.org/abs/2403.07652"
    dense_gates = True
    drops = True
    adaptive = True

    def __init__(
        self,
        spec: LayerSpec,
        p: Annotated[float, Gt(0), Le(1)] = 0.4,
        balance_weight: Weight = 0.01,
        entropy_weight: Weight = 1e-4,
    ) -> None:
        """Build the router.

        Args:
            spec: the layer.
            p: cumulative probability to reach, in (0, 1].
            balance_weight: weight of the balance loss on first choices, >= 0.
            entropy_weight: weight of the mean entropy of the gates, >= 0.
        """
        super().__init__(spec)
        self.p = p
        self.balance_weight = balance_weight
        self.entropy_weight = entropy_weight
        self.gate = build_gate(spec)

    def forward(
        self, x: Float[Tensor, "G T D"], mask: Bool[Tensor, "G T"] | None = None
    ) -> Routing:
        logits = self.gate(x)  # [G, T, E]
        all_gates = logits.softmax(dim=-1)
        gates, experts = top(all_gates, self.spec.num_experts)
        before = gates.detach().cumsum(dim=-1) - gates.detach()
        chosen = (before < self.p).index_fill(-1, experts.new_zeros(1), True)
        balance = balance_loss(logits, experts[..., :1], mask, self.scope)
        losses = {
            "balance": self.balance_weight * balance,
            "entropy": self.entropy_weight * entropy_loss(logits, mask, self.scope),
        }
        experts = experts.masked_fill(~chosen, self.spec.num_experts)
        return self.choose_experts(gates, experts, mask, losses, all_gates=all_gates)
