"""Control: no routing. Every expert processes every token, and the outputs are averaged.

With one expert this is exactly the dense MLP, which `moefy(model, router="dense")` leaves in place:
the matched dense baseline of every comparison.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from moesuite.routing.router import EMPTY, Router, SlotRouting


class Dense(Router):
    """Send every token to every expert with weight 1/E."""

    paper = "Control: the dense MLP"
    tokens_choose = False
    causal = True
    bounded = False
    fits_trained_gate = False  # chooses no experts

    def forward(
        self, x: Float[Tensor, "G T D"], mask: Bool[Tensor, "G T"] | None = None
    ) -> SlotRouting:
        groups, length, _ = x.shape
        shape = (groups, self.spec.num_experts, length)
        tokens = torch.arange(length, device=x.device).expand(shape)
        weights = x.new_full(shape, 1 / self.spec.num_experts)
        if mask is not None:
            tokens = tokens.masked_fill(~mask[:, None], EMPTY)
            weights = weights * mask[:, None]
        return SlotRouting(tokens, weights, length)
