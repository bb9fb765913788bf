"""The router contract: a router decides, and returns its decision in one of three forms.

Axis legend, used everywhere:
    G  groups: sequences or images; tokens compete within their group, never across groups
    T  tokens per group
    D  width of a token
    E  experts
    C  slots per expert (its capacity) in a group
    K  experts per token
    M  routed (token, expert) pairs of all groups together

The two routing tensors, dispatch and combine, each [G, T, E, C], follow the unified formulation
of Liu et al., "Routers in Vision Mixture of Experts: An Empirical Study" (2024),
https://arxiv.org/abs/2401.15969: expert e sees X̃_e = D_eᵀ X and the output is Y = Σ_e C_e
f_e(X̃_e).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, get_args

from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from moesuite.config.schema import BalanceScope
from moesuite.errors import UserError, unknown
from moesuite.routing.assignment import dropless, experts_take, tokens_take
from moesuite.routing.assignment import real_positions as real_positions
from moesuite.routing.assignment import top as top
from moesuite.routing.capacity import expert_capacity
from moesuite.routing.forms import EMPTY as EMPTY
from moesuite.routing.forms import RaggedRouting as RaggedRouting
from moesuite.routing.forms import Routing as Routing
from moesuite.routing.forms import SlotRouting as SlotRouting
from moesuite.routing.forms import SoftRouting as SoftRouting
from moesuite.routing.precision import ExactStatistics
from moesuite.routing.scope import Scope


@dataclass(frozen=True)
class LayerSpec:
    """What a router needs to know about its layer.

    Args:
        dim: width D of a token, >= 1.
        num_experts: number of experts E, >= 1.
        slots_per_token: expert work per token relative to the dense MLP, E·C/T, in (0, E].
        eval_slots_per_token: the same in evaluation, in (0, E]; None: as in training, or without a
            limit for a router that drops.
        tokens: tokens T of a group, if all inputs have the same number (images); else None.
        balance_scope: the tokens that balance losses and running statistics pool in training:
            "global" (the batch on all processes), "local" (the share of this process) or
            "sequence" (each group by itself).

    Raises:
        UserError: for a value outside its range.
    """

    dim: int
    num_experts: int
    slots_per_token: float = 1.0
    eval_slots_per_token: float | None = None
    tokens: int | None = None
    balance_scope: BalanceScope = "global"

    def __post_init__(self) -> None:
        if self.num_experts < 1:
            raise UserError(
                f"num_experts={self.num_experts}: expected at least 1, e.g. num_experts=8"
            )
        for name in ("slots_per_token", "eval_slots_per_token"):
            value = getattr(self, name)
            if value is not None and not 0 < value <= self.num_experts:
                raise UserError(
                    f"{name}={value}: expected more than 0 and at most num_experts="
                    f"{self.num_experts} (a slot for every token in each expert), e.g. {name}=1.0"
                )
        if self.balance_scope not in get_args(BalanceScope):
            raise unknown(
                "balance_scope", self.balance_scope, get_args(BalanceScope), "balance_scope=global"
            )


class Gate(nn.Linear):
    """Router logits x W_g, [..., D] -> [..., E], always in float32; only a trained gate has a bias.

    Weights are initialised normal with standard deviation 0.02 (Komatsuzaki et al., "Sparse
    Upcycling", 2022, https://arxiv.org/abs/2212.05055, appendix A).
    """

    def __init__(self, dim: int, num_experts: int) -> None:
        super().__init__(dim, num_experts, bias=False)

    def reset_parameters(self) -> None:
        """Initialise the weight."""
        nn.init.normal_(self.weight, std=0.02)

    def forward(self, x: Float[Tensor, "*batch D"]) -> Float[Tensor, "*batch E"]:
        """Return logits."""
        bias: Tensor | None = self.bias
        return F.linear(x.float(), self.weight.float(), None if bias is None else bias.float())


class Router(ExactStatistics, ABC):
    """Decide which tokens each expert reads, and the combine weights of its outputs.

    A router never touches an expert. It is one file with one subclass. Its `__init__` takes the
    `LayerSpec` first; every further parameter has a default and is an option of the command line,
    with its range in its annotation: `k: Annotated[int, Ge(1)] = 1`.

    Attributes:
        paper: author, year and link of the work that describes it.
        protocol: version of its results, raised by any change of them.
        causal: claims that no routing of a token depends on a later token, in training too.
        drops: claims that tokens can be refused for lack of capacity, so that evaluation is also
            run without a limit.
        sized: parameters depend on the number of tokens of a group, which the layer then has to
            know; slots are parameters, so that evaluation keeps those of training.
        adaptive: claims that the number of pairs depends on token values (ReLU gates), so that
            accounting without data assumes the budget.
        bounded: claims that experts never do more work than the budget.
        batch_coupled: declares that in training the routing of a group depends on other groups.
        negative_weights: declares that combine weights may be negative.
        fits_trained_gate: claims that a linear gate is its only weight, or that it has no weights,
            so that it can replace the router of a trained model (`moesuite.reroute`).
        limited: whether a router that drops keeps its training capacity in evaluation (the board's
            second figure).
        name, options: arguments of `build_router`, so that the router can be rebuilt.
        ids: token ids of this forward, [G, T], if the model has them; else None.
    """

    paper: ClassVar[str] = ""
    protocol: ClassVar[int] = 1
    sized: ClassVar[bool] = False
    adaptive: ClassVar[bool] = False
    batch_coupled: ClassVar[bool] = False
    negative_weights: ClassVar[bool] = False
    fits_trained_gate: ClassVar[bool] = True
    causal: bool = False
    drops: bool = False
    bounded: bool = True

    def __init__(self, spec: LayerSpec) -> None:
        super().__init__()
        self.spec = spec
        self.limited = False
        self.name = ""
        self.options: dict[str, Any] = {}
        self.ids: Tensor | None = None

    @property
    def slots_per_token(self) -> float | None:
        """Current budget, of training or of evaluation; None: no limit."""
        if self.training or (self.drops and self.limited):
            return self.spec.slots_per_token
        if self.spec.eval_slots_per_token is not None:
            return self.spec.eval_slots_per_token
        return None if self.drops else self.spec.slots_per_token

    @property
    def scope(self) -> Scope:
        """Scope of statistics over tokens; by default those of all processes in training."""
        return Scope(self.spec.balance_scope, self.training)

    def capacity(self, tokens: int) -> int:
        """Return the slots of an expert for a group of `tokens`, see `expert_capacity`.

        Raises:
            RuntimeError: if there is no limit.
        """
        budget = self.slots_per_token
        if budget is None:
            raise RuntimeError("no capacity without a limit: check `slots_per_token` first")
        return expert_capacity(budget, tokens, self.spec.num_experts)

    def group_capacity(self, mask: Bool[Tensor, "G T"]) -> Int[Tensor, " G"]:
        """Return the slots of an expert in each group by its real tokens; padding buys none."""
        budget = self.slots_per_token or 0.0
        return expert_capacity(budget, mask.sum(dim=1), self.spec.num_experts)

    def choose_tokens(
        self,
        scores: Float[Tensor, "G E T"],
        mask: Bool[Tensor, "G T"] | None = None,
        losses: Mapping[str, Tensor] | None = None,
    ) -> SlotRouting:
        """Let each expert take its top-C tokens; the combine weight is the score.

        Args:
            scores: >= 0; tokens with a negative score are never taken. Ties go to the lower index;
                slot = rank.
            mask: True for real tokens; padding is never taken and buys no capacity.
            losses: auxiliary losses by name, weighted.
        """
        limits = None if mask is None else self.group_capacity(mask)
        return experts_take(scores, self.capacity(scores.shape[-1]), limits, mask, losses)

    def choose_experts(
        self,
        gates: Float[Tensor, "G T K"],
        experts: Int[Tensor, "G T K"],
        mask: Bool[Tensor, "G T"] | None = None,
        losses: Mapping[str, Tensor] | None = None,
        batch_priority: bool = False,
    ) -> SlotRouting | RaggedRouting:
        """Send each token to the experts it chose, within their capacity if there is a limit.

        Args:
            gates: combine weights.
            experts: choices in [0, E), first choice first; E means no choice.
            mask: True for real tokens; padding is never sent and buys no capacity.
            losses: auxiliary losses by name, weighted.
            batch_priority: serve tokens by their top gate instead of by their order.
        """
        num_experts = self.spec.num_experts
        if mask is not None:
            experts = experts.masked_fill(~mask[..., None], num_experts)
        if self.slots_per_token is None:
            return dropless(gates, experts, num_experts, losses)
        limits = None if mask is None else self.group_capacity(mask)
        capacity = self.capacity(experts.shape[1])
        return tokens_take(gates, experts, num_experts, capacity, limits, batch_priority, losses)

    def choices(self, k: int) -> int:
        """Return `k`, the experts per token, after checking its range.

        Raises:
            UserError: if k > E.
        """
        if k > self.spec.num_experts:
            raise UserError(
                f"router.k={k}: expected 1 to num_experts={self.spec.num_experts}, e.g. router.k=1"
            )
        return k

    def advance(self) -> None:
        """Update running statistics from the previous training step.

        Called once before each training forward, never when a forward is recomputed.
        """

    @abstractmethod
    def forward(
        self, x: Float[Tensor, "G T D"], mask: Bool[Tensor, "G T"] | None = None
    ) -> Routing:
        """Route the tokens `x` (float32); `mask` is True for real tokens, False for padding."""
