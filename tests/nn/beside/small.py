"""Small MoE layers with parts beside their experts, each expert another MLP."""

from __future__ import annotations

import torch
from torch import Tensor

from moesuite import LayerSpec, MoE
from moesuite.certify.harness import small_mlp
from moesuite.nn.beside.parts import Parts
from moesuite.routers import build_router

DIM, HIDDEN, EXPERTS, GROUPS, TOKENS = 8, 12, 4, 3, 9


def layer_of(name: str, parts: Parts, **options: object) -> MoE:
    """Return a layer of four distinct experts, in evaluation."""
    torch.manual_seed(0)
    spec = LayerSpec(DIM, EXPERTS, tokens=TOKENS)
    spec = spec.with_null_experts(sum(parts.null_experts.values()))
    router = build_router(name, spec, options)
    layer = parts.layer(router, small_mlp(DIM, HIDDEN)).eval()
    torch.manual_seed(1)
    for parameter in layer.experts.parameters():
        parameter.data.add_(torch.randn_like(parameter))
    return layer


def tokens(seed: int = 0) -> Tensor:
    return torch.randn(GROUPS, TOKENS, DIM, generator=torch.Generator().manual_seed(seed))
