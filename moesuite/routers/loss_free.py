"""Loss-free balancing: top-K by biased scores; a bias moves against its expert's load every step.

Wang et al., "Auxiliary-Loss-Free Load Balancing" (2024), https://arxiv.org/abs/2408.15664,
algorithm 1: top-K of σ(x W_g) + b, b_e += u · sign(mean load - load_e), u = 0.001; DeepSeek-AI,
"DeepSeek-V3" (2024), https://arxiv.org/abs/2412.19437, equations 12 to 16: gates are σ(x W_g),
divided by their sum over the chosen experts; equations 17 to 20: a small loss keeps single
sequences balanced, too (`sequence_weight`). Not in the paper: for K = 1 gates are not divided,
which would give exactly 1 and no gradient, nor in a rerouted model that does not divide them; the
budget limits slots.
"""

from __future__ import annotations

from typing import Annotated

import torch
from annotated_types import Ge, Le
from jaxtyping import Bool, Float
from torch import Tensor

from moesuite.routing.losses import sequence_loss
from moesuite.routing.router import LayerSpec, Router, Routing, build_gate, top
from moesuite.routing.scope import load_excess


class LossFree(Router):
    """Sigmoid gates, top-K by biased score, no auxiliary loss."""

    paper = "Wang et al. 2024, https://arxiv.org/abs/2408.15664"
    protocol = 2  # statistics stay in float32 in half-precision models
    drops = True
    bias: Tensor
    excess: Tensor

    def __init__(
        self,
        spec: LayerSpec,
        k: Annotated[int, Ge(1)] = 1,
        update_rate: Annotated[float, Ge(0), Le(1)] = 0.001,
        normalise: bool | None = None,
        sequence_weight: Annotated[float, Ge(0)] = 0.0,
    ) -> None:
        """Build the router.

        Args:
            spec: the layer.
            k: experts per token, in [1, E].
            update_rate: step size u of the bias, in [0, 1].
            normalise: divide the gates of a token by their sum; None: if k > 1.
            sequence_weight: weight of DeepSeek-V3's loss on the balance of each sequence, >= 0;
                theirs is 1e-4.

        Raises:
            UserError: if k > E.
        """
        super().__init__(spec)
        self.k = self.choices(k)
        self.update_rate = update_rate
        self.normalise = k > 1 if normalise is None else normalise
        self.sequence_weight = sequence_weight
        self.causal = k == 1  # else a later first choice takes the slot of an earlier second one
        self.gate = build_gate(spec)
        self.register_buffer("bias", torch.zeros(spec.num_experts))
        # sign(load_e - mean load) in the previous training forward, averaged over units of
        # `balance_scope`
        self.register_buffer("excess", torch.zeros(spec.num_experts))

    def advance(self) -> None:
        """Raise the bias of experts below the mean load, lower that of experts above it."""
        self.bias -= self.update_rate * self.excess

    def forward(
        self, x: Float[Tensor, "G T D"], mask: Bool[Tensor, "G T"] | None = None
    ) -> Routing:
        scores = self.gate(x).sigmoid()  # [G, T, E]
        _, experts = top(scores.detach() + self.bias, self.k)
        gates = scores.gather(-1, experts)
        if self.normalise:
            gates = gates / gates.sum(dim=-1, keepdim=True).clamp(min=1e-20)
        if self.training:
            real = torch.ones_like(gates[..., :1]) if mask is None else mask.to(gates)[..., None]
            self.excess = load_excess(experts, real, self.spec.num_experts, self.scope)
        losses = {}
        if self.sequence_weight > 0:
            loss = sequence_loss(scores, self.k, mask, self.training)
            losses["sequence"] = self.sequence_weight * loss
        return self.choose_experts(gates, experts, mask, losses)
