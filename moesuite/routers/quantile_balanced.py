"""Quantile balancing: top-K by biased scores; each step sets the bias that would have balanced it.

Su, "MoE Odyssey 6: Optimal Allocation for Equilibrium" (2026), https://kexue.fm/archives/11619: the
dual of the best balanced assignment of m tokens to n experts, one coordinate after the other: a_i =
quantile_{1-k/n}(s_i + b) over the experts of each token, then b_j = -quantile_{1-k/n}(s_j - a) over
the tokens of each expert; no gradient, no step size. Scores and weights as in Moonshot AI, "Kimi
K3" (2026), https://github.com/MoonshotAI/Kimi-K3/blob/main/k3_tech_report.pdf, section 2.3.3: s =
σ(x W_g); a_i is the (k+1)-th best biased score, so that k are above it; b is centred, which changes
no choice, and holds from the next step on and in evaluation; combine weights are scores without b,
divided by their sum over the chosen experts. Not in the papers: exact quantiles, where K3 has
histograms; for K = 1 scores are not divided, which would give exactly 1 and no gradient; the budget
limits slots.
"""

from __future__ import annotations

from typing import Annotated

import torch
from annotated_types import Ge
from jaxtyping import Bool, Float
from torch import Tensor

from moesuite.routing.router import LayerSpec, Router, Routing, build_gate, top
from moesuite.routing.scope import score_that_a_share_exceeds


def margins(biased: Float[Tensor, "G T E"], bias: Float[Tensor, " E"], k: int) -> Tensor:
    """Return s - a, how far each score is from the top `k` of its token, [G, T, E]."""
    best, _ = top(biased, min(k + 1, biased.shape[-1]))
    return biased - bias - best[..., -1:]


class QuantileBalanced(Router):
    """Sigmoid scores, top-K by biased score, bias from quantiles of the previous step."""

    paper = "Su 2026, https://kexue.fm/archives/11619"
    drops = True
    bias: Tensor
    quantile: Tensor

    def __init__(
        self, spec: LayerSpec, k: Annotated[int, Ge(1)] = 1, normalise: bool | None = None
    ) -> None:
        """Build the router.

        Args:
            spec: the layer.
            k: experts per token, in [1, E].
            normalise: divide the scores of a token by their sum; None: if k > 1.

        Raises:
            UserError: if k > E.
        """
        super().__init__(spec)
        self.k = self.choices(k)
        self.normalise = k > 1 if normalise is None else normalise
        self.causal = k == 1  # else a later first choice takes the slot of an earlier second one
        self.gate = build_gate(spec)
        self.register_buffer("bias", torch.zeros(spec.num_experts))
        # of the margins in the previous training forward, averaged over units of `balance_scope`
        self.register_buffer("quantile", torch.full((spec.num_experts,), torch.nan))

    def advance(self) -> None:
        """Replace the bias; without tokens, or with K = E, it stays."""
        known = self.quantile.isfinite().all()  # no branch: it would break a compiled graph
        self.bias = torch.where(known, self.quantile.mean() - self.quantile, self.bias)

    def forward(
        self, x: Float[Tensor, "G T D"], mask: Bool[Tensor, "G T"] | None = None
    ) -> Routing:
        scores = self.gate(x).sigmoid()  # [G, T, E]
        biased = scores.detach() + self.bias
        _, experts = top(biased, self.k)
        gates = scores.gather(-1, experts)
        if self.normalise:
            gates = gates / gates.sum(dim=-1, keepdim=True).clamp(min=1e-20)
        if self.training:
            real = torch.ones_like(gates[..., 0], dtype=torch.bool) if mask is None else mask
            margin, real = self.scope.tokens(margins(biased, self.bias, self.k), real)
            share = self.k / self.spec.num_experts
            ended = score_that_a_share_exceeds(margin, real, share)  # [U, E]
            self.quantile = self.scope.mean(ended, real.sum(dim=1).to(ended))
        return self.choose_experts(gates, experts, mask)
