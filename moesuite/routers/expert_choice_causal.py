"""Causal expert choice: experts take tokens above a running threshold, so that no token waits for later ones.

Not in a paper: ours. Expert choice (Zhou et al. 2022, https://arxiv.org/abs/2202.09368) ranks a group's tokens against
each other, which leaks the future into causal models. Here each expert e keeps a threshold τ_e: the running mean, over
training groups, of the score that its C-th best token had, the one that non-causal expert choice would have taken
last. Token t goes to e if softmax(x_t W_g)_e > τ_e and e still has one of its C slots, which go to earlier tokens
first. A decision so depends on the token, on earlier tokens and on past training steps only, in training too.
What it costs: loads are full on average only; where many tokens pass, late ones are refused in training (evaluation
has no capacity); the first training step, before any threshold, serves tokens in their order.
"""

from __future__ import annotations

from typing import Annotated

import torch
from annotated_types import Ge, Lt
from jaxtyping import Bool, Float
from torch import Tensor

from moesuite.choice import pairs, tokens_take_in_order, top
from moesuite.router import Gate, LayerSpec, Router, Routing


class ExpertChoiceCausal(Router):
    """Tokens above each expert's running threshold."""

    paper = "Not in a paper: moesuite's own"
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
            momentum: of the running mean, corrected for its start at 0, in [0, 1).
        """
        super().__init__(spec)
        self.momentum = momentum
        self.gate = Gate(spec.dim, spec.num_experts)
        self.register_buffer("threshold", torch.zeros(spec.num_experts))
        self.register_buffer("steps", torch.zeros(()))
        self.register_buffer("measured", torch.full((spec.num_experts,), torch.nan))  # by the last training forward

    def advance(self) -> None:
        """Move the thresholds towards the scores that non-causal expert choice ended at."""
        if torch.distributed.is_initialized():
            torch.distributed.all_reduce(self.measured)
            self.measured /= torch.distributed.get_world_size()
        known = self.measured.isfinite().all()  # no branch on it: that would break a compiled graph
        self.steps += known
        share = (1 - self.momentum) / (1 - self.momentum**self.steps)  # 1 at the first step
        self.threshold = torch.where(known, self.threshold + share * (self.measured - self.threshold), self.threshold)

    def forward(self, x: Float[Tensor, "G T D"], mask: Bool[Tensor, "G T"] | None = None) -> Routing:
        scores = self.gate(x).softmax(dim=-1)  # [G, T, E]
        real = torch.ones_like(scores[..., 0], dtype=torch.bool) if mask is None else mask
        if self.training:
            self._measure(scores.detach(), real)
        wanted = (scores > self.threshold) & real[..., None]
        if self.slots_per_token is None:
            return pairs(scores, wanted)
        return tokens_take_in_order(scores, wanted, self.capacity(x.shape[1]), self.group_capacity(real))

    def _measure(self, scores: Tensor, real: Tensor) -> None:
        """Keep each expert's C-th best score, meaned over the groups that have a real token."""
        by_expert = scores.transpose(1, 2).masked_fill(~real[:, None], 0.0)
        best, _ = top(by_expert, self.capacity(scores.shape[1]))  # [G, E, C]
        last = self.group_capacity(real).clamp(max=best.shape[-1])[:, None, None] - 1
        counts = real.any(dim=1).to(scores)[:, None]  # [G, 1]
        ended = best.gather(2, last.expand(-1, best.shape[1], 1))[..., 0]  # [G, E]
        self.measured = (ended * counts).sum(dim=0) / counts.sum()  # not a number, where all is padding
