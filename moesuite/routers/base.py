"""BASE: balanced assignment of tokens to experts with maximal total score, in training.

Lewis et al., "BASE Layers" (2021), https://arxiv.org/abs/2103.16716: maximise Σ_t x_t·w_{a(t)} with
T/E tokens per expert; the combine weight is σ(x_t·w_a); in evaluation each token goes to its best
expert. No auxiliary loss. Not in the paper: exact linear assignment per group (theirs is an auction
across workers); the budget scales the number of slots.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from moesuite.routing.router import LayerSpec, Router, Routing, build_gate, top
from moesuite.routing.transport import assignment


class Base(Router):
    """Balanced assignment in training, greedy in evaluation."""

    paper = "Lewis et al. 2021, https://arxiv.org/abs/2103.16716"
    drops = True

    def __init__(self, spec: LayerSpec) -> None:
        super().__init__(spec)
        self.gate = build_gate(spec)

    def forward(
        self, x: Float[Tensor, "G T D"], mask: Bool[Tensor, "G T"] | None = None
    ) -> Routing:
        logits = self.gate(x)  # [G, T, E]
        if self.slots_per_token is None or (self.static and not self.training):
            _, experts = top(logits, 1)
        else:
            experts = self._balanced(logits, mask)
        no_expert = logits.new_zeros(*logits.shape[:2], 1)
        gates = torch.cat([logits.sigmoid(), no_expert], dim=-1).gather(-1, experts)
        return self.choose_experts(gates, experts, mask)

    def static_problem(self) -> str:
        """Return that balanced assignment has no static form; a greedy one has."""
        if self.spec.eval_slots_per_token is None:
            return ""
        return (
            "balanced assignment under eval_slots_per_token is computed by scipy, outside torch; "
            "expected eval_slots_per_token=none"
        )

    def _balanced(self, logits: Tensor, mask: Tensor | None) -> Tensor:
        real = torch.ones_like(logits[..., 0], dtype=torch.bool) if mask is None else mask
        experts = torch.full(real.shape, logits.shape[-1], device=logits.device)
        for group, capacity in enumerate(self.group_capacity(real).tolist()):
            experts[group, real[group]] = assignment(logits[group, real[group]], capacity)
        return experts[..., None]
