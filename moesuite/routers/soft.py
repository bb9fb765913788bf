"""Soft MoE: every slot reads a convex mixture of all tokens, every token a convex mixture of all slots' answers.

Puigcerver et al., "From Sparse to Soft Mixtures of Experts" (2023), https://arxiv.org/abs/2308.00951, section 2.1:
D = softmax over tokens of X Φ, X̃ = Dᵀ X, C = softmax over all E·C slots of X Φ, Y = C Ỹ; section 2.3 for the
L2-normalisation of X over D and of Φ, times one trained scale. Normalisation is for the logits only: experts read X.
Nothing is dropped and nothing is discrete; every output sees every token of its group: not causal.
"""

from __future__ import annotations

from typing import Annotated

import torch
from annotated_types import Ge
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from moesuite.errors import UserError
from moesuite.router import LayerSpec, Router, SoftRouting


class Soft(Router):
    """Soft mixtures over a fixed number of slots per expert."""

    paper = "Puigcerver et al. 2023, https://arxiv.org/abs/2308.00951"

    def __init__(self, spec: LayerSpec, slots_per_expert: Annotated[int, Ge(1)] | None = None) -> None:
        """Build the router.

        Args:
            spec: the layer.
            slots_per_expert: slots C of each expert, >= 1; None: ceil(slots_per_token · T / E).

        Raises:
            UserError: if `slots_per_expert` is None and the layer's number of tokens is not known.
        """
        super().__init__(spec)
        if slots_per_expert is None:
            if spec.tokens is None:
                raise UserError(
                    "router=soft: its number of slots is a parameter, and the tokens per input are not known here; "
                    "type for example router.slots_per_expert=1"
                )
            slots_per_expert = self.capacity(spec.tokens)
        self.slots_per_expert = slots_per_expert
        self.phi = nn.Parameter(torch.empty(spec.dim, spec.num_experts * slots_per_expert))
        self.scale = nn.Parameter(torch.ones(()))
        nn.init.trunc_normal_(self.phi, std=spec.dim**-0.5)  # LeCun normal

    def forward(self, x: Float[Tensor, "G T D"], mask: Bool[Tensor, "G T"] | None = None) -> SoftRouting:
        phi = self.scale.float() * F.normalize(self.phi.float(), dim=0, eps=1e-6)
        logits = F.normalize(x.float(), dim=-1, eps=1e-6) @ phi  # [G, T, S]
        if mask is None:
            dispatch, combine = logits.softmax(dim=1), logits.softmax(dim=2)
        else:
            real = mask[..., None]
            # the lowest finite number instead of -inf: a group of nothing but padding must not turn into NaN
            dispatch = logits.masked_fill(~real, torch.finfo(logits.dtype).min).softmax(dim=1) * real
            combine = logits.softmax(dim=2) * real
        slots = (self.spec.num_experts, self.slots_per_expert)
        return SoftRouting(dispatch.unflatten(2, slots), combine.unflatten(2, slots))
