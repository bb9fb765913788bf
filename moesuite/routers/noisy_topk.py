"""Noisy top-K gating: softmax over the K best of logits with trained noise; two balance losses.

Shazeer et al., "Outrageously Large Neural Networks" (2017), https://arxiv.org/abs/1701.06538: H = x
W_g + ε · softplus(x W_noise), equation 4; softmax over the top K, equations 3 and 5; importance,
equation 7, and load, equations 8 to 11, as squared coefficients of variation, both of weight 0.1 in
section C.1. Not in the paper: the budget limits slots in training. K = 1 gives a gate of exactly 1
and no gradient of the task loss.
"""

from __future__ import annotations

from typing import Annotated

import torch
from annotated_types import Ge
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

from moesuite.routing.losses import importance_loss, load_loss
from moesuite.routing.router import Gate, LayerSpec, Router, Routing, build_gate, top

Weight = Annotated[float, Ge(0)]


class NoisyTopK(Router):
    """Top-K of noisy logits; no noise in evaluation."""

    paper = "Shazeer et al. 2017, https://arxiv.org/abs/1701.06538"
    drops = True
    fits_trained_gate = False  # a second gate for the noise

    def __init__(
        self,
        spec: LayerSpec,
        k: Annotated[int, Ge(1)] = 2,
        importance_weight: Weight = 0.1,
        load_weight: Weight = 0.1,
    ) -> None:
        """Build the router.

        Args:
            spec: the layer.
            k: experts per token, in [1, E].
            importance_weight: weight of the squared variation of summed gates, >= 0.
            load_weight: weight of the squared variation of the expected load, >= 0.

        Raises:
            UserError: if k > E.
        """
        super().__init__(spec)
        self.k = self.choices(k)
        self.importance_weight = importance_weight
        self.load_weight = load_weight
        self.causal = k == 1  # else a later first choice takes the slot of an earlier second one
        self.gate = build_gate(spec)
        self.noise_gate = Gate(spec.dim, spec.num_experts)

    def forward(
        self, x: Float[Tensor, "G T D"], mask: Bool[Tensor, "G T"] | None = None
    ) -> Routing:
        logits = self.gate(x)  # [G, T, E]
        noisy, losses, scope = logits, {}, self.scope
        if self.training:
            deviation = F.softplus(self.noise_gate(x)) + 1e-2  # no expert ever becomes certain
            noisy = logits + torch.randn_like(logits) * deviation
            losses["load"] = self.load_weight * load_loss(
                logits, noisy, deviation, self.k, mask, scope
            )
        values, experts = top(noisy, self.k)  # [G, T, K]
        gates = values.softmax(dim=-1)
        importance = importance_loss(gates, experts, logits.shape[-1], mask, scope)
        losses["importance"] = self.importance_weight * importance
        return self.choose_experts(gates, experts, mask, losses)
