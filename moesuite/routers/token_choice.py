"""Token choice: every token picks its top-K experts by softmax; experts with full slots refuse.

Riquelme et al., "Scaling Vision with Sparse Mixture of Experts" (2021), https://arxiv.org/abs/2106.05974: y = Σ_k
softmax(x W_g)_k · Expert_k(x), section 2; slots are given to all first choices before any second choice, by token
order or, with batch-prioritised routing, by the tokens' top gate (section 4). The combine weight is the raw gate:
neither top-K nor a refusal renormalises it. Ties go to the lower index.
Not in the paper: capacity is the exact ceiling (theirs rounds up to a multiple of 4), and groups are single images.
"""

from __future__ import annotations

from typing import Annotated

import torch
from annotated_types import Ge
from jaxtyping import Bool, Float
from torch import Tensor

from moesuite.errors import UserError
from moesuite.losses import balance_loss, z_loss
from moesuite.router import EMPTY, Gate, LayerSpec, RaggedRouting, Router, Routing, SlotRouting

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
            noise: standard deviation of the Gaussian noise on training logits, in units of 1/E, >= 0.
            balance_weight: weight of the balance loss, >= 0.
            z_weight: weight of the z loss, >= 0.

        Raises:
            UserError: if k > E.
        """
        super().__init__(spec)
        if k > spec.num_experts:
            raise UserError(
                f"router.k={k}: allowed is 1 to num_experts={spec.num_experts}; type for example router.k=1"
            )
        self.k, self.batch_priority, self.noise = k, batch_priority, noise
        self.balance_weight, self.z_weight = balance_weight, z_weight
        self.causal = k == 1 and not batch_priority  # a later first choice takes the slot of an earlier second one
        self.gate = Gate(spec.dim, spec.num_experts)

    def forward(self, x: Float[Tensor, "G T D"], mask: Bool[Tensor, "G T"] | None = None) -> Routing:
        logits = self.gate(x)  # [G, T, E]
        noisy = logits
        if self.training and self.noise > 0:
            noisy = logits + torch.randn_like(logits) * (self.noise / self.spec.num_experts)
        probabilities, order = noisy.softmax(dim=-1).sort(dim=-1, descending=True, stable=True)
        gates, experts = probabilities[..., : self.k], order[..., : self.k]  # [G, T, K]
        losses = {
            "balance": self.balance_weight * balance_loss(logits, experts, mask),
            "z": self.z_weight * z_loss(logits, mask),
        }
        route = self._dropless if self.slots_per_token is None else self._limited
        return route(gates, experts, mask, losses)

    def _dropless(
        self, gates: Tensor, experts: Tensor, mask: Tensor | None, losses: dict[str, Tensor]
    ) -> RaggedRouting:
        groups, length, k = experts.shape
        tokens = torch.arange(groups * length, device=gates.device).repeat_interleave(k)
        flat_experts, flat_gates = experts.flatten(), gates.flatten()
        if mask is not None:
            real = mask.flatten().repeat_interleave(k)
            tokens, flat_experts, flat_gates = tokens[real], flat_experts[real], flat_gates[real]
        return RaggedRouting(tokens, flat_experts, flat_gates, groups, length, self.spec.num_experts, losses)

    def _limited(self, gates: Tensor, experts: Tensor, mask: Tensor | None, losses: dict[str, Tensor]) -> SlotRouting:
        groups, length, k = experts.shape
        num_experts, capacity = self.spec.num_experts, self.capacity(length)
        priority = torch.arange(length, device=gates.device).expand(groups, length)
        if self.batch_priority:
            priority = gates[..., 0].argsort(dim=1, descending=True, stable=True)
        # pairs in the order of service: all first choices, then all second choices, ...  [G, K·T]
        tokens = priority.repeat(1, k)
        pick = priority[..., None].expand(-1, -1, k)
        queue_gates = gates.gather(1, pick).transpose(1, 2).flatten(1)
        queue = experts if mask is None else experts.masked_fill(~mask[..., None], num_experts)
        queue = queue.gather(1, pick).transpose(1, 2).flatten(1)
        # rank of each pair in its expert's own queue
        expert, order = queue.sort(dim=1, stable=True)
        demand = queue.new_zeros(groups, num_experts + 1).scatter_add_(1, queue, torch.ones_like(queue))
        first = demand.cumsum(1) - demand
        rank = torch.arange(k * length, device=gates.device) - first.gather(1, expert)
        limit = torch.full_like(rank[:, :1], capacity) if mask is None else self.group_capacity(mask)[:, None]
        served = (rank < limit) & (expert < num_experts)
        slot = torch.where(served, expert * capacity + rank, num_experts * capacity)  # the refused share one last slot
        slots = (groups, num_experts * capacity + 1)
        taken = tokens.new_full(slots, EMPTY).scatter(1, slot, tokens.gather(1, order))[:, :-1]
        weights = gates.new_zeros(slots).scatter(1, slot, queue_gates.gather(1, order))[:, :-1]
        shape = (groups, num_experts, capacity)
        return SlotRouting(taken.reshape(shape), weights.reshape(shape), length, losses, demand[:, :-1].float())
