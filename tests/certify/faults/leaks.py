"""Routers that look ahead: somewhere, sometimes, or at some length only."""

from __future__ import annotations

import torch
from torch import Tensor

from moesuite.routing.router import Routing
from tests.certify.faults.base import Good

# a look ahead


class Leak(Good):
    """Sees the mean of the whole group, where `leaks` says so."""

    def leaks(self, length: int) -> bool:
        return True

    def logits(self, x: Tensor, mask: Tensor | None) -> Tensor:
        return (
            self.gate(x + x.mean(dim=1, keepdim=True)) if self.leaks(x.shape[1]) else self.gate(x)
        )


class LeakInTraining(Leak):
    def leaks(self, length: int) -> bool:
        return self.training


class LeakBeyond24(Leak):
    def leaks(self, length: int) -> bool:
        return length > 24


class LeakAt64(Leak):
    def leaks(self, length: int) -> bool:
        return length == 64


class LeakInTrainingAt128(Leak):
    def leaks(self, length: int) -> bool:
        return self.training and length == 128


class LeakBeyond128(Leak):
    def leaks(self, length: int) -> bool:
        return length > 128


class LeakWhereLarge(Good):
    """Turns around where the last token is large: no standard normal one is."""

    def logits(self, x: Tensor, mask: Tensor | None) -> Tensor:
        large = x[:, -1:].norm(dim=-1, keepdim=True) > 3 * x.shape[-1] ** 0.5
        return self.gate(x) * torch.where(large, -1, 1)


class LeakWhereSlotsAreFew(Good):
    """Serves tokens by their gate where capacity binds in evaluation only.

    A later one takes the slot.
    """

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Routing:
        gates, experts = self.gate(x).softmax(dim=-1).max(dim=-1, keepdim=True)
        return self.choose_experts(gates, experts, mask, batch_priority=not self.training)
