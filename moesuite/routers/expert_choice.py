"""Expert choice: every expert takes its top-C tokens; loads are equal by construction.

Zhou et al., "Mixture-of-Experts with Expert Choice Routing" (2022),
https://arxiv.org/abs/2202.09368, equation 2: S = softmax over experts of x W_g; G, I = top-C of Sᵀ
over tokens; the combine weight is G. Ties go to the lower index. A token is served by 0 to E
experts. The choice among all tokens of a group depends on later ones: not causal.
"""

from __future__ import annotations

from jaxtyping import Bool, Float
from torch import Tensor

from moesuite.routing.router import LayerSpec, Router, SlotRouting, build_gate


class ExpertChoice(Router):
    """Softmax over experts, top-C tokens per expert; `slots_per_token` is the capacity factor."""

    paper = "Zhou et al. 2022, https://arxiv.org/abs/2202.09368"
    tokens_choose = False

    def __init__(self, spec: LayerSpec) -> None:
        super().__init__(spec)
        self.gate = build_gate(spec)

    def forward(
        self, x: Float[Tensor, "G T D"], mask: Bool[Tensor, "G T"] | None = None
    ) -> SlotRouting:
        return self.choose_tokens(self.gate(x).softmax(dim=-1).transpose(1, 2), mask)
