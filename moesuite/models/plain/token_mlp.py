"""A bare MLP for each token, for data that are vectors already: `token_mlp:<activation>`.

    x ← fc2(act(fc1 x)), or x ← x + fc2(act(fc1 x)) with a residual, `depth` times

Nothing mixes tokens. Without a residual nothing stands beside the MLPs: with an MoE layer in place
of the only one, what the model computes is what routing and experts compute, and a token that no
expert serves gives 0.
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from timm.layers import Mlp
from torch import Tensor, nn

from moesuite.errors import UserError, unknown

ACTIVATIONS = {"relu": nn.ReLU, "gelu": nn.GELU, "silu": nn.SiLU}


class TokenMLP(nn.Module):
    """MLPs one after the other, each applied to every token.

    Args:
        activation: of hidden units: relu, gelu or silu.
        width: D of a token, >= 1.
        hidden: units of each MLP, >= 1.
        depth: number of MLPs, >= 1.
        residual: add the input of each MLP to its output.
    """

    def __init__(
        self, activation: str, width: int, hidden: int, depth: int = 1, residual: bool = False
    ) -> None:
        super().__init__()
        self.residual = residual
        act = ACTIVATIONS[activation]
        self.layers = nn.ModuleList(Mlp(width, hidden, act_layer=act) for _ in range(depth))

    def forward(self, x: Float[Tensor, "B T D"]) -> Float[Tensor, "B T D"]:
        """Return the output of each token.

        In training the first MLP computes the gradient of its input, as one inside a model does:
        costs are those of an MLP, and its MoE layer's part of them is never more than the whole.
        """
        if torch.is_grad_enabled() and self.training and not x.requires_grad:
            x = x.detach().requires_grad_()
        for layer in self.layers:
            x = x + layer(x) if self.residual else layer(x)
        return x


def build_token_mlp(activation: str, pretrained: bool, arguments: dict[str, Any]) -> nn.Module:
    """Build a token MLP, for tasks whose tokens are vectors.

    Args:
        activation: of hidden units.
        pretrained: refused, since there are no such weights.
        arguments: those of `TokenMLP`.

    Raises:
        UserError: for weights that do not exist, or an unknown activation.
    """
    if activation not in ACTIVATIONS:
        raise unknown(
            "activation in backbone", f"token_mlp:{activation}", ACTIVATIONS, "backbone=token_mlp"
        )
    if pretrained:
        raise UserError(
            f"backbone=token_mlp:{activation} has no pretrained weights; "
            "type backbone.pretrained=false"
        )
    built: Any = TokenMLP(activation, **arguments)
    built.built_from = {"token_mlp": activation, "arguments": arguments}
    return built
