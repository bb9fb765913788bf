"""Token choice: every token picks its top-K experts by softmax; experts with full slots refuse.

Riquelme et al., "Scaling Vision with Sparse Mixture of Experts" (2021),
https://arxiv.org/abs/2106.05974: y = Σ_k softmax(x W_g)_k · Expert_k(x), section 2; slots are given
to all first choices before any second choice, by token order or, with batch-prioritised routing, by
the tokens' top gate (section 4). The combine weight is the raw gate: neither top-K nor a refusal
renormalises it. Ties go to the lower index. The balance loss is pooled over the batch, and of the
logits without `noise`. Not in the paper: capacity is the exact ceiling (theirs rounds up to a
multiple of 4), and groups are single images.
"""

from __future__ import annotations

from typing import Annotated

import torch
from annotated_types import Ge
from jaxtyping import Bool, Float
from torch import Tensor

from moesuite.routing.losses import balance_loss, z_loss
from moesuite.routing.router import Gate, LayerSpec, Router, Routing, top

Weight = Annotated[float, Ge(0)]


class TokenChoice(Router):
    """Softmax gate, top-K experts per token, capacity in training, none in evaluation."""

    paper = "Riquelme et al. 2021, https://arxiv.org/abs/2106.05974"
    drops = True

    def __init__(
        self,
        spec: LayerSpec,
        k: Annotated[int, Ge(1)] = 1,
        batch_priority: bool = False,
        noise: Weight = 0.0,
        balance_weight: Weight = 0.01,
        z_weight: Weight = 0.001,
    ) -> None:
        """Build the router.

        Args:
            spec: the layer.
            k: experts per token, in [1, E].
            batch_priority: serve tokens by their top gate instead of by their order.
            noise: standard deviation of the Gaussian noise on training logits, in units of 1/E, >=
                0.
            balance_weight: weight of the balance loss, >= 0; its gates are those of the logits
                without noise, its choices those with it.
            z_weight: weight of the z loss, >= 0.

        Raises:
            UserError: if k > E.
        """
        super().__init__(spec)
        self.k, self.batch_priority, self.noise = self.choices(k), batch_priority, noise
        self.balance_weight, self.z_weight = balance_weight, z_weight
        self.causal = (
            k == 1 and not batch_priority
        )  # a later first choice takes the slot of an earlier second one
        self.gate = Gate(spec.dim, spec.num_experts)

    def forward(
        self, x: Float[Tensor, "G T D"], mask: Bool[Tensor, "G T"] | None = None
    ) -> Routing:
        logits = self.gate(x)  # [G, T, E]
        noisy = logits
        if self.training and self.noise > 0:
            noisy = logits + torch.randn_like(logits) * (self.noise / self.spec.num_experts)
        gates, experts = top(noisy.softmax(dim=-1), self.k)  # [G, T, K]
        losses = {
            "balance": self.balance_weight * balance_loss(logits, experts, mask, self.scope),
            "z": self.z_weight * z_loss(logits, mask, self.scope),
        }
        return self.choose_experts(gates, experts, mask, losses, self.batch_priority)
