"""Hash: a token's expert is a fixed random function of its id; nothing is learned.

Roller et al., "Hash Layers For Large Sparse Models" (2021), https://arxiv.org/abs/2106.04426,
section 3.1, random hash. Not in the paper: the budget limits slots in training, and models without
token ids (images) hash the position: every E neighbours go to E different experts, in an order that
the hash of their block shifts. (Positions hashed one by one load experts unevenly, training then
refuses the same tokens always, and evaluation meets experts that never saw them.)
"""

from __future__ import annotations

from typing import Annotated

from annotated_types import Ge
from jaxtyping import Bool, Float
from torch import Tensor

from moesuite.routing.router import LayerSpec, Router, Routing, real_positions


class Hash(Router):
    """One expert by the hash of the token's id, with weight 1."""

    paper = "Roller et al. 2021, https://arxiv.org/abs/2106.04426"
    drops = True
    causal = True

    def __init__(self, spec: LayerSpec, salt: Annotated[int, Ge(0)] = 0) -> None:
        """Build the router.

        Args:
            spec: the layer.
            salt: chooses one of the hash functions, >= 0.
        """
        super().__init__(spec)
        self.salt = salt

    def forward(
        self, x: Float[Tensor, "G T D"], mask: Bool[Tensor, "G T"] | None = None
    ) -> Routing:
        groups, length, _ = x.shape
        if self.ids is not None:
            experts = self._mixed(self.ids) % self.spec.num_experts  # [G, T]
        else:
            positions = real_positions(x, mask)
            experts = (
                positions + self._mixed(positions // self.spec.num_experts)
            ) % self.spec.num_experts
        return self.choose_experts(x.new_ones(groups, length, 1), experts[..., None], mask)

    def _mixed(self, ids: Tensor) -> Tensor:
        mixed = (
            ids + self.salt + 1
        ) * 0x9E3779B1 & 0xFFFFFFFF  # multiply and fold twice: neighbours part ways
        mixed = (mixed ^ (mixed >> 15)) * 0x85EBCA6B & 0xFFFFFFFF
        return mixed ^ (mixed >> 13)
