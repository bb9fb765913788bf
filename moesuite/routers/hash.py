"""Hash: the expert of a token is a fixed random function of its id; nothing is learned.

Roller et al., "Hash Layers For Large Sparse Models" (2021), https://arxiv.org/abs/2106.04426,
section 3.1, random hash. Not in the paper: the budget limits slots in training, and models without
token ids (images) hash positions: E neighbours go to E different experts, in an order shifted by
the hash of their block. (Hashing every position by itself loads experts unevenly; training would
always refuse the same tokens, and in evaluation they would meet experts that never saw them.)
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
            salt: selects a hash function, >= 0.
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
            shift = self._mixed(positions // self.spec.num_experts)
            experts = (positions + shift) % self.spec.num_experts
        return self.choose_experts(x.new_ones(groups, length, 1), experts[..., None], mask)

    def _mixed(self, ids: Tensor) -> Tensor:
        # multiply and fold twice, so that neighbours get unrelated values
        mixed = (ids + self.salt + 1) * 0x9E3779B1 & 0xFFFFFFFF
        mixed = (mixed ^ (mixed >> 15)) * 0x85EBCA6B & 0xFFFFFFFF
        return mixed ^ (mixed >> 13)
