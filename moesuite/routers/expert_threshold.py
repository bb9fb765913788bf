"""Expert threshold: experts take every token above a running threshold, the same in inference.

Sun et al., "Expert Threshold Routing for Autoregressive Language Modeling with Dynamic Computation
Allocation and Load Balancing" (2026), https://arxiv.org/abs/2603.11535: with logits r = x W_g, y_t
= Σ over experts with r_te > c_e of σ(r_te) Expert_e(x_t). c_e is the moving average, with bias
correction, of the logit that a share of all tokens of a batch exceeds: the last one that expert
choice would take. It is updated after the batch has been routed. Weights are not normalised; there
is no loss and no capacity: loads are full on average only. The same thresholds: Su, "MoE 环游记：
7、动态激活极简解" (a minimal solution to dynamic activation, 2026),
https://kexue.fm/archives/11626. The share is slots_per_token/E. The paper's models begin with 4000
steps of expert choice over the batch, which looks ahead in training (`warmup`), and have a shared
expert (`shared_experts=1`). Not in the papers: no warm-up by default, so that training is causal;
before the first step c is the quantile of a normal distribution with the spread of initial logits.
"""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import Annotated

import torch
from annotated_types import Ge, Lt
from jaxtyping import Bool, Float
from torch import Tensor

from moesuite.routing.capacity import refuse_limit
from moesuite.routing.router import LayerSpec, Router, Routing, build_gate
from moesuite.routing.scope import score_that_a_share_exceeds


class ExpertThreshold(Router):
    """Sigmoid gates of the tokens above each expert's running threshold."""

    paper = "Sun et al. 2026, https://arxiv.org/abs/2603.11535"
    adaptive = True
    bounded = False
    tokens_choose = False
    threshold: Tensor
    steps: Tensor
    measured: Tensor

    def __init__(
        self,
        spec: LayerSpec,
        momentum: Annotated[float, Ge(0), Lt(1)] = 0.99,
        warmup: Annotated[int, Ge(0)] = 0,
    ) -> None:
        """Build the router.

        Args:
            spec: the layer.
            momentum: of the running mean, with bias correction, in [0, 1).
            warmup: training steps in which experts take the best tokens of the batch instead, >= 0.

        Raises:
            UserError: for a limit in evaluation, which there is none of.
        """
        super().__init__(spec)
        refuse_limit(spec, "expert_threshold", "expert_choice_causal")
        self.momentum = momentum
        self.warmup = warmup
        self.causal, self.batch_coupled = warmup == 0, warmup > 0
        self.share = spec.slots_per_token / spec.num_experts
        self.gate = build_gate(spec)
        self.register_buffer("threshold", torch.full((spec.num_experts,), self._expected()))
        self.register_buffer("steps", torch.zeros(()))
        # logits that the share of tokens exceeded in the previous training forward
        self.register_buffer("measured", torch.full((spec.num_experts,), torch.nan))

    def advance(self) -> None:
        """Move the thresholds towards those of the previous training batch."""
        known = self.measured.isfinite().all()  # no branch: it would break a compiled graph
        self.steps += known
        share = (1 - self.momentum) / (1 - self.momentum**self.steps)  # 1 at the first step
        moved = self.threshold + share * (self.measured - self.threshold)
        self.threshold = torch.where(known, moved, self.threshold)

    def forward(
        self, x: Float[Tensor, "G T D"], mask: Bool[Tensor, "G T"] | None = None
    ) -> Routing:
        logits = self.gate(x)  # [G, T, E]
        real = torch.ones_like(logits[..., 0], dtype=torch.bool) if mask is None else mask
        threshold = self.threshold
        if self.training:
            pooled, alive = self.scope.tokens(logits, real)
            ended = score_that_a_share_exceeds(pooled, alive, self.share)  # [U, E]
            self.measured = self.scope.mean(ended, alive.sum(dim=1).to(ended))
            if self.warmup:
                threshold = torch.where(self.steps < self.warmup, self.measured, threshold)
        wanted = (logits > threshold) & real[..., None]
        return self.choose_pairs(logits.sigmoid(), wanted, mask)

    def _expected(self) -> float:
        """Return the threshold for initial gates on tokens of unit variance."""
        spread = 0.02 * math.sqrt(self.spec.dim)
        return spread * NormalDist().inv_cdf(1 - self.share) if self.share < 1 else -math.inf
