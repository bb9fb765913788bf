"""Switch: every token goes to its best expert; multiplicative input jitter in training.

Fedus et al., "Switch Transformers" (2021), https://arxiv.org/abs/2101.03961, section 2: top-1,
capacity in token order, balance loss of weight 0.01, input jitter by factors in [1 - ε, 1 + ε].
"""

from __future__ import annotations

from typing import Annotated

import torch
from annotated_types import Ge, Le
from jaxtyping import Bool, Float
from torch import Tensor

from moesuite.routing.losses import balance_loss
from moesuite.routing.router import LayerSpec, Router, Routing, build_gate, top


class Switch(Router):
    """Softmax gate, top-1, balance loss, input jitter."""

    paper = "Fedus et al. 2021, https://arxiv.org/abs/2101.03961"
    dense_gates = True
    drops = True
    causal = True

    def __init__(
        self,
        spec: LayerSpec,
        jitter: Annotated[float, Ge(0), Le(1)] = 0.01,
        balance_weight: Annotated[float, Ge(0)] = 0.01,
    ) -> None:
        """Build the router.

        Args:
            spec: the layer.
            jitter: ε of the factors on the router's input in training, in [0, 1].
            balance_weight: weight of the balance loss, >= 0.
        """
        super().__init__(spec)
        self.jitter = jitter
        self.balance_weight = balance_weight
        self.gate = build_gate(spec)

    def forward(
        self, x: Float[Tensor, "G T D"], mask: Bool[Tensor, "G T"] | None = None
    ) -> Routing:
        if self.training and self.jitter > 0:
            x = x * torch.empty_like(x).uniform_(1 - self.jitter, 1 + self.jitter)
        logits = self.gate(x)  # [G, T, E]
        all_gates = logits.softmax(dim=-1)
        gates, experts = top(all_gates, 1)
        losses = {"balance": self.balance_weight * balance_loss(logits, experts, mask, self.scope)}
        return self.choose_experts(gates, experts, mask, losses, all_gates=all_gates)
