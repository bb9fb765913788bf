"""Metrics of language modelling: means over the scored targets of a split."""

from __future__ import annotations

import torch
from torch import Tensor
from torchmetrics import Metric


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
