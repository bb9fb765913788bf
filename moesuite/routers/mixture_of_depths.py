"""Mixture-of-Depths: the best tokens of a sequence go through the MLP, all others skip it.

Raposo et al., "Mixture-of-Depths: Dynamically allocating compute in transformer-based language
models" (2024), https://arxiv.org/abs/2404.02258, equation 1: with r_t = w·x_t, y_t = r_t MLP(x_t)
for the C tokens of a sequence with the largest r, and 0, i.e. the residual stream alone, for the
rest. C is the budget: num_experts=1 slots_per_token=0.125 is the paper's best. Top-C looks ahead:
training is not causal. Evaluation is: as in section 3.5, a second small network, trained behind a
stop-gradient by binary cross-entropy to tell which tokens are among the top C, decides for each
token by itself, without a capacity. With E experts, each is a path of its own around which tokens
go, with a gate, its C tokens and a prediction; a token may take several paths or none. Not in the
paper: this form for E > 1 (its MoDE puts "no-op" experts among the others; see `null_experts`);
only MLPs are skipped, not attention; the predictor's hidden width is D/4. r may be negative, so
that an upcycled model does not start as the dense one.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

from moesuite.routing.capacity import refuse_limit
from moesuite.routing.layer import MLPGate
from moesuite.routing.losses import mean_of_tokens
from moesuite.routing.router import LayerSpec, Router, Routing, build_gate


class MixtureOfDepths(Router):
    """Top-C tokens of each expert by a linear gate, predicted in evaluation."""

    paper = "Raposo et al. 2024, https://arxiv.org/abs/2404.02258"
    adaptive = True
    bounded = False  # in evaluation
    negative_weights = True
    tokens_choose = False
    fits_trained_gate = False  # a predictor besides

    def __init__(self, spec: LayerSpec) -> None:
        super().__init__(spec)
        refuse_limit(spec, "mixture_of_depths", "expert_choice")
        self.gate = build_gate(spec)
        self.predictor = MLPGate(spec.dim, spec.num_experts)

    def forward(
        self, x: Float[Tensor, "G T D"], mask: Bool[Tensor, "G T"] | None = None
    ) -> Routing:
        gates = self.gate(x)  # [G, T, E]
        real = torch.ones_like(gates[..., 0], dtype=torch.bool) if mask is None else mask
        predicted = self.predictor(x.detach())
        if not self.training:
            return self.choose_pairs(gates, (predicted > 0) & real[..., None], mask)
        ranks = gates.detach().masked_fill(~real[..., None], 0.0)
        ranks = ranks - ranks.amin(dim=1, keepdim=True)  # >= 0, in the same order
        routing = self.choose_tokens(ranks.transpose(1, 2), mask)
        slots = routing.tokens + 1  # 0: empty
        taken = ranks.new_zeros(x.shape[0], gates.shape[-1], x.shape[1] + 1).scatter(2, slots, 1.0)
        errors = F.binary_cross_entropy_with_logits(
            predicted, taken[..., 1:].transpose(1, 2), reduction="none"
        )
        loss = mean_of_tokens(errors.mean(dim=-1), mask, self.scope)
        return replace(routing, losses={"predictor": loss}).reweighed(gates)
