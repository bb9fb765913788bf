"""The tokens that routing statistics pool: of a whole step, of one process, or of each sequence.

Balance losses and running statistics are nonlinear functions of sums over tokens: the mean over two
halves is not the value of the whole. Sums are therefore taken over units, which `balance_scope`
defines; the function is applied to each unit, and the results are averaged:

global: one unit, the real tokens of a step on all processes; the same result as a single process
that sees the whole batch.
    Qiu et al., "Demons in the Detail" (2025), https://arxiv.org/abs/2501.11873, show why: balance
    within small batches keeps experts from specialising.
local: a unit is one process's share of the batch, as in most training code; the result depends on
the number of processes.
sequence: a unit is a group (a sequence, an image).

Sums over processes, counts included, weigh every token equally, however many tokens a process has.
Their gradient equals that of a single process once data parallelism has averaged gradients, as DDP
and FSDP do. Processes communicate in training only, so that in evaluation they may have different
numbers of batches; each batch of gradient accumulation is a step. Not equal to a single process:
random draws (noise, jitter, dropout, mixup, sampled comparisons), which each process makes for its
own share; and the task loss, a mean over processes of means over tokens whose number may differ.
"""

from __future__ import annotations

import math
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
    """Keep training passes of this process to itself, for measurements that others do not join."""
    global _talking
    before, _talking = _talking, False
    try:
        yield
    finally:
        _talking = before


def processes() -> int:
    """Return the number of processes that train together."""
    ready = _talking and torch.distributed.is_available() and torch.distributed.is_initialized()
    return torch.distributed.get_world_size() if ready else 1


@dataclass(frozen=True)
class Scope:
    """Statistics over the U units of the tokens of one forward pass.

    Args:
        balance: what a unit is.
        training: whether the other processes make the same pass.
    """

    balance: BalanceScope = "global"
    training: bool = False

    @property
    def world(self) -> int:
        """Number of processes whose tokens count."""
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
        """Sum values of (token, expert) pairs by expert; `join` adds those of the other processes.

        Sums token by token first: one scatter over all pairs is not reproducible to the last bit on
        a GPU.
        """
        by_token = values.new_zeros(*experts.shape[:2], num_experts).scatter_add(2, experts, values)
        return self.over_tokens(by_token)

    def join(self, *sums: Float[Tensor, "U ..."]) -> tuple[Tensor, ...]:
        """Add up the sums of all processes, for units that span them, in one message."""
        if self.balance != "global" or self.world == 1:
            return sums
        total = _total(torch.cat([value.flatten() for value in sums]))
        parts = total.split([value.numel() for value in sums])
        return tuple(part.view_as(value) for part, value in zip(parts, sums, strict=True))

    def mean(
        self, values: Float[Tensor, "U ..."], tokens: Float[Tensor, " U"]
    ) -> Float[Tensor, " ..."]:
        """Return the mean over all units, of all processes, that have tokens.

        Without any, return the value of the first unit.

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
        """Return all tokens' values in each unit, without gradient, and which tokens are real."""
        values = values.detach()
        if self.balance == "sequence":
            return values, real
        flat, alive = values.flatten(0, 1), real.flatten()
        if self.balance == "global" and self.world > 1:
            flat, alive = _everywhere(flat), _everywhere(alive.to(torch.uint8)).bool()
        return flat[None], alive[None]


ONE_BATCH = Scope()  # the tokens of this batch, whatever other processes do


@torch.no_grad()
def load_excess(
    experts: Int[Tensor, "G T K"], real: Float[Tensor, "G T 1"], num_experts: int, scope: Scope
) -> Float[Tensor, " E"]:
    """Return the sign of each expert's load minus the mean load, averaged over units.

    Args:
        experts: the K experts that each token chose, before any capacity.
        real: 1 for real tokens, 0 for padding.
        num_experts: E.
        scope: a router's own.
    """
    (load,) = scope.join(scope.over_pairs(experts, real.expand(experts.shape), num_experts))
    return scope.mean((load - load.mean(dim=-1, keepdim=True)).sign(), load.sum(dim=-1))


def score_that_a_share_exceeds(
    scores: Float[Tensor, "U N E"], real: Bool[Tensor, "U N"], share: float
) -> Float[Tensor, "U E"]:
    """Return each expert's (1 - share) quantile of scores.

    It is the score that exactly floor(share · real tokens) tokens exceed, barring ties. NaN where
    no token is real.

    Args:
        scores: any finite numbers.
        real: True for real tokens.
        share: in [0, 1]; the result is -inf where all tokens are to exceed it.
    """
    most = min(scores.shape[1], math.floor(share * scores.shape[1] + 1e-9) + 1)
    lowest = -math.inf
    best = scores.masked_fill(~real[..., None], lowest).topk(most, dim=1).values  # padding is last
    best = torch.cat([best, torch.full_like(best[:, :1], lowest)], dim=1)
    counts = real.sum(dim=1).double()
    index = (share * counts + 1e-9).floor().long()[:, None, None].expand(-1, 1, best.shape[-1])
    return best.gather(1, index)[:, 0].masked_fill(counts[:, None] == 0, torch.nan)


def _total(values: Tensor) -> Tensor:
    """Sum over processes. Scales the gradient by their number, which averaging gradients undoes."""
    total = values.detach().clone()
    torch.distributed.all_reduce(total)
    return total + processes() * (values - values.detach()) if values.requires_grad else total


def _everywhere(rows: Tensor) -> Tensor:
    """Return the rows [N, ...] of all processes in order; N may differ between processes."""
    sizes = [torch.zeros(1, dtype=torch.long, device=rows.device) for _ in range(processes())]
    torch.distributed.all_gather(sizes, torch.tensor([len(rows)], device=rows.device))
    counts = [int(size) for size in sizes]
    padded = F.pad(rows, (0, 0) * (rows.ndim - 1) + (0, max(counts) - len(rows)))
    parts = [torch.empty_like(padded) for _ in counts]
    torch.distributed.all_gather(parts, padded)
    return torch.cat([part[:count] for part, count in zip(parts, counts, strict=True)])
