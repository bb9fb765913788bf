"""The three forms of a routing, all with `.dense()`: the tensors of the unified formulation.

See `moesuite.routing.router` for the contract.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

EMPTY = -1  # token index of an empty slot
TINY = 1e-20  # a sum of combine weights below this counts as zero


@dataclass(frozen=True)
class SoftRouting:
    """Real-valued routing (Soft MoE): slots mix all tokens, and tokens mix all slots."""

    dispatch: Float[Tensor, "G T E C"]
    combine: Float[Tensor, "G T E C"]
    losses: Mapping[str, Tensor] = field(default_factory=dict)

    def dense(self) -> tuple[Float[Tensor, "G T E C"], Float[Tensor, "G T E C"]]:
        """Return (dispatch, combine)."""
        return self.dispatch, self.combine

    def renormalised(self) -> SoftRouting:
        """Return the same routing.

        Combine weights of a token sum to 1 by definition; where an ablation makes them sum to
        something else, that is intended.
        """
        return self

    @property
    def num_tokens(self) -> int:
        """T."""
        return self.dispatch.shape[1]

    def first(self, count: int) -> SoftRouting:
        """Return the routing of the first experts alone."""
        return replace(
            self, dispatch=self.dispatch[:, :, :count], combine=self.combine[:, :, :count]
        )

    def token_weights(self) -> Float[Tensor, "G T E"]:
        """Return each token's combine weight of each expert, over its slots together."""
        return self.combine.sum(dim=3)

    def load(self) -> Float[Tensor, "G E"]:
        """Combine mass of each expert: Σ over tokens and slots; sums to T in a group."""
        return self.combine.detach().float().sum(dim=(1, 3))

    def demand(self) -> Float[Tensor, "G E"]:
        """Demand on each expert: the load, as nothing is ever refused."""
        return self.load()

    def experts_per_token(self) -> Float[Tensor, "G T"]:
        """Number of experts that serve each token: all, unless the token is padding."""
        return (self.combine.detach() > 0).any(dim=3).sum(dim=2).float()


@dataclass(frozen=True)
class SlotRouting:
    """Each slot reads one token or is empty: capacity-limited token choice, expert choice.

    Args:
        tokens: index of the token that each slot reads, in [0, T), or EMPTY.
        weights: combine weight of each slot; 0 where it is empty.
        num_tokens: T.
        losses: auxiliary losses by name, weighted, scalar.
        demanded: pairs requested of each expert before its capacity; None: as many as it got.
        gates: of which the weights are the chosen ones, 0 for padding; None: not known.
    """

    tokens: Int[Tensor, "G E C"]
    weights: Float[Tensor, "G E C"]
    num_tokens: int
    losses: Mapping[str, Tensor] = field(default_factory=dict)
    demanded: Tensor | None = None  # [G, E]
    gates: Tensor | None = None  # [G, T, E]

    def dense(self) -> tuple[Float[Tensor, "G T E C"], Float[Tensor, "G T E C"]]:
        """Return (dispatch, combine); the dispatch is binary."""
        # [G, E, C, T]; empty slots are all zero
        one_hot = F.one_hot(self.tokens + 1, self.num_tokens + 1)[..., 1:]
        dispatch = one_hot.permute(0, 3, 1, 2).to(self.weights)
        return dispatch, dispatch * self.weights[:, None]

    def reweighed(self, gates: Float[Tensor, "G T E"]) -> SlotRouting:
        """Return the same slots, with the gates of their pairs as combine weights."""
        weights = gates.transpose(1, 2).gather(2, self.tokens.clamp(min=0)) * (self.tokens != EMPTY)
        return replace(self, weights=weights)

    def renormalised(self) -> SlotRouting:
        """Return the same slots, each token's weights divided by the sum of their magnitudes."""
        groups = self.tokens.shape[0]
        index = self.tokens.clamp(min=0).flatten(1)
        weights = self.weights.flatten(1)  # an empty slot adds 0
        sums = weights.new_zeros(groups, self.num_tokens).scatter_add(1, index, weights.abs())
        of_slots = sums.gather(1, index).clamp(min=TINY).view_as(self.weights)
        return replace(self, weights=self.weights / of_slots)

    def first(self, count: int) -> SlotRouting:
        """Return the routing of the first experts alone."""
        demanded = None if self.demanded is None else self.demanded[:, :count]
        tokens, weights = self.tokens[:, :count], self.weights[:, :count]
        gates = None if self.gates is None else self.gates[..., :count]
        return replace(self, tokens=tokens, weights=weights, demanded=demanded, gates=gates)

    def muted(self, count: int) -> SlotRouting:
        """Return the same slots, with weight 0 in all experts but the first."""
        index = torch.arange(self.weights.shape[1], device=self.weights.device)
        return replace(self, weights=self.weights.masked_fill(index[:, None] >= count, 0.0))

    def token_weights(self) -> Float[Tensor, "G T E"]:
        """Return each token's combine weight of each expert; 0 where it is not served."""
        groups, num_experts, _ = self.tokens.shape
        index = self.tokens.clamp(min=0).to(self.weights.device)  # an empty slot adds 0
        sums = self.weights.new_zeros(groups, num_experts, self.num_tokens)
        return sums.scatter_add(2, index, self.weights).transpose(1, 2)

    def load(self) -> Float[Tensor, "G E"]:
        """Filled slots of each expert."""
        return (self.tokens != EMPTY).sum(dim=2).float()

    def demand(self) -> Float[Tensor, "G E"]:
        """Pairs requested of each expert, before its capacity."""
        return self.load() if self.demanded is None else self.demanded

    def experts_per_token(self) -> Float[Tensor, "G T"]:
        """Number of slots that read each token; 0 for an unserved token."""
        groups = self.tokens.shape[0]
        counts = self.tokens.new_zeros(groups, self.num_tokens + 1)
        index = (self.tokens + 1).reshape(groups, -1)
        return counts.scatter_add_(1, index, torch.ones_like(index))[:, 1:].float()


