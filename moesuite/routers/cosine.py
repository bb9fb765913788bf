"""Cosine: top-K by cosine similarity on a low-dimensional sphere, with a trained temperature.

Chi et al., "On the Representation Collapse of Sparse Mixture of Experts" (X-MoE, 2022),
https://arxiv.org/abs/2204.09179: project x to d_e = E/2 dimensions, L2-normalise tokens and expert
embeddings, divide the cosine by a trained temperature τ, softmax, top-K. Not in the paper: at least
2 dimensions; τ is clamped to >= 0.01; the budget limits slots in training.
"""

from __future__ import annotations

from typing import Annotated

from annotated_types import Ge, Gt
from jaxtyping import Bool, Float
from torch import Tensor

from moesuite.routing.layer import cosine_logits, cosine_weights
from moesuite.routing.losses import balance_loss
from moesuite.routing.router import LayerSpec, Router, Routing, top


class Cosine(Router):
    """Top-K by cosine similarity."""

    paper = "Chi et al. 2022, https://arxiv.org/abs/2204.09179"
    dense_gates = True
    drops = True
    fits_trained_gate = False  # its gate is not linear

    def __init__(
        self,
        spec: LayerSpec,
        k: Annotated[int, Ge(1)] = 1,
        temperature: Annotated[float, Gt(0)] = 0.3,
        balance_weight: Annotated[float, Ge(0)] = 0.01,
    ) -> None:
        """Build the router.

        Args:
            spec: the layer.
            k: experts per token, in [1, E].
            temperature: initial τ, > 0.
            balance_weight: weight of the balance loss, >= 0.

        Raises:
            UserError: if k > E.
        """
        super().__init__(spec)
        self.k = self.choices(k)
        self.balance_weight = balance_weight
        self.causal = k == 1  # else a later first choice takes the slot of an earlier second one
        weights = cosine_weights(spec.dim, spec.num_experts, temperature)
        self.projection, self.embeddings, self.temperature = weights

    def forward(
        self, x: Float[Tensor, "G T D"], mask: Bool[Tensor, "G T"] | None = None
    ) -> Routing:
        logits = cosine_logits(x, self.projection, self.embeddings, self.temperature)
        all_gates = logits.softmax(dim=-1)
        gates, experts = top(all_gates, self.k)
        losses = {"balance": self.balance_weight * balance_loss(logits, experts, mask, self.scope)}
        return self.choose_experts(gates, experts, mask, losses, all_gates=all_gates)
