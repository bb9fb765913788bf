"""Sinkhorn expert choice: each expert takes its top-C tokens of an optimal transport plan.

Liu et al., "Routers in Vision Mixture of Experts: An Empirical Study" (2024),
https://arxiv.org/abs/2401.15969, section 3: cost -logits, ε = 1, 20 iterations, marginals 1 per
token and T/E per expert; noise of standard deviation 1/E on the logits in training; the combine
weight is softmax(logits). The plan depends on the whole group: not causal.
"""

from __future__ import annotations

from typing import Annotated

import torch
from annotated_types import Ge
from jaxtyping import Bool, Float
from torch import Tensor

from moesuite.routing.router import LayerSpec, Router, SlotRouting, build_gate
from moesuite.routing.transport import sinkhorn


class SinkhornExpertChoice(Router):
    """Top-C tokens per expert of the Sinkhorn plan."""

    paper = "Liu et al. 2024, https://arxiv.org/abs/2401.15969"
    tokens_choose = False

    def __init__(
        self,
        spec: LayerSpec,
        noise: Annotated[float, Ge(0)] = 1.0,
        iterations: Annotated[int, Ge(1)] = 20,
    ) -> None:
        """Build the router.

        Args:
            spec: the layer.
            noise: standard deviation, in units of 1/E, of the Gaussian noise on training logits,
                >= 0.
            iterations: Sinkhorn iterations, >= 1.
        """
        super().__init__(spec)
        self.noise = noise
        self.iterations = iterations
        self.gate = build_gate(spec)

    def forward(
        self, x: Float[Tensor, "G T D"], mask: Bool[Tensor, "G T"] | None = None
    ) -> SlotRouting:
        logits = self.gate(x)  # [G, T, E]
        if self.training and self.noise > 0:
            logits = logits + torch.randn_like(logits) * (self.noise / self.spec.num_experts)
        plan = sinkhorn(logits, mask, self.iterations)
        routing = self.choose_tokens(plan.transpose(1, 2), mask)
        return routing.reweighed(logits.softmax(dim=-1))
