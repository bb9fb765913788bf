"""Routers that exceed their budget or miss the dense MLP."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from moesuite.routing.router import LayerSpec, Routing
from tests.certify.faults.base import Good

# work beyond the budget, and drops


class MoreCapacity(Good):
    def capacity(self, tokens: int) -> int:
        return 2 * super().capacity(tokens)


class TakesAnotherSpec(Good):
    def __init__(self, spec: LayerSpec) -> None:
        super().__init__(
            replace(spec, slots_per_token=min(spec.num_experts, 2 * spec.slots_per_token))
        )


class ChangesItsSpec(Good):
    def __init__(self, spec: LayerSpec) -> None:
        super().__init__(spec)
        object.__setattr__(spec, "slots_per_token", min(spec.num_experts, 2 * spec.slots_per_token))


class MoreWhenAlike(Good):
    def forward(self, x: Tensor, mask: Tensor | None = None) -> Routing:
        experts = self.gate(x).argmax(dim=-1)
        most = torch.bincount(experts.flatten(), minlength=self.spec.num_experts).max()
        self.factor = 3 if most > 0.6 * experts.numel() else 1
        return super().forward(x, mask)

    def capacity(self, tokens: int) -> int:
        return self.factor * super().capacity(tokens)


class MoreInEvaluation(Good):
    def capacity(self, tokens: int) -> int:
        return (1 if self.training else 4) * super().capacity(tokens)


class MoreInLongGroups(Good):
    def capacity(self, tokens: int) -> int:
        return (2 if tokens > 100 else 1) * super().capacity(tokens)


class PaddingBuysSlots(Good):
    def group_capacity(self, mask: Tensor) -> Tensor:
        return torch.full_like(mask[:, 0], self.capacity(mask.shape[1]), dtype=torch.long)


class RefusesWithoutSaying(Good):
    drops = False


class RefusesAlways(Good):
    """Keeps its training capacity where no limit is in force."""

    @property
    def slots_per_token(self) -> float:
        return self.spec.slots_per_token


# tokens changed in place


class Doubles(Good):
    def logits(self, x: Tensor, mask: Tensor | None) -> Tensor:
        return self.gate(x.mul_(2.0))


class Clamps(Good):
    """Idempotent, and nothing happens to Gaussian tokens."""

    def logits(self, x: Tensor, mask: Tensor | None) -> Tensor:
        return self.gate(x.clamp_(-100.0, 100.0))


class Rectifies(Good):
    def logits(self, x: Tensor, mask: Tensor | None) -> Tensor:
        return self.gate(x.relu_())
