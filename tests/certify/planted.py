"""Routers with one fault each, and what must find it: the check, and words of its sentence.

All start from `Good`, token choice with K = 1, which keeps everything that it claims.
"""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from moesuite.routing.router import Gate, LayerSpec, Router, Routing


class Good(Router):
    drops = True
    causal = True

    def __init__(self, spec: LayerSpec) -> None:
        super().__init__(spec)
        self.gate = Gate(spec.dim, spec.num_experts)

    def logits(self, x: Tensor, mask: Tensor | None) -> Tensor:
        return self.gate(x)

    def losses(self, logits: Tensor, mask: Tensor | None) -> dict[str, Tensor]:
        return {}

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Routing:
        logits = self.logits(x, mask)
        gates, experts = logits.softmax(dim=-1).max(dim=-1, keepdim=True)
        return self.choose_experts(gates, experts, mask, self.losses(logits, mask))


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
    """Serves tokens by their gate where capacity binds in evaluation only: a later one takes the slot."""

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Routing:
        gates, experts = self.gate(x).softmax(dim=-1).max(dim=-1, keepdim=True)
        return self.choose_experts(gates, experts, mask, batch_priority=not self.training)


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
    """Knows how many tokens are real and takes them for the first ones: right for padding on the right only."""

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Routing:
        if mask is not None:
            mask = torch.arange(x.shape[1], device=x.device) < mask.sum(dim=1, keepdim=True)
        return super().forward(x, mask)


class FromFirstToLast(Good):
    """Takes everything between the first and the last real token: wrong where padding is scattered."""

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Routing:
        if mask is not None:
            mask = (mask.cumsum(dim=1) > 0) & (mask.flip(1).cumsum(dim=1).flip(1) > 0)
        return super().forward(x, mask)


class CountsFromTheLeft(Good):
    """Adds a position that padding on the left moves."""

    def logits(self, x: Tensor, mask: Tensor | None) -> Tensor:
        return self.gate(x + torch.arange(x.shape[1], device=x.device)[:, None] % 3)


FAULTS: list[tuple[type[Router], str, list[str]]] = [
    (
        MovedMean,
        "deterministic",
        ["evaluation changes its buffer mean; pass 2 of the same layer in"],
    ),
    (MovedBufferUnread, "deterministic", ["evaluation changes its buffer seen"]),
    (CallCounter, "deterministic", ["of the same layer in evaluation differs"]),
    (RareCallCounter, "deterministic", ["of the same layer in evaluation differs"]),
    (ClassCounter, "deterministic", ["of the same layer in evaluation differs"]),
    (
        CounterInLongGroups,
        "deterministic",
        ["in evaluation differs from the first, in groups of 257"],
    ),
    (RemembersLast, "deterministic", ["of the same layer in evaluation differs"]),
    (Rarely, "deterministic", ["draws at random in evaluation, from torch"]),
    (RarelyByPython, "deterministic", ["draws at random in evaluation, from random (Python)"]),
    (RarelyByNumpy, "deterministic", ["draws at random in evaluation, from numpy.random"]),
    (RarelyByItself, "deterministic", ["draws at random in evaluation, from draws"]),
    (NoiseInLongGroups, "deterministic", ["draws at random in evaluation, from torch"]),
    (Reseeds, "deterministic", ["sets the seed of torch's generator for everybody in evaluation"]),
    (
        ReseedsInLongTraining,
        "deterministic",
        ["sets the seed of numpy's generator for everybody in training"],
    ),
    (Unseeded, "deterministic", ["training with the same seed differs"]),
    (Leak, "causal", ["leaks in evaluation and training at length 24"]),
    (LeakInTraining, "causal", ["claims causal, leaks in training at length 24"]),
    (LeakBeyond24, "causal", ["leaks in evaluation and training at length 64"]),
    (LeakAt64, "causal", ["leaks in evaluation and training at length 64"]),
    (LeakInTrainingAt128, "causal", ["claims causal, leaks in training at length 128"]),
    (LeakBeyond128, "causal", ["leaks in evaluation and training at length 257"]),
    (LeakWhereLarge, "causal", ["leaks in evaluation and training at length 24"]),
    (
        LeakWhereSlotsAreFew,
        "causal",
        ["leaks in evaluation under eval_slots_per_token at length 24"],
    ),
    (
        MoreCapacity,
        "capacity_enforced",
        ["claims to keep to its budget, 2.00 of the budget in training"],
    ),
    (
        TakesAnotherSpec,
        "capacity_enforced",
        ["claims to keep to its budget, 2.00 of the budget in training"],
    ),
    (
        ChangesItsSpec,
        "capacity_enforced",
        ["claims to keep to its budget, 2.00 of the budget in training"],
    ),
    (MoreWhenAlike, "capacity_enforced", ["3.00 of the budget", "alike tokens"]),
    (
        MoreInEvaluation,
        "capacity_enforced",
        ["4.00 of the budget in evaluation under eval_slots_per_token"],
    ),
    (MoreInLongGroups, "capacity_enforced", ["2.00 of the budget", "groups of 128"]),
    (PaddingBuysSlots, "capacity_enforced", ["padding buys slots"]),
    (
        RefusesWithoutSaying,
        "drops_as_claimed",
        ["refuses", "of the pairs asked for in"],
    ),
    (RefusesAlways, "drops_as_claimed", ["of the pairs asked for in evaluation (no limit"]),
    (Doubles, "input_unchanged", ["changes its tokens in place"]),
    (Clamps, "input_unchanged", ["changes its tokens in place", "huge tokens"]),
    (Rectifies, "input_unchanged", ["changes its tokens in place"]),
    (
        Coupled,
        "batch_independent",
        ["depends on the groups beside it in evaluation and in training"],
    ),
    (CoupledInTraining, "batch_independent", ["depends on the groups beside it in training"]),
    (
        CoupledByCount,
        "batch_independent",
        ["depends on the groups beside it in evaluation and in training"],
    ),
    (CoupledByOrder, "batch_independent", ["depends on the groups beside it in training"]),
    (Exponential, "weights_finite", ["NaN or infinity in training", "huge tokens"]),
    (InfiniteLoss, "weights_finite", ["NaN or infinity in training", "huge tokens"]),
    (Negative, "weights_not_negative", ["weights below 0 in training"]),
    (NoGradient, "gradient", ["none for unused"]),
    (BrokenGradient, "gradient", ["NaN or infinity for gate.weight", "zero tokens"]),
    (
        GrowsWithBatch,
        "auxiliary_losses",
        ["loss 'z' in evaluation: 4 times as large for 4 times as many groups"],
    ),
    (GrowsWithLength, "auxiliary_losses", ["2 times as large for groups 4 times as long"]),
    (GrowsAtRandom, "auxiliary_losses", ["loss 'z'", "times as many groups"]),
    (CountsPadding, "auxiliary_losses", ["loss 'z' in evaluation sees padding"]),
    (SeesPadding, "auxiliary_losses", ["loss 'z' in evaluation sees padding"]),
    (IgnoresPadding, "padding_invariant", ["wrong with right padding"]),
    (TakesTheFirst, "padding_invariant", ["wrong with left padding"]),
    (FromFirstToLast, "padding_invariant", ["wrong with scattered padding"]),
    (CountsFromTheLeft, "padding_invariant", ["wrong with left padding"]),
]
