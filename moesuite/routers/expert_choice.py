"""Expert choice: every expert picks its top-C tokens, so that all experts are equally loaded by construction.

Zhou et al., "Mixture-of-Experts with Expert Choice Routing" (2022), https://arxiv.org/abs/2202.09368, equation 2:
S = softmax over experts of x W_g; G, I = top-C of Sᵀ over tokens; the combine weight is G. Ties go to the lower index.
A token may be chosen by 0 to E experts. Choosing among all tokens of a group looks at later ones: not causal.
"""

from __future__ import annotations

from jaxtyping import Bool, Float
from torch import Tensor

from moesuite.router import EMPTY, Gate, LayerSpec, Router, SlotRouting


class ExpertChoice(Router):
    """Softmax over experts, then top-C tokens per expert; `slots_per_token` is its capacity factor."""

    paper = "Zhou et al. 2022, https://arxiv.org/abs/2202.09368"

    def __init__(self, spec: LayerSpec) -> None:
        super().__init__(spec)
        self.gate = Gate(spec.dim, spec.num_experts)

    def forward(self, x: Float[Tensor, "G T D"], mask: Bool[Tensor, "G T"] | None = None) -> SlotRouting:
        capacity = self.capacity(x.shape[1])
        scores = self.gate(x).softmax(dim=-1).transpose(1, 2)  # [G, E, T]
        if mask is not None:
            scores = scores.masked_fill(~mask[:, None], -1.0)  # padding is chosen last
        gates, tokens = scores.sort(dim=-1, descending=True, stable=True)
        gates, tokens = gates[..., :capacity], tokens[..., :capacity]  # [G, E, C]
        if mask is not None:
            rank = tokens.new_ones(capacity).cumsum(0) - 1
            empty = (gates < 0) | (rank >= self.group_capacity(mask)[:, None, None])
            tokens, gates = tokens.masked_fill(empty, EMPTY), gates.masked_fill(empty, 0.0)
        return SlotRouting(tokens, gates, x.shape[1])
