"""Causal expert choice: experts take the tokens whose score exceeds a running threshold.

Not in a paper: moesuite's variant of `expert_threshold` (Sun et al. 2026,
https://arxiv.org/abs/2603.11535) by sequences, at a fixed cost. Expert choice (Zhou et al. 2022,
https://arxiv.org/abs/2202.09368) ranks the tokens of a sequence against each other, which leaks the
future into causal models. Instead, expert e keeps β_e, the moving average of the score of each
group's C-th best token, the last one that expert choice would take, averaged over groups, and takes
the tokens t with s_te > β_e, s = softmax(x W_g), which is the combine weight, too. β is updated
only after the batch has been routed. In training an expert has C slots in a group, and earlier
tokens come first: a step costs what the budget says; where many tokens pass, late ones are refused.
A decision depends on the token, on earlier ones, and on past steps; loads are full on average only.
Before the first step β is 0, so that slots go to tokens in order.
"""

from __future__ import annotations

from typing import Annotated

import torch
from annotated_types import Ge, Lt
from jaxtyping import Bool, Float
from torch import Tensor

from moesuite.routing.assignment import tokens_take_in_order, top
from moesuite.routing.router import LayerSpec, Router, Routing, build_gate


class ExpertChoiceCausal(Router):
    """Tokens above the running threshold of each expert, while it has slots."""

    paper = (
        "Not in a paper: moesuite's own, after Sun et al. 2026, https://arxiv.org/abs/2603.11535"
    )
    protocol = 2  # statistics stay in float32 in half-precision models
    tokens_choose = False
    drops = True
    adaptive = True
    causal = True
    threshold: Tensor
    steps: Tensor
    measured: Tensor

    def __init__(self, spec: LayerSpec, momentum: Annotated[float, Ge(0), Lt(1)] = 0.99) -> None:
        """Build the router.

        Args:
            spec: the layer.
            momentum: of the running mean, with bias correction, in [0, 1).
        """
        super().__init__(spec)
        self.momentum = momentum
        self.gate = build_gate(spec)
        self.register_buffer("threshold", torch.zeros(spec.num_experts))
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
            self.measured = self._last_taken(scores.detach(), real)
        wanted = (scores > self.threshold) & real[..., None]
        if self.slots_per_token is None:
            return self.choose_pairs(scores, wanted, mask)
        capacity = self.capacity(x.shape[1])
        return tokens_take_in_order(scores, wanted, capacity, self.group_capacity(real))

    def _last_taken(self, scores: Tensor, real: Tensor) -> Tensor:
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
