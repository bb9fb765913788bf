"""Routers that depend on other groups, on padding or on order; losses or gradients that break."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from moesuite.routing.router import LayerSpec, Routing
from tests.certify.faults.base import Good

# the groups beside it


class Coupled(Good):
    modes: tuple[bool, ...] = (False, True)

    def logits(self, x: Tensor, mask: Tensor | None) -> Tensor:
        return self.gate(x - x.mean(dim=0)) if self.training in self.modes else self.gate(x)


class CoupledInTraining(Coupled):
    modes = (True,)


class CoupledByCount(Good):
    """Reads nothing of the other groups, but how many there are."""

    def logits(self, x: Tensor, mask: Tensor | None) -> Tensor:
        return self.gate(x) * (1 if len(x) <= 16 else -1)


class CoupledByOrder(Good):
    """A group sees those before it in the batch."""

    def logits(self, x: Tensor, mask: Tensor | None) -> Tensor:
        return self.gate(x + (x.cumsum(dim=0) - x) * self.training)


# numbers


class Exponential(Good):
    def forward(self, x: Tensor, mask: Tensor | None = None) -> Routing:
        gates = self.gate(x).exp()
        gates, experts = (gates / gates.sum(dim=-1, keepdim=True)).max(dim=-1, keepdim=True)
        return self.choose_experts(gates, experts, mask)


class InfiniteLoss(Good):
    def losses(self, logits: Tensor, mask: Tensor | None) -> dict[str, Tensor]:
        return {"z": logits.exp().mean()}


class Negative(Good):
    def forward(self, x: Tensor, mask: Tensor | None = None) -> Routing:
        gates, experts = self.gate(x).max(dim=-1, keepdim=True)
        return self.choose_experts(gates.tanh() - 0.5, experts, mask)


class NegativeAndSaysSo(Negative):
    negative_weights = True


class NoGradient(Good):
    def __init__(self, spec: LayerSpec) -> None:
        super().__init__(spec)
        self.unused = nn.Parameter(torch.ones(2, 2))


class BrokenGradient(Good):
    def logits(self, x: Tensor, mask: Tensor | None) -> Tensor:
        return (
            self.gate(x) * self.gate(x).square().sum(dim=-1, keepdim=True).sqrt()
        )  # of 0: no gradient


# auxiliary losses


class Real(Good):
    """A loss that is a mean over real tokens, and what its faulty kin make of it."""

    def losses(self, logits: Tensor, mask: Tensor | None) -> dict[str, Tensor]:
        real = torch.ones_like(logits[..., 0]) if mask is None else mask.to(logits)
        return {"z": self.reduced(logits.logsumexp(dim=-1).square() * real, real)}

    def reduced(self, terms: Tensor, real: Tensor) -> Tensor:
        return 1e-4 * terms.sum() / real.sum().clamp(min=1)


class GrowsWithBatch(Real):
    def reduced(self, terms: Tensor, real: Tensor) -> Tensor:
        return super().reduced(terms, real) * len(terms)


class GrowsWithLength(Real):
    def reduced(self, terms: Tensor, real: Tensor) -> Tensor:
        return super().reduced(terms, real) * real.shape[1] ** 0.5


class CountsPadding(Real):
    def reduced(self, terms: Tensor, real: Tensor) -> Tensor:
        return 1e-4 * terms.sum() / real.numel()


class SeesPadding(Real):
    def losses(self, logits: Tensor, mask: Tensor | None) -> dict[str, Tensor]:
        return super().losses(logits, None)


class GrowsAtRandom(GrowsWithBatch):
    def logits(self, x: Tensor, mask: Tensor | None) -> Tensor:
        logits = self.gate(x)
        return logits + torch.randn_like(logits) if self.training else logits


# padding


class IgnoresPadding(Good):
    def forward(self, x: Tensor, mask: Tensor | None = None) -> Routing:
        return super().forward(x, None)


class TakesTheFirst(Good):
    """Knows how many tokens are real and takes them for the first ones.

    Right for padding on the right only.
    """

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Routing:
        if mask is not None:
            mask = torch.arange(x.shape[1], device=x.device) < mask.sum(dim=1, keepdim=True)
        return super().forward(x, mask)


class FromFirstToLast(Good):
    """Takes everything between the first and the last real token.

    Wrong where padding is scattered.
    """

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Routing:
        if mask is not None:
            mask = (mask.cumsum(dim=1) > 0) & (mask.flip(1).cumsum(dim=1).flip(1) > 0)
        return super().forward(x, mask)


class CountsFromTheLeft(Good):
    """Adds a position that padding on the left moves."""

    def logits(self, x: Tensor, mask: Tensor | None) -> Tensor:
        return self.gate(x + torch.arange(x.shape[1], device=x.device)[:, None] % 3)