@dataclass(frozen=True)
class AlignedRouting(SlotRouting):
    """Slot t of every expert reads token t or is empty: any number of pairs in a static shape."""

    def renormalised(self) -> AlignedRouting:
        """Return the same slots, each token's weights divided by the sum of their magnitudes."""
        sums = self.weights.abs().sum(dim=1, keepdim=True)
        return replace(self, weights=self.weights / sums.clamp(min=TINY))

    def token_weights(self) -> Float[Tensor, "G T E"]:
        """Return each token's combine weight of each expert; 0 where it is not served."""
        return self.weights.transpose(1, 2)


@dataclass(frozen=True)
class RaggedRouting:
    """Any number of tokens per expert: dropless token choice.

    Args:
        tokens: index of each pair's token among all tokens, in [0, G·T).
        experts: index of each pair's expert, in [0, E).
        weights: combine weight of each pair.
        num_groups, num_tokens, num_experts: G, T and E.
        losses: auxiliary losses by name, weighted, scalar.
        gates: of which the weights are the chosen ones, 0 for padding; None: not known.
    """

    tokens: Int[Tensor, " M"]
    experts: Int[Tensor, " M"]
    weights: Float[Tensor, " M"]
    num_groups: int
    num_tokens: int
    num_experts: int
    losses: Mapping[str, Tensor] = field(default_factory=dict)
    gates: Tensor | None = None  # [G, T, E]

    def dense(self) -> tuple[Float[Tensor, "G T E C"], Float[Tensor, "G T E C"]]:
        """Return (dispatch, combine).

        C is the number of tokens of the fullest expert in any group, at least 1.
        """
        shape = (self.num_groups, self.num_tokens, self.num_experts)
        cell = self._cell()  # [M] group-major index of (group, expert)
        order = cell.argsort(stable=True)
        counts = torch.bincount(cell, minlength=self.num_groups * self.num_experts)
        first = (counts.cumsum(0) - counts)[cell[order]]
        slot = torch.empty_like(cell)
        slot[order] = torch.arange(len(cell), device=cell.device) - first
        dispatch = self.weights.new_zeros(*shape, max(1, int(counts.max()))).flatten(0, 1)
        combine = dispatch.clone()
        where = (self.tokens, self.experts, slot)
        dispatch[where] = 1.0
        combine = combine.index_put(where, self.weights)
        return dispatch.unflatten(0, shape[:2]), combine.unflatten(0, shape[:2])

    def renormalised(self) -> RaggedRouting:
        """Return the same pairs, each token's weights divided by the sum of their magnitudes."""
        # cost accounting decides off the meta device, where the weights are
        tokens = self.tokens.to(self.weights.device)
        sums = self.weights.new_zeros(self.num_groups * self.num_tokens).index_add(
            0, tokens, self.weights.abs()
        )
        return replace(self, weights=self.weights / sums[tokens].clamp(min=TINY))

    def first(self, count: int) -> RaggedRouting:
        """Return the routing of the first experts alone."""
        (pairs,) = (self.experts < count).nonzero(as_tuple=True)
        weights = self.weights.index_select(0, pairs.to(self.weights.device))
        served = self.tokens[pairs], self.experts[pairs], weights
        gates = None if self.gates is None else self.gates[..., :count]
        size = self.num_groups, self.num_tokens, count
        return RaggedRouting(*served, *size, self.losses, gates)

    def muted(self, count: int) -> RaggedRouting:
        """Return the same pairs, with weight 0 in all experts but the first."""
        others = (self.experts >= count).to(self.weights.device)
        return replace(self, weights=self.weights.masked_fill(others, 0.0))

    def token_weights(self) -> Float[Tensor, "G T E"]:
        """Return each token's combine weight of each expert; 0 where it is not served."""
        size = self.num_groups, self.num_tokens, self.num_experts
        place = (self.tokens * self.num_experts + self.experts).to(self.weights.device)
        sums = self.weights.new_zeros(size[0] * size[1] * size[2])
        return sums.index_add(0, place, self.weights).view(size)

    def load(self) -> Float[Tensor, "G E"]:
        """Pairs of each expert."""
        counts = torch.bincount(self._cell(), minlength=self.num_groups * self.num_experts)
        return counts.reshape(self.num_groups, self.num_experts).float()

    def demand(self) -> Float[Tensor, "G E"]:
        """Demand on each expert: the load, as nothing is ever refused."""
        return self.load()

    def experts_per_token(self) -> Float[Tensor, "G T"]:
        """Number of experts that each token is sent to."""
        counts = torch.bincount(self.tokens, minlength=self.num_groups * self.num_tokens)
        return counts.reshape(self.num_groups, self.num_tokens).float()

    def _cell(self) -> Tensor:
        return self.tokens // self.num_tokens * self.num_experts + self.experts


Routing = SoftRouting | SlotRouting | RaggedRouting
