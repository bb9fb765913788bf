"""Soft MoE: slots read convex mixtures of tokens, tokens convex mixtures of slot outputs.

Puigcerver et al., "From Sparse to Soft Mixtures of Experts" (2023),
https://arxiv.org/abs/2308.00951, section 2.1: D = softmax over tokens of X Φ, X̃ = Dᵀ X, C =
softmax over all E·C slots of X Φ, Y = C Ỹ; section 2.3 for the L2-normalisation of X over D and of
Φ, times one trained scale. Normalisation affects the logits only: experts read X. Nothing is
dropped and nothing is discrete; every output depends on every token of its group: not causal.

Ablations (the paper's section on "learned routing"): `dispatch` and `combine` may each be "learned"
or "uniform" (equal weights 1/T and 1/S), or both "identity": slot i serves token i only.
"""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from annotated_types import Ge
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from moesuite.errors import UserError
from moesuite.routing.router import LayerSpec, Router, SoftRouting

Mixing = Literal["learned", "uniform", "identity"]


class Soft(Router):
    """Soft mixtures over a fixed number of slots per expert."""

    paper = "Puigcerver et al. 2023, https://arxiv.org/abs/2308.00951"
    tokens_choose = False
    sized = True
    fits_trained_gate = False  # slots have parameters of their own

    def __init__(
        self,
        spec: LayerSpec,
        slots_per_expert: Annotated[int, Ge(1)] | None = None,
        dispatch: Mixing = "learned",
        combine: Mixing = "learned",
    ) -> None:
        """Build the router.

        Args:
            spec: the layer.
            slots_per_expert: slots C of each expert, >= 1; None: ceil(slots_per_token · T / E).
            dispatch: weights of tokens in slots: learned, uniform, or (both) identity.
            combine: weights of slots in tokens: learned, uniform, or (both) identity.

        Raises:
            UserError: if `slots_per_expert` is None and the number of tokens of the layer is
                unknown, or if only one of `dispatch` and `combine` is identity.
        """
        super().__init__(spec)
        if (dispatch == "identity") != (combine == "identity"):
            raise UserError(
                f"router.dispatch={dispatch} router.combine={combine}: expected identity for both "
                "or neither, e.g. router.dispatch=identity router.combine=identity"
            )
        self.dispatch = dispatch
        self.combine = combine
        self.bounded = slots_per_expert is None
        if slots_per_expert is None:
            if spec.tokens is None:
                raise UserError(
                    "router=soft: expected a number of slots, which are parameters, as the tokens "
                    "per input are unknown here, e.g. router.slots_per_expert=1"
                )
            slots_per_expert = self.capacity(spec.tokens)
        self.slots_per_expert = slots_per_expert
        if "learned" in (dispatch, combine):
            self.phi = nn.Parameter(torch.empty(spec.dim, spec.num_experts * slots_per_expert))
            # of one dimension: FSDP shards no scalars
            self.scale = nn.Parameter(torch.ones(1))
            nn.init.trunc_normal_(self.phi, std=spec.dim**-0.5)  # LeCun normal

    def forward(
        self, x: Float[Tensor, "G T D"], mask: Bool[Tensor, "G T"] | None = None
    ) -> SoftRouting:
        logits = self._logits(x)  # [G, T, S]
        dispatch = self._weights(self.dispatch, logits, mask, dim=1)
        combine_mask = mask if self.combine == "identity" else None
        combine = self._weights(self.combine, logits, combine_mask, dim=2)
        if mask is not None:
            dispatch, combine = dispatch * mask[..., None], combine * mask[..., None]
        slots = (self.spec.num_experts, self.slots_per_expert)
        return SoftRouting(dispatch.unflatten(2, slots), combine.unflatten(2, slots))

    def _logits(self, x: Tensor) -> Tensor:
        if "learned" not in (self.dispatch, self.combine):
            return x.new_zeros(*x.shape[:2], self.spec.num_experts * self.slots_per_expert)
        phi = self.scale.float().squeeze() * F.normalize(self.phi.float(), dim=0, eps=1e-6)
        return F.normalize(x.float(), dim=-1, eps=1e-6) @ phi

    def _weights(self, mixing: Mixing, logits: Tensor, mask: Tensor | None, dim: int) -> Tensor:
        if mixing == "identity":
            return self._identity(logits, mask)
        logits = logits if mixing == "learned" else torch.zeros_like(logits)
        if mask is not None:
            # the lowest finite number, as -inf would give NaN for a group of padding only
            logits = logits.masked_fill(~mask[..., None], torch.finfo(logits.dtype).min)
        return logits.softmax(dim=dim)

    def _identity(self, logits: Tensor, mask: Tensor | None) -> Tensor:
        """Return 1 for the i-th real token and slot i, else 0, [G, T, S]."""
        real = torch.ones_like(logits[..., 0], dtype=torch.bool) if mask is None else mask
        rank = real.cumsum(dim=1) - 1
        return (rank[..., None] == torch.arange(logits.shape[-1], device=logits.device)).to(logits)
