"""Null experts: experts without an MLP in the pool that a router chooses from.

Jin et al., "MoE++" (2024), https://arxiv.org/abs/2410.07348, equations 3 to 5:

    zero      E(x) = 0
    copy      E(x) = x
    constant  E(x) = α₁ x + α₂ v,  [α₁, α₂] = softmax(W_c x), with v and W_c trained

Zeng et al., "AdaMoE" (2024), https://arxiv.org/abs/2406.13233, and Kilian et al., "Improving MoE
Compute Efficiency by Composing Weight and Data Sparsity" (2026), https://arxiv.org/abs/2601.15370,
have zero experts alone: a token that chooses them does less work, without looking ahead as expert
choice does. Among E real and N null experts, all balanced alike, a token that makes K choices gets
K · E / (E + N) real experts on average.

The router is told of one pool of E + N experts, and of slots per token in the same proportion, so
that `slots_per_token` goes on to count real experts' work, and their capacity is what it is without
null experts; a null expert has that of a real one. The weight of a zero expert is 0: where weights
are divided by their sum, it takes no part, as in MoE++'s code and in Kilian et al. Not in the
papers: v and W_c start normal with standard deviation 0.02. Not from the papers: MoE++'s gating
residuals, its τ (here 1), and Kilian et al.'s single logit for all null experts.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from moesuite.errors import UserError
from moesuite.routing.forms import RaggedRouting, Routing, SlotRouting

STD = 0.02


class NullExperts(nn.Module):
    """N experts without an MLP, in this order: copies, constants, zeros.

    Args:
        dim: width D of a token.
        counts: number of experts by kind, see `moesuite.config.sections.null_counts`.
    """

    def __init__(self, dim: int, counts: Mapping[Any, int]) -> None:
        super().__init__()
        self.counts = dict(counts)
        self.copies = counts.get("copy", 0)
        self.constants = counts.get("constant", 0)
        if self.constants:
            self.vectors = nn.Parameter(torch.randn(self.constants, dim) * STD)
            self.mix = nn.Parameter(torch.randn(2 * self.constants, dim) * STD)

    @property
    def num_experts(self) -> int:
        """N."""
        return sum(self.counts.values())

    def muted(self, routing: Routing) -> Routing:
        """Return a routing of the pool, with weight 0 for zero experts, whose output is 0.

        Raises:
            UserError: for a soft routing, in which tokens choose no experts.
        """
        if not isinstance(routing, SlotRouting | RaggedRouting):
            raise UserError(
                f"null_experts: its router returns a {type(routing).__name__}, in which tokens do "
                "not choose experts; expected tokens_choose = False in its class"
            )
        zeros = self.num_experts - self.copies - self.constants
        size = routing.tokens.shape[1] if isinstance(routing, SlotRouting) else routing.num_experts
        return routing.muted(size - zeros) if zeros else routing

    def forward(
        self, y: Float[Tensor, "G T D"], x: Float[Tensor, "G T D"], routing: Routing
    ) -> Float[Tensor, "G T D"]:
        """Add the null experts' weighted outputs for the tokens `x` to those of the others, `y`."""
        speaking = self.copies + self.constants
        if not speaking:
            return y
        weights = routing.token_weights().to(x)
        first = weights.shape[-1] - self.num_experts
        weights = weights[..., first : first + speaking]
        copied = weights[..., : self.copies].sum(dim=-1, keepdim=True)
        if self.constants:
            shares = F.linear(x, self.mix).unflatten(-1, (self.constants, 2)).softmax(dim=-1)
            parts = weights[..., self.copies :, None] * shares  # [G, T, constants, 2]
            copied = copied + parts[..., 0].sum(dim=-1, keepdim=True)
            y = y + parts[..., 1].to(x) @ self.vectors.to(x)
        return y + copied.to(x) * x
