"""USMoE: all (token, expert) pairs of a sequence compete for one budget.

Do, Le and Tran, "Sparse Mixture of Experts as Unified Competitive Learning" (2025),
https://arxiv.org/abs/2503.22996: s = (1 - α)·softmax over experts of z + α·2σ(z)/E with z = x W_g;
of the T·E scores of a sequence the round(T·budget) largest are selected, and y_t = Σ over the
selected of s·Expert_e(x_t). No capacity, no auxiliary loss; a token has 0 to E experts, and the
budget (`slots_per_token`) may be fractional. Every pair competes with later ones: not causal. With
`normalise`, as in the official code, the raw scores still decide: it divides the weights of the
selected pairs, and never changes the selection. Not in the paper: padding neither competes nor
counts (in the official code it does both), and sequences never compete with each other (the
official language models pool the batch).
"""

from __future__ import annotations

from typing import Annotated

import torch
from annotated_types import Ge, Le
from jaxtyping import Bool, Float
from torch import Tensor

from moesuite.routing.router import LayerSpec, RaggedRouting, Router, Routing, build_gate, top


class USMoE(Router):
    """Top pairs of a sequence, by a mixture of token-choice and expert-choice scores."""

    paper = "Do, Le and Tran 2025, https://arxiv.org/abs/2503.22996"

    def __init__(
        self, spec: LayerSpec, alpha: Annotated[float, Ge(0), Le(1)] = 0.5, normalise: bool = False
    ) -> None:
        """Build the router.

        Args:
            spec: the layer.
            alpha: share α of the expert-choice score, in [0, 1].
            normalise: divide the weights of selected pairs by the sum of their token's scores over
                all experts, as the official code does in models that normalise top-K weights.
        """
        super().__init__(spec)
        self.alpha = alpha
        self.normalise = normalise
        self.gate = build_gate(spec)

    def forward(
        self, x: Float[Tensor, "G T D"], mask: Bool[Tensor, "G T"] | None = None
    ) -> Routing:
        groups, length, _ = x.shape
        num_experts, budget = self.spec.num_experts, self.slots_per_token or 0.0
        logits = self.gate(x)  # [G, T, E]
        by_token = (1 - self.alpha) * logits.softmax(dim=-1)
        by_expert = self.alpha * 2 * logits.sigmoid() / num_experts
        scores = by_token + by_expert
        ranked = scores if mask is None else scores.masked_fill(~mask[..., None], -1.0)
        weights, selected = top(ranked.flatten(1), max(1, round(length * budget)))  # [G, n]
        served = None
        if mask is not None:
            limits = (mask.sum(dim=1).double() * budget).round().clamp(min=1)
            within = torch.arange(selected.shape[1], device=x.device) < limits[:, None]
            served = within & (weights.detach() >= 0)
        if self.static and not self.training:
            return self._static(scores, selected, served, mask)
        local, experts = selected // num_experts, selected % num_experts
        if self.normalise:
            weights = weights / scores.sum(dim=-1).gather(1, local).clamp(min=1e-20)
        tokens = local + torch.arange(groups, device=x.device)[:, None] * length
        pairs = (tokens, experts, weights)
        tokens, experts, weights = (
            part.flatten() if served is None else part[served] for part in pairs
        )
        return RaggedRouting(tokens, experts, weights, groups, length, num_experts)

    def _static(
        self, scores: Tensor, selected: Tensor, served: Tensor | None, mask: Tensor | None
    ) -> Routing:
        """Return the same pairs in the shape of all."""
        if self.normalise:
            scores = scores / scores.sum(dim=-1, keepdim=True).clamp(min=1e-20)
        served = torch.ones_like(selected, dtype=torch.bool) if served is None else served
        none = torch.zeros_like(scores, dtype=torch.bool)
        pairs = none.flatten(1).scatter(1, selected, served).view_as(none)
        return self.choose_pairs(scores, pairs, mask)
