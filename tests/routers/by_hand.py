"""Routers whose tokens are their own logits, so that results can be worked by hand."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn

from moesuite.routers.token_choice import TokenChoice
from moesuite.routing.router import LayerSpec, Router


def logits_as_input(router: Router) -> Router:
    """Make the gate the identity, so that tokens are their own logits."""
    router.gate.weight = nn.Parameter(torch.eye(router.spec.num_experts))  # type: ignore[union-attr]
    return router


def token_choice(capacity_tokens: float, num_experts: int = 2, **options: Any) -> Router:
    return logits_as_input(
        TokenChoice(LayerSpec(num_experts, num_experts, capacity_tokens), **options)
    )


# four tokens, two experts: preferences for expert 0 are ln 3, ln 9, ln 2 and -ln 4 -> gates 3/4,
# 9/10, 2/3, 1/5
TOKENS = torch.tensor(
    [[[math.log(3), 0.0], [math.log(9), 0.0], [math.log(2), 0.0], [0.0, math.log(4)]]]
)
