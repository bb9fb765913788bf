"""Causal expert choice: experts take the tokens whose score exceeds a running threshold.

Expert choice (Zhou et al. 2022, https://arxiv.org/abs/2202.09368) ranks the tokens of a batch
against each other, which leaks the future into causal models. Sun et al., "Expert Threshold Routing
for Autoregressive Language Modeling with Dynamic Computation Allocation and Load Balancing" (2026),
https://arxiv.org/abs/2603.11535, and Su, "MoE 环游记：7、 动态激活极简解" (a minimal solution to
dynamic activation, 2026), https://kexue.fm/archives/11626, replace ranks by thresholds: expert e
keeps a moving average β_e of the score that a share k/E of all tokens of a batch exceeds (1/E for
one expert per token), and takes every token t with s_te > β_e, in training and in inference. β is
updated only after the batch has been routed.

threshold="population": their rule, with the share slots_per_token/E. No capacity: the cost of a
    step depends on the scores.
threshold="group": moesuite's variant. β_e is the mean over groups of the score of each group's C-th
    best token, the last one that non-causal expert choice would take; in training an expert has
    only C slots in a group, and earlier tokens come first. Training costs what the budget says;
    where many tokens pass, late ones are refused.

In both, a decision depends on the token (with slots, on earlier ones too) and on past steps; loads
are full on average only.

Not in the papers: scores and combine weights are softmax(x W_g); Sun et al. compare logits and
weight by their sigmoid, beside a shared expert, after a warm-up by expert choice. Before the first
step β is Su's estimate for normal logits (population), or 0, so that slots go to tokens in order
(group).
"""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import Annotated, Literal

import torch
from annotated_types import Ge, Lt
from jaxtyping import Bool, Float
from torch import Tensor

from moesuite.errors import UserError
from moesuite.routing.assignment import tokens_take_in_order, top
from moesuite.routing.router import LayerSpec, Router, Routing, build_gate
from moesuite.routing.scope import score_that_a_share_exceeds


class ExpertChoiceCausal(Router):
    """Tokens above the running threshold of each expert."""

    paper = (
        "After Sun et al. 2026, https://arxiv.org/abs/2603.11535, "
        "and Su 2026, https://kexue.fm/archives/11626"
    )
    protocol = 2  # statistics stay in float32 in half-precision models
    tokens_choose = False
    drops = True
    adaptive = True
    causal = True
    threshold: Tensor
    steps: Tensor
    measured: Tensor

    def __init__(
        self,
        spec: LayerSpec,
        momentum: Annotated[float, Ge(0), Lt(1)] = 0.99,
        threshold: Literal["group", "population"] = "group",
    ) -> None:
        """Build the router.

        Args:
            spec: the layer.
            momentum: of the running mean, with bias correction, in [0, 1).
            threshold: group (with slots in training) or population (without; the papers' rule).

        Raises:
            UserError: for a limit in evaluation with threshold=population, which has none.
        """
        super().__init__(spec)
        self.momentum = momentum
        self.pooled = threshold == "population"
        self.gate = build_gate(spec)
        if self.pooled and spec.eval_slots_per_token is not None:
            raise UserError(
                f"eval_slots_per_token={spec.eval_slots_per_token}: expected no limit with "
                "router.threshold=population, which has no capacity; leave it out, or set "
                "router.threshold=group"
            )
        self.drops = self.bounded = not self.pooled
        start = _expected(spec) if self.pooled else 0.0
        self.register_buffer("threshold", torch.full((spec.num_experts,), start))
        self.register_buffer("steps", torch.zeros(()))
        # scores at the threshold in the previous training forward
        self.register_buffer("measured", torch.full((spec.num_experts,), torch.nan))

    def advance(self) -> None:
        """Move the thresholds towards those of the previous training batch."""
        known = self.measured.isfinite().all()  # no branch: it would break a compiled graph
        self.steps += known
        share = (1 - self.momentum) / (1 - self.momentum**self.steps)  # 1 at the first step
        self.threshold = torch.where(
            known, self.threshold + share * (self.measured - self.threshold), self.threshold
        )

    def forward(
        self, x: Float[Tensor, "G T D"], mask: Bool[Tensor, "G T"] | None = None
    ) -> Routing:
        scores = self.gate(x).softmax(dim=-1)  # [G, T, E]
        real = torch.ones_like(scores[..., 0], dtype=torch.bool) if mask is None else mask
        if self.training:
            measure = self._of_population if self.pooled else self._of_groups
            self.measured = measure(scores.detach(), real)
        wanted = (scores > self.threshold) & real[..., None]
        if self.pooled or self.slots_per_token is None:
            return self.choose_pairs(scores, wanted, mask)
        return tokens_take_in_order(
            scores, wanted, self.capacity(x.shape[1]), self.group_capacity(real)
        )

    def _of_population(self, scores: Tensor, real: Tensor) -> Tensor:
        """Return each expert's score that a share slots_per_token/E of the tokens exceeds, [E]."""
        scores, real = self.scope.tokens(scores, real)
        ended = score_that_a_share_exceeds(
            scores, real, self.spec.slots_per_token / self.spec.num_experts
        )
        return self.scope.mean(ended, real.sum(dim=1).to(scores))

    def _of_groups(self, scores: Tensor, real: Tensor) -> Tensor:
        """Return each expert's C-th best score, averaged over groups with real tokens, [E]."""
        by_expert = scores.transpose(1, 2).masked_fill(~real[:, None], 0.0)
        best, _ = top(by_expert, self.capacity(scores.shape[1]))  # [G, E, C]
        last = self.group_capacity(real).clamp(max=best.shape[-1])[:, None, None] - 1
        ended = best.gather(2, last.expand(-1, best.shape[1], 1))[..., 0]  # [G, E]
        present = real.any(dim=1).to(scores)
        scope = self.scope
        sums, count = scope.join(
            scope.over_groups(ended * present[:, None]), scope.over_groups(present)
        )
        return scope.mean(sums / count[:, None], count)  # NaN if all is padding


def _expected(spec: LayerSpec) -> float:
    """Return Su's estimate of the threshold, for initial gates on tokens of unit variance."""
    normal, spread = NormalDist(), 0.02 * math.sqrt(spec.dim)
    share = spec.slots_per_token / spec.num_experts
    if share >= 1:
        return 0.0
    ranks = (
        normal.inv_cdf(rank / (spec.num_experts + 1)) for rank in range(1, spec.num_experts + 1)
    )
    return math.exp(spread * normal.inv_cdf(1 - share)) / sum(
        math.exp(spread * rank) for rank in ranks
    )
