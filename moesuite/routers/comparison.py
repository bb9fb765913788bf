"""Comparison: a gate trained by comparing two experts, as Tesauro's networks compared two moves.

Not in a paper: moesuite's own, after Tesauro, "Connectionist Learning of Expert Preferences by
Comparison Training" (NIPS 1988): the network sees two alternatives and is trained on which is
preferred, o = σ(s(a) - s(b)).

Experts take their top-C tokens as in expert choice, with combine weight softmax(z). For a sampled
share of training tokens, two experts are sure to process the token: the gate's favourite and one
drawn at random. To first order, a is better than b if g·f_a < g·f_b, where g is the gradient of the
task loss with respect to the layer's output, and g·f_a is exactly the gradient of the combine
weight of the slot. The backward pass thus yields the preference at no extra cost, and the gate
receives the gradient of -log σ(z_preferred - z_other), and no other.

Closest related work that we know: Yoon et al., "When Are Experts Misrouted?" (2026),
https://arxiv.org/abs/2605.07260, compare the route of a token with sampled routes of equal cost, by
the probability of the true next token, in trained models of which they then update the last router
only; Pham et al., "CompeteSMoE" (2024), https://arxiv.org/abs/2402.02526, let experts compete by
the norm of their outputs, and train a router to predict the winner. Ours compares two experts on
some tokens of every training step, by the loss to first order, without another forward pass.

Cost: forced pairs occupy twice the sampled share of the slots; no FLOPs. The loss is known in the
backward pass only: the logged value is that of the previous step, on the first of several
processes.
"""

from __future__ import annotations

from typing import Annotated, Any

import torch
from annotated_types import Ge, Gt, Le
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

from moesuite.routing.losses import mean_of_tokens
from moesuite.routing.router import EMPTY, LayerSpec, Router, SlotRouting, build_gate


class _Compare(torch.autograd.Function):
    """Pass weights [N, 2] on; turn their gradient into the comparison loss's by logits [N, 2].

    Also returns the loss of each comparison, [N], of which only the gradient is exact: its value is
    the mean of the previous step.
    """

    @staticmethod
    def forward(ctx: Any, logits: Tensor, weights: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(logits)
        ctx.value = value
        return weights.clone(), value.repeat(len(logits))

    @staticmethod
    def backward(ctx: Any, by_weight: Tensor, by_loss: Tensor) -> tuple[Tensor, None, None]:
        (logits,) = ctx.saved_tensors
        margin = logits[:, 0] - logits[:, 1]
        # preferred: a larger weight of its output lowers the loss more
        prefers_first = (by_weight[:, 0] < by_weight[:, 1]).to(margin)
        if len(margin):
            ctx.value.copy_(F.binary_cross_entropy_with_logits(margin, prefers_first))
        slope = by_loss * (margin.sigmoid() - prefers_first)
        return torch.stack([slope, -slope], dim=1), None, None


class Comparison(Router):
    """Expert choice whose gate is trained by comparisons of two experts on one token."""

    paper = "Not in a paper: moesuite's own, after Tesauro 1988"
    protocol = 2  # statistics stay in float32 in half-precision models
    tokens_choose = False
    last: Tensor

    def __init__(
        self,
        spec: LayerSpec,
        share: Annotated[float, Gt(0), Le(0.5)] = 0.125,
        weight: Annotated[float, Ge(0)] = 1.0,
    ) -> None:
        """Build the router.

        Args:
            spec: the layer.
            share: share of the training tokens on which two experts are compared, in (0, 0.5].
            weight: weight of the comparison loss, >= 0.
        """
        super().__init__(spec)
        self.share = share
        self.weight = weight
        self.gate = build_gate(spec)
        self.register_buffer("last", torch.zeros(()))

    def forward(
        self, x: Float[Tensor, "G T D"], mask: Bool[Tensor, "G T"] | None = None
    ) -> SlotRouting:
        logits = self.gate(x)  # [G, T, E]
        gates = logits.detach().softmax(dim=-1)
        if not self.training or self.spec.num_experts == 1:
            return self.choose_tokens(gates.transpose(1, 2), mask)
        compared = self._sample(gates)  # [G, T, E], two experts for each sampled token
        routing = self.choose_tokens((gates + 2 * compared).transpose(1, 2), mask).reweighed(gates)
        return self._learn(routing, logits, compared)

    def _sample(self, gates: Tensor) -> Tensor:
        """Sample tokens, and for each its best expert and another one at random, [G, T, E]."""
        best = gates.argmax(dim=-1, keepdim=True)
        shift = torch.randint(1, self.spec.num_experts, best.shape, device=gates.device)
        both = torch.cat([best, (best + shift) % self.spec.num_experts], dim=-1)
        sampled = torch.rand(gates.shape[:2], device=gates.device) < self.share
        return (
            torch.zeros_like(gates, dtype=torch.bool).scatter(-1, both, True) & sampled[..., None]
        )

    def _learn(self, routing: SlotRouting, logits: Tensor, compared: Tensor) -> SlotRouting:
        """Let combine weights of compared pairs, if both have a slot, train the logits."""
        groups, num_experts, capacity = routing.tokens.shape
        group, expert, slot = (routing.tokens != EMPTY).nonzero(as_tuple=True)
        token = routing.tokens[group, expert, slot]
        slot_of_pair = torch.full(compared.shape, -1, device=logits.device)  # [G, T, E]
        slot_of_pair[group, token, expert] = (group * num_experts + expert) * capacity + slot
        compared_slots = slot_of_pair.masked_fill(~compared, -1)
        both = (compared_slots >= 0).sum(dim=-1) == 2
        slots, experts = compared_slots[both].topk(2, dim=-1)  # [N, 2]
        flat = routing.weights.flatten()
        # without comparisons too: other processes may have some, and then wait for this one
        weights, losses = _Compare.apply(logits[both].gather(1, experts), flat[slots], self.last)
        loss = mean_of_tokens(
            torch.zeros_like(logits[..., 0]).index_put((both,), losses), both, self.scope
        )
        mixed = flat.index_put((slots,), weights).unflatten(0, (groups, num_experts, capacity))
        return SlotRouting(
            routing.tokens, mixed, routing.num_tokens, {"comparison": self.weight * loss}
        )
