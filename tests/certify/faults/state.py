"""Routers with one fault each in state or randomness: evaluation changes, remembers or draws."""

from __future__ import annotations

import random

import numpy as np
import torch
from torch import Tensor

from moesuite.routing.router import LayerSpec
from tests.certify.faults.base import Good

# state between evaluations


class MovedMean(Good):
    def __init__(self, spec: LayerSpec) -> None:
        super().__init__(spec)
        self.register_buffer("mean", torch.zeros(spec.dim))

    def logits(self, x: Tensor, mask: Tensor | None) -> Tensor:
        self.mean = 0.9 * self.mean + 0.1 * x.detach().mean(dim=(0, 1))
        return self.gate(x - self.mean)


class MovedBufferUnread(Good):
    def __init__(self, spec: LayerSpec) -> None:
        super().__init__(spec)
        self.register_buffer("seen", torch.zeros(()))

    def logits(self, x: Tensor, mask: Tensor | None) -> Tensor:
        self.seen += 1
        return self.gate(x)


class CallCounter(Good):
    calls = 0

    def logits(self, x: Tensor, mask: Tensor | None) -> Tensor:
        self.calls += 1
        return self.gate(x) * (-1 if self.calls % 2 else 1)


class RareCallCounter(CallCounter):
    def logits(self, x: Tensor, mask: Tensor | None) -> Tensor:
        self.calls += 1
        return self.gate(x) * (-1 if self.calls % 333 == 0 else 1)


class ClassCounter(Good):
    calls = 0

    def logits(self, x: Tensor, mask: Tensor | None) -> Tensor:
        type(self).calls += 1
        return self.gate(x) * (-1 if type(self).calls % 50 == 0 else 1)


class CounterInLongGroups(Good):
    calls = 0

    def logits(self, x: Tensor, mask: Tensor | None) -> Tensor:
        self.calls += x.shape[1] > 30 and not self.training
        return self.gate(x).roll(self.calls, -1)


class RemembersLast(Good):
    last: Tensor | None = None

    def logits(self, x: Tensor, mask: Tensor | None) -> Tensor:
        shift = 0.0 if self.last is None else self.last
        self.last = x.detach().sum()
        return self.gate(x + shift)


# random in a few per cent of the calls


def coin(source: str) -> float:
    if source == "torch":
        return torch.rand(()).item()
    return random.random() if source == "python" else float(np.random.rand())


class Rarely(Good):
    source = "torch"

    def logits(self, x: Tensor, mask: Tensor | None) -> Tensor:
        if not self.training and coin(self.source) < 0.03:
            return -self.gate(x)
        return self.gate(x)


class RarelyByPython(Rarely):
    source = "python"


class RarelyByNumpy(Rarely):
    source = "numpy"


class RarelyByItself(Good):
    def __init__(self, spec: LayerSpec) -> None:
        super().__init__(spec)
        self.draws = np.random.default_rng(0)

    def logits(self, x: Tensor, mask: Tensor | None) -> Tensor:
        return self.gate(x) * (-1 if self.draws.random() < 0.03 else 1)


class Unseeded(Good):
    def logits(self, x: Tensor, mask: Tensor | None) -> Tensor:
        if not self.training:
            return self.gate(x)
        return self.gate(x + float(np.random.default_rng().random()))


class NoiseInLongGroups(Good):
    def logits(self, x: Tensor, mask: Tensor | None) -> Tensor:
        logits = self.gate(x)
        return (
            logits + torch.randn_like(logits) if x.shape[1] > 30 and not self.training else logits
        )


class Reseeds(Good):
    def logits(self, x: Tensor, mask: Tensor | None) -> Tensor:
        torch.manual_seed(0)
        return self.gate(x)


class ReseedsInLongTraining(Good):
    def logits(self, x: Tensor, mask: Tensor | None) -> Tensor:
        if self.training and x.shape[1] > 30:
            np.random.seed(0)
        return self.gate(x)
