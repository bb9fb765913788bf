"""The contract between a router and everything else: a router decides, and says so in one of three forms.

Axis legend, used everywhere:
    G  groups: sequences or images; tokens of one group compete with each other, never with another group's
    T  tokens per group
    D  width of a token
    E  experts
    C  slots per expert (its capacity) in a group
    K  experts per token
    M  routed (token, expert) pairs of all groups together

The two routing tensors, dispatch and combine, each [G, T, E, C], are those of the unified formulation of Liu et al.,
"Routers in Vision Mixture of Experts: An Empirical Study" (2024), https://arxiv.org/abs/2401.15969: expert e sees
X̃_e = D_eᵀ X and the output is Y = Σ_e C_e f_e(X̃_e).
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from moesuite.errors import UserError

EMPTY = -1  # the token index of a slot that nobody took


@dataclass(frozen=True)
class LayerSpec:
    """What a router has to know about the layer that it serves.

    Args:
        dim: width D of a token, >= 1.
        num_experts: number of experts E, >= 1.
        slots_per_token: expert work per token relative to the dense MLP, E·C/T, in (0, E].
        eval_slots_per_token: the same in evaluation, in (0, E]; None: as in training, and without any limit
            for a router that drops.
        tokens: tokens T of a group where every input has as many (images); None where they differ.

    Raises:
        UserError: for a value outside its range.
    """

    dim: int
    num_experts: int
    slots_per_token: float = 1.0
    eval_slots_per_token: float | None = None
    tokens: int | None = None

    def __post_init__(self) -> None:
        if self.num_experts < 1:
            raise UserError(f"num_experts={self.num_experts}: at least 1 expert is needed; type for example num_experts=8")
        for name in ("slots_per_token", "eval_slots_per_token"):
            value = getattr(self, name)
            if value is not None and not 0 < value <= self.num_experts:
                raise UserError(
                    f"{name}={value}: allowed is more than 0 and at most num_experts={self.num_experts} (each expert "
                    f"then has a slot for every token); type for example {name}=1.0"
                )


@dataclass(frozen=True)
class SoftRouting:
    """Real-valued routing: every slot reads a mixture of tokens, every token a mixture of slots (Soft MoE)."""

    dispatch: Float[Tensor, "G T E C"]
    combine: Float[Tensor, "G T E C"]
    losses: Mapping[str, Tensor] = field(default_factory=dict)

    def dense(self) -> tuple[Float[Tensor, "G T E C"], Float[Tensor, "G T E C"]]:
        """Return (dispatch, combine)."""
        return self.dispatch, self.combine

    def load(self) -> Float[Tensor, "G E"]:
        """Combine mass that each expert received: Σ over tokens and slots; sums to T in a group."""
        return self.combine.detach().float().sum(dim=(1, 3))

    def demand(self) -> Float[Tensor, "G E"]:
        """What each expert was asked for; nothing is ever refused, so the load."""
        return self.load()

    def experts_per_token(self) -> Float[Tensor, "G T"]:
        """Number of experts that serve each token: all of them, where the token is not padding."""
        return (self.combine.detach() > 0).any(dim=3).sum(dim=2).float()


@dataclass(frozen=True)
class SlotRouting:
    """Each slot reads one token, or is empty: capacity-limited token choice, expert choice.

    Args:
        tokens: index of the token that each slot reads, in [0, T), or EMPTY.
        weights: combine weight of each slot; 0 where it is empty.
        num_tokens: T.
        losses: auxiliary losses by name, weighted, scalar.
        demanded: pairs that each expert was asked for before the capacity; None: as many as it got.
    """

    tokens: Int[Tensor, "G E C"]
    weights: Float[Tensor, "G E C"]
    num_tokens: int
    losses: Mapping[str, Tensor] = field(default_factory=dict)
    demanded: Tensor | None = None  # [G, E]

    def dense(self) -> tuple[Float[Tensor, "G T E C"], Float[Tensor, "G T E C"]]:
        """Return (dispatch, combine); the dispatch is binary."""
        one_hot = F.one_hot(self.tokens + 1, self.num_tokens + 1)[..., 1:]  # [G, E, C, T]; empty slots are all zero
        dispatch = one_hot.permute(0, 3, 1, 2).to(self.weights)
        return dispatch, dispatch * self.weights[:, None]

    def load(self) -> Float[Tensor, "G E"]:
        """Filled slots of each expert."""
        return (self.tokens != EMPTY).sum(dim=2).float()

    def demand(self) -> Float[Tensor, "G E"]:
        """Pairs that each expert was asked for, before its capacity."""
        return self.load() if self.demanded is None else self.demanded

    def experts_per_token(self) -> Float[Tensor, "G T"]:
        """Number of slots that read each token; 0: the token was dropped."""
        groups = self.tokens.shape[0]
        counts = self.tokens.new_zeros(groups, self.num_tokens + 1)
        index = (self.tokens + 1).reshape(groups, -1)
        return counts.scatter_add_(1, index, torch.ones_like(index))[:, 1:].float()


@dataclass(frozen=True)
class RaggedRouting:
    """Any number of tokens per expert: dropless token choice.

    Args:
        tokens: index of each pair's token among all tokens, in [0, G·T).
        experts: index of each pair's expert, in [0, E).
        weights: combine weight of each pair.
        num_groups, num_tokens, num_experts: G, T and E.
        losses: auxiliary losses by name, weighted, scalar.
    """

    tokens: Int[Tensor, " M"]
    experts: Int[Tensor, " M"]
    weights: Float[Tensor, " M"]
    num_groups: int
    num_tokens: int
    num_experts: int
    losses: Mapping[str, Tensor] = field(default_factory=dict)

    def dense(self) -> tuple[Float[Tensor, "G T E C"], Float[Tensor, "G T E C"]]:
        """Return (dispatch, combine) with as many slots as the fullest expert of any group needs (at least 1)."""
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

    def load(self) -> Float[Tensor, "G E"]:
        """Pairs of each expert."""
        counts = torch.bincount(self._cell(), minlength=self.num_groups * self.num_experts)
        return counts.reshape(self.num_groups, self.num_experts).float()

    def demand(self) -> Float[Tensor, "G E"]:
        """What each expert was asked for; nothing is ever refused, so the load."""
        return self.load()

    def experts_per_token(self) -> Float[Tensor, "G T"]:
        """Number of experts that each token was sent to."""
        counts = torch.bincount(self.tokens, minlength=self.num_groups * self.num_tokens)
        return counts.reshape(self.num_groups, self.num_tokens).float()

    def _cell(self) -> Tensor:
        return self.tokens // self.num_tokens * self.num_experts + self.experts


Routing = SoftRouting | SlotRouting | RaggedRouting


class Gate(nn.Linear):
    """Router logits x W_g without bias, [..., D] -> [..., E], in float32 whatever the model's precision.

    Initialised normal with standard deviation 0.02 (Komatsuzaki et al., "Sparse Upcycling", 2022,
    https://arxiv.org/abs/2212.05055, appendix A).
    """

    def __init__(self, dim: int, num_experts: int) -> None:
        super().__init__(dim, num_experts, bias=False)

    def reset_parameters(self) -> None:
        nn.init.normal_(self.weight, std=0.02)

    def forward(self, x: Float[Tensor, "*batch D"]) -> Float[Tensor, "*batch E"]:
        return F.linear(x.float(), self.weight.float())


class Router(nn.Module, ABC):
    """Decides which tokens each expert reads, and with what weight its answer comes back. Never touches an expert.

    A router is one file with one subclass. Its `__init__` takes the `LayerSpec` first; every further parameter has a
    default and is an option of the command line, its range in its annotation: `k: Annotated[int, Ge(1)] = 1`.

    Attributes:
        paper: author, year and link of the work that describes it.
        causal: claims that no token's routing depends on a later token, in training too.
        drops: claims that a token can be refused for lack of capacity, so that evaluation is also done without limit.
        limited: whether a router that drops keeps its training capacity in evaluation (the board's second figure).
    """

    paper: ClassVar[str] = ""
    drops: ClassVar[bool] = False
    causal: bool = False

    def __init__(self, spec: LayerSpec) -> None:
        super().__init__()
        self.spec = spec
        self.limited = False

    @property
    def slots_per_token(self) -> float | None:
        """The budget now in force: training's or evaluation's; None: no limit."""
        if self.training or (self.drops and self.limited):
            return self.spec.slots_per_token
        if self.spec.eval_slots_per_token is not None:
            return self.spec.eval_slots_per_token
        return None if self.drops else self.spec.slots_per_token

    def capacity(self, tokens: int) -> int:
        """Slots of an expert for a group of `tokens`: ceil(slots_per_token · T / E), at least 1.

        Raises:
            RuntimeError: where no limit is in force.
        """
        budget = self.slots_per_token
        if budget is None:
            raise RuntimeError("no capacity is in force: look at `slots_per_token` first")
        # 1e-9: 1.1 · 10 / 1 must give 11, not 12
        return max(1, math.ceil(budget * tokens / self.spec.num_experts - 1e-9))

    def group_capacity(self, mask: Bool[Tensor, "G T"]) -> Int[Tensor, " G"]:
        """Slots of an expert in each group by its real tokens, so that padding buys no capacity."""
        budget = self.slots_per_token or 0.0
        real = mask.sum(dim=1).double()
        return (budget * real / self.spec.num_experts - 1e-9).ceil().clamp(min=1).long()

    @abstractmethod
    def forward(self, x: Float[Tensor, "G T D"], mask: Bool[Tensor, "G T"] | None = None) -> Routing:
        """Route the tokens `x` (float32); `mask` is True where a token is real, False where it is padding."""
