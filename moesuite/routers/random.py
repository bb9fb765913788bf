"""Control: random experts. A learned router that does not beat them has learned nothing.

In training every token draws K experts anew; in evaluation the draw depends on its position only,
so that two passes agree. The combine weight is 1/K.
"""

from __future__ import annotations

from typing import Annotated

import torch
from annotated_types import Ge
from jaxtyping import Bool, Float
from torch import Tensor

from moesuite.routing.router import LayerSpec, Router, Routing, real_positions, top

LONGEST = 8192  # tokens of a group in an exported graph


class Random(Router):
    """K different experts, drawn uniformly."""

    paper = "Control: chance"
    drops = True

    def __init__(self, spec: LayerSpec, k: Annotated[int, Ge(1)] = 1) -> None:
        """Build the router.

        Args:
            spec: the layer.
            k: experts per token, in [1, E].

        Raises:
            UserError: if k > E.
        """
        super().__init__(spec)
        self.k = self.choices(k)
        self.drawn: Tensor | None = None
        self.causal = k == 1  # else a later first choice takes the slot of an earlier second one

    def forward(
        self, x: Float[Tensor, "G T D"], mask: Bool[Tensor, "G T"] | None = None
    ) -> Routing:
        groups, length, _ = x.shape
        if self.training:
            draws = torch.rand(groups, length, self.spec.num_experts, device=x.device)
        else:
            draws = self._fixed_draws(length).to(x.device)[real_positions(x, mask)]
        _, experts = top(draws, self.k)
        return self.choose_experts(x.new_full(experts.shape, 1 / self.k), experts, mask)

    def make_static(self, slots_per_token: float | None = None) -> None:
        """Draw in advance, as an exported graph has no generator of its own."""
        super().make_static(slots_per_token)
        self.drawn = self._fixed_draws(LONGEST)

    def _fixed_draws(self, length: int) -> Tensor:
        """Return the draws of each position in evaluation, [T, E]."""
        if self.drawn is not None and length <= LONGEST:
            return self.drawn[:length]
        # on the CPU: its generator gives longer sequences the same prefix
        generator = torch.Generator().manual_seed(0)
        return torch.rand(length, self.spec.num_experts, generator=generator)
