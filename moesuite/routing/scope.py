"""Over which tokens statistics of routing are taken: all of a step's, one process's share of them, or each sequence's.

Balance losses and running statistics are functions of sums over tokens, and not linear ones: the
mean of the functions of two halves is not the function of the whole. So the sums are taken over
units, of which `balance_scope` says what they are; the function is applied to each unit, and the
results are averaged:

global: one unit, the real tokens of a step on all processes: what one process computes that sees
the whole batch.
    Qiu et al., "Demons in the Detail" (2025), https://arxiv.org/abs/2501.11873, show why: balance
    within small batches keeps experts from specialising.
local: a unit is one process's share of the batch, as in most training code; its result depends on
their number. sequence: a unit is a group (a sequence, an image).

Sums over processes, of counts as well, weigh every token alike, however many of them a process has.
Their gradient is that of one process once data parallelism has averaged the gradients, as DDP and
FSDP do. Processes talk in training only, so that in evaluation they may have different numbers of
batches; each batch of gradient accumulation is a step. Not made equal: random draws (noise, jitter,
dropout, mixup, sampled comparisons), which each process makes for its own share; and a task's loss,
which is the mean of its means over processes, whose tokens may differ in number.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F

from moesuite.config.schema import BalanceScope

_talking = True


@contextmanager
def alone() -> Iterator[None]:
    """Within this, training passes of this process are its own, as for measurements that others do not make in step."""
    global _talking
    before, _talking = _talking, False
    try:
        yield
    finally:
        _talking = before


def processes() -> int:
    """Return how many processes train together."""
    ready = _talking and torch.distributed.is_available() and torch.distributed.is_initialized()
    return torch.distributed.get_world_size() if ready else 1


@dataclass(frozen=True)
class Scope:
    """Takes statistics over U units of the tokens of one forward pass.

    Args:
        balance: what a unit is.
        training: whether the other processes make the same pass.
    """

    balance: BalanceScope = "global"
    training: bool = False

    @property
    def world(self) -> int:
        """Processes whose tokens count."""
        return processes() if self.training else 1

    def over_tokens(self, values: Float[Tensor, "G T ..."]) -> Float[Tensor, "U ..."]:
        """Sum over this process's tokens of each unit; `join` adds those of the other processes."""
        return values.sum(dim=1) if self.balance == "sequence" else values.sum(dim=(0, 1))[None]

    def over_groups(self, values: Float[Tensor, "G ..."]) -> Float[Tensor, "U ..."]:
        """Sum over this process's groups of each unit; `join` adds those of the other processes."""
        return values if self.balance == "sequence" else values.sum(dim=0, keepdim=True)

    def over_pairs(
        self, experts: Int[Tensor, "G T K"], values: Float[Tensor, "G T K"], num_experts: int
    ) -> Float[Tensor, "U E"]:
        """Sum the values of (token, expert) pairs by expert; `join` adds those of the other processes.

        Token by token first: the sums of one scatter over all pairs do not repeat to the last bit
        on a GPU.
        """
        by_token = values.new_zeros(*experts.shape[:2], num_experts).scatter_add(2, experts, values)
        return self.over_tokens(by_token)

    def join(self, *sums: Float[Tensor, "U ..."]) -> tuple[Tensor, ...]:
        """Add the sums of all processes to units that span them: one message for all that are given."""
        if self.balance != "global" or self.world == 1:
            return sums
        total = _total(torch.cat([value.flatten() for value in sums]))
        parts = total.split([value.numel() for value in sums])
        return tuple(part.view_as(value) for part, value in zip(parts, sums, strict=True))

    def mean(
        self, values: Float[Tensor, "U ..."], tokens: Float[Tensor, " U"]
    ) -> Float[Tensor, " ..."]:
        """Return the mean over the units that have tokens, of all processes; with none, what a unit says.

        Args:
            values: a function of the joined sums of each unit.
            tokens: joined number of real tokens (or groups) of each unit.
        """
        alike = self.balance == "global" or (self.balance == "local" and self.world == 1)
        if alike:  # all processes have the same one
            return values[0]
        present = tokens > 0
        inside = torch.where(present.view(-1, *[1] * (values.ndim - 1)), values, 0.0).sum(dim=0)
        both = torch.cat([inside.flatten(), present.sum().to(inside)[None]])
        both = _total(both) if self.world > 1 else both
        total, count = both[:-1].view_as(inside), both[-1]
        return torch.where(count > 0, total / count.clamp(min=1), values[0])

    def tokens(
        self, values: Float[Tensor, "G T ..."], real: Bool[Tensor, "G T"]
    ) -> tuple[Float[Tensor, "U N ..."], Bool[Tensor, "U N"]]:
        """Return the values of all tokens of each unit, without gradient, and which of them are real."""
        values = values.detach()
        if self.balance == "sequence":
            return values, real
        flat, alive = values.flatten(0, 1), real.flatten()
        if self.balance == "global" and self.world > 1:
            flat, alive = _everywhere(flat), _everywhere(alive.to(torch.uint8)).bool()
        return flat[None], alive[None]


ONE_BATCH = Scope()  # the tokens at hand, whatever other processes do


def _total(values: Tensor) -> Tensor:
    """Add up over processes. The gradient is scaled by their number, which averaging gradients takes back."""
    total = values.detach().clone()
    torch.distributed.all_reduce(total)
    return total + processes() * (values - values.detach()) if values.requires_grad else total


def _everywhere(rows: Tensor) -> Tensor:
    """Return the rows [N, ...] of all processes, in their order; each may have another number of them."""
    sizes = [torch.zeros(1, dtype=torch.long, device=rows.device) for _ in range(processes())]
    torch.distributed.all_gather(sizes, torch.tensor([len(rows)], device=rows.device))
    counts = [int(size) for size in sizes]
    padded = F.pad(rows, (0, 0) * (rows.ndim - 1) + (0, max(counts) - len(rows)))
    parts = [torch.empty_like(padded) for _ in counts]
    torch.distributed.all_gather(parts, padded)
    return torch.cat([part[:count] for part, count in zip(parts, counts, strict=True)])
