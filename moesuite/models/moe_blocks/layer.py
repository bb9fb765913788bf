"""The layer that replaces an MoE layer of a Hugging Face model, called as the model calls it."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from moesuite.models.moe_blocks.blocks import Block
from moesuite.models.moe_blocks.original import OWN
from moesuite.nn.moe import MoE
from moesuite.routing.router import Router


class ReroutedMoE(MoE):
    """An MoE layer on a trained gate and experts.

    Attributes:
        paired: whether it returns a second output, None, where the model's layer returned the
            scores of its gate: models only unpack them.
    """

    paired = False

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Any:
        """Return [G, ..., D]; further arguments are those of the model's other kinds of layer."""
        y = super().forward(x)
        return (y, None) if self.paired else y


def rerouted(
    block: Block,
    router: Router,
    renormalise: bool = False,
    in_decoder: bool = False,
) -> ReroutedMoE:
    """Return the layer that replaces a block. The model's own rule scales its weights itself."""
    experts = block.trained_experts(1.0 if router.name == OWN else block.gate.scale)
    layer = ReroutedMoE(
        router, experts, in_decoder=in_decoder, renormalise=renormalise, shared=block.shared
    )
    layer.paired = block.paired
    return layer.to(next(experts.parameters()).device)
