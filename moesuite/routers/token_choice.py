"""Token choice: every token takes its top-K experts by softmax; full experts refuse tokens.

Riquelme et al., "Scaling Vision with Sparse Mixture of Experts" (2021),
https://arxiv.org/abs/2106.05974: y = Σ_k softmax(x W_g)_k · Expert_k(x), section 2; slots are given
to all first choices before any second choice, by token order or, with batch-prioritised routing, by
the tokens' top gate (section 4). The combine weight is the raw gate, renormalised neither over the
top-K nor after a refusal. Ties go to the lower index. The balance loss is pooled over the batch,
and takes the logits without `noise`. Not in the paper: capacity is the exact ceiling (theirs rounds
up to a multiple of 4), and groups are single images.
"""

from __future__ import annotations

from typing import Annotated

import torch
from annotated_types import Ge
from jaxtyping import Bool, Float
from torch import Tensor

from moesuite.routing.losses import balance_loss, z_loss
from moesuite.routing.router import LayerSpec, Router, Routing, build_gate, top

Weight = Annotated[float, Ge(0)]


class TokenChoice(Router):
    """Softmax gate, top-K experts per token, capacity in training, none in evaluation."""

    paper = "Riquelme et al. 2021, https://arxiv.org/abs/2106.05974"
    dense_gates = True
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
            noise: standard deviation, in units of 1/E, of the Gaussian noise on training logits,
                >= 0.
            balance_weight: weight of the balance loss, >= 0; its gates are without noise, its
                choices with noise.
            z_weight: weight of the z loss, >= 0.

        Raises:
            UserError: if k > E.
        """
        super().__init__(spec)
        self.k = self.choices(k)
        self.batch_priority = batch_priority
        self.noise = noise
        self.balance_weight = balance_weight
        self.z_weight = z_weight
        # else a later token takes the slot of an earlier one: a first choice that of a second one,
        # or a larger gate that of a smaller one
        self.causal = k == 1 and not batch_priority
        self.gate = build_gate(spec)

    def forward(
        self, x: Float[Tensor, "G T D"], mask: Bool[Tensor, "G T"] | None = None
    ) -> Routing:
        logits = self.gate(x)  # [G, T, E]
        noisy = logits
        if self.training and self.noise > 0:
            noisy = logits + torch.randn_like(logits) * (self.noise / self.spec.num_experts)
        all_gates = noisy.softmax(dim=-1)
        gates, experts = top(all_gates, self.k)  # [G, T, K]
        losses = {
            "balance": self.balance_weight * balance_loss(logits, experts, mask, self.scope),
            "z": self.z_weight * z_loss(logits, mask, self.scope),
        }
        return self.choose_experts(gates, experts, mask, losses, self.batch_priority, all_gates)
