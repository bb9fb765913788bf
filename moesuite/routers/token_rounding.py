"""Token rounding: top-K whose number of tokens for each expert is a multiple of a GPU's tile.

Guo et al., "SonicMoE: Accelerating MoE with IO and Tile-aware Optimizations" (2025),
https://arxiv.org/abs/2512.14080, and its code, benchmarks/moe-token-rounding.py: tokens take their
top-K experts by softmax(x W_g); the number f_e of tokens of an expert in the batch is rounded to a
multiple of the tile, nearest, up or down; the expert keeps so many tokens, first those that chose
it, the best first by their gates over their sum in the token, then all others by their scores, so
that at most a tile is lost or added. The combine weight is the raw score. Evaluation is top-K.
Which tokens are kept depends on the whole batch: training is not causal. Not in the paper: tiles of
8 by default, for small batches (128 on a GPU); ties go to the earlier token; the balance loss; with
balance_scope=sequence, each group is rounded by itself, else the batch of one process.
"""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from annotated_types import Ge
from jaxtyping import Bool, Float
from torch import Tensor

from moesuite.routing.assignment import stable_sort
from moesuite.routing.capacity import refuse_limit
from moesuite.routing.losses import balance_loss
from moesuite.routing.router import LayerSpec, Router, Routing, build_gate, top

ROUND = {"nearest": torch.round, "up": torch.ceil, "down": torch.floor}


def keep(priority: Float[Tensor, "U N E"], counts: Float[Tensor, "U E"]) -> Bool[Tensor, "U N E"]:
    """Return which tokens are among the first of each expert, as many as `counts`."""
    _, order = stable_sort(priority.transpose(1, 2), descending=True)  # [U, E, N]
    is_first = torch.arange(priority.shape[1], device=priority.device) < counts[..., None]
    return torch.zeros_like(is_first).scatter(2, order, is_first).transpose(1, 2)


class TokenRounding(Router):
    """Top-K, and in training a multiple of the tile for each expert."""

    paper = "Guo et al. 2025, https://arxiv.org/abs/2512.14080"
    adaptive = True
    bounded = False
    batch_coupled = True

    def __init__(
        self,
        spec: LayerSpec,
        k: Annotated[int, Ge(1)] = 1,
        tile: Annotated[int, Ge(1)] = 8,
        rounding: Literal["nearest", "up", "down"] = "nearest",
        balance_weight: Annotated[float, Ge(0)] = 0.01,
    ) -> None:
        """Build the router.

        Args:
            spec: the layer.
            k: experts per token, in [1, E].
            tile: numbers of tokens are multiples of it, >= 1.
            rounding: nearest (halves to even multiples), up or down.
            balance_weight: weight of the balance loss, >= 0.

        Raises:
            UserError: if k > E, or for a limit in evaluation, which there is none of.
        """
        super().__init__(spec)
        refuse_limit(spec, "token_rounding", "token_choice")
        self.k = self.choices(k)
        self.tile = tile
        self.rounded = ROUND[rounding]
        self.balance_weight = balance_weight
        self.gate = build_gate(spec)

    def forward(
        self, x: Float[Tensor, "G T D"], mask: Bool[Tensor, "G T"] | None = None
    ) -> Routing:
        logits = self.gate(x)  # [G, T, E]
        scores = logits.softmax(dim=-1)
        gates, experts = top(scores.detach(), self.k)
        real = torch.ones_like(scores[..., 0], dtype=torch.bool) if mask is None else mask
        chosen = torch.zeros_like(scores, dtype=torch.bool).scatter(2, experts, True)
        chosen = chosen & real[..., None]
        if self.training:
            shares = scores.detach() / gates.sum(dim=-1, keepdim=True)
            priority = torch.where(chosen, shares, scores.detach() - 1)
            chosen = self._rounded(priority.masked_fill(~real[..., None], -2.0), chosen)
            chosen = chosen & real[..., None]
        balance = self.balance_weight * balance_loss(logits, experts, mask, self.scope)
        return self.choose_pairs(scores, chosen, mask, {"balance": balance})

    def _rounded(self, priority: Tensor, chosen: Tensor) -> Tensor:
        """Return the pairs that are left of those chosen, and added to them, [G, T, E]."""
        pooled = self.spec.balance_scope != "sequence"
        units = priority.flatten(0, 1)[None] if pooled else priority
        counts = (chosen.flatten(0, 1)[None] if pooled else chosen).sum(dim=1)  # [U, E]
        return keep(units, self.rounded(counts / self.tile) * self.tile).view_as(chosen)
