"""Sinkhorn token choice: each token takes its top-K experts of an optimal transport plan.

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

from moesuite.routing.router import LayerSpec, Router, Routing, build_gate, top
from moesuite.routing.transport import sinkhorn


class SinkhornTokenChoice(Router):
    """Top-K experts per token of the Sinkhorn plan."""

    paper = "Liu et al. 2024, https://arxiv.org/abs/2401.15969"
    dense_gates = True
    drops = True

    def __init__(
        self,
        spec: LayerSpec,
        k: Annotated[int, Ge(1)] = 1,
        noise: Annotated[float, Ge(0)] = 1.0,
        iterations: Annotated[int, Ge(1)] = 20,
    ) -> None:
        """Build the router.

        Args:
            spec: the layer.
            k: experts per token, in [1, E].
            noise: standard deviation, in units of 1/E, of the Gaussian noise on training logits,
                >= 0.
            iterations: Sinkhorn iterations, >= 1.

        Raises:
            UserError: if k > E.
        """
        super().__init__(spec)
        self.k = self.choices(k)
        self.noise = noise
        self.iterations = iterations
        self.gate = build_gate(spec)

    def forward(
        self, x: Float[Tensor, "G T D"], mask: Bool[Tensor, "G T"] | None = None
    ) -> Routing:
        logits = self.gate(x)  # [G, T, E]
        if self.training and self.noise > 0:
            logits = logits + torch.randn_like(logits) * (self.noise / self.spec.num_experts)
        _, experts = top(sinkhorn(logits, mask, self.iterations), self.k)
        gates = logits.softmax(dim=-1)
        return self.choose_experts(gates.gather(-1, experts), experts, mask, all_gates=gates)
