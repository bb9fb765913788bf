"""Metrics of language modelling: means over the scored targets of a split, and leaks."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F
from torchmetrics import Metric

from moesuite.task import Lookahead

ROUNDING = 1e-4  # of an output's largest value: other sizes of matrix products round otherwise


class MeanLoss(Metric):
    """Mean loss in nats per target, times `scale`; or its exponential, the perplexity."""

    total: Tensor
    count: Tensor

    def __init__(self, scale: float = 1.0, exponent: bool = False) -> None:
        super().__init__()
        self.scale = scale
        self.exponent = exponent
        self.add_state("total", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("count", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, loss: Tensor, count: Tensor) -> None:
        """Add a sum of losses over `count` targets."""
        self.total += loss
        self.count += count

    def compute(self) -> Tensor:
        """Return the mean."""
        mean = self.total / self.count
        return mean.exp() if self.exponent else mean * self.scale


def leak(
    before: Float[Tensor, "B T V"], after: Float[Tensor, "B T V"], targets: Int[Tensor, "B T"]
) -> Lookahead:
    """Measure how far logits depend on later tokens, which were exchanged after `before`."""
    nats = F.cross_entropy(after.flatten(0, 1), targets.flatten())
    nats -= F.cross_entropy(before.flatten(0, 1), targets.flatten())
    changed = (before - after).abs().amax(dim=-1) > ROUNDING * before.abs().amax(dim=-1)
    return Lookahead(outputs=changed.float().mean().item(), bits=nats.item() / math.log(2))
