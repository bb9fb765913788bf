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
from dataclasses import replace
from typing import Any, ClassVar

from jaxtyping import Bool, Float, Int
from torch import Tensor

from moesuite.errors import UserError
from moesuite.routing.assignment import dropless, experts_take, pairs, tokens_take
from moesuite.routing.assignment import real_positions as real_positions
from moesuite.routing.assignment import top as top
from moesuite.routing.capacity import expert_capacity
from moesuite.routing.forms import EMPTY as EMPTY
from moesuite.routing.forms import RaggedRouting as RaggedRouting
from moesuite.routing.forms import Routing as Routing
from moesuite.routing.forms import SlotRouting as SlotRouting
from moesuite.routing.forms import SoftRouting as SoftRouting
from moesuite.routing.layer import ExactStatistics, OfThread
from moesuite.routing.layer import Gate as Gate
from moesuite.routing.layer import LayerSpec as LayerSpec
from moesuite.routing.layer import build_gate as build_gate
from moesuite.routing.scope import Scope
from moesuite.routing.static_form import aligned, choice_matrix, static_pairs


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
        dense_gates: claims that its routings carry the gates of all experts.
        tokens_choose: claims that tokens choose experts, so that null experts spare work.
        negative_weights: declares that combine weights may be negative.
        fits_trained_gate: claims that it has no weights, or one linear gate only, so that it can
            replace the router of a trained model (`moesuite.reroute`).
        limited: whether a router that drops keeps its training capacity in evaluation (the board's
            second figure).
        static: whether evaluation without a limit has shapes that do not depend on token values
            (`moesuite.for_export`).
        static_slots: limit of that form, slots per token; None: every expert computes every token.
        name, options: arguments of `build_router`, so that the router can be rebuilt.
    """

    paper: ClassVar[str] = ""
    protocol: ClassVar[int] = 1
    sized: ClassVar[bool] = False
    adaptive: ClassVar[bool] = False
    dense_gates: ClassVar[bool] = False
    tokens_choose: ClassVar[bool] = True
    negative_weights: ClassVar[bool] = False
    fits_trained_gate: ClassVar[bool] = True
    causal: bool = False
    drops: bool = False
    batch_coupled: bool = False
    bounded: bool = True

    def __init__(self, spec: LayerSpec) -> None:
        super().__init__()
        self.spec = spec
        self.limited = False
        self.static = False
        self.static_slots: float | None = None
        self.name = ""
        self.options: dict[str, Any] = {}
        self._of_thread = OfThread()

    @property
    def ids(self) -> Int[Tensor, "G T"] | None:
        """Token ids of the forward of this thread, if the model has them."""
        return self._of_thread.ids

    @ids.setter
    def ids(self, ids: Int[Tensor, "G T"] | None) -> None:
        self._of_thread.ids = ids

    @property
    def slots_per_token(self) -> float | None:
        """Current budget, of training or of evaluation; None: no limit."""
        if self.training or (self.drops and self.limited):
            return self.spec.slots_per_token
        if self.spec.eval_slots_per_token is not None:
            return self.spec.eval_slots_per_token
        return self.static_slots if self.drops else self.spec.slots_per_token

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

    def choose_pairs(
        self,
        weights: Float[Tensor, "G T E"],
        selected: Bool[Tensor, "G T E"],
        mask: Bool[Tensor, "G T"] | None = None,
        losses: Mapping[str, Tensor] | None = None,
    ) -> SlotRouting | RaggedRouting:
        """Send each token to the experts that are selected for it, without a limit.

        Args:
            weights: combine weights.
            selected: pairs of a token and an expert, none of padding.
            mask: True for real tokens; padding buys no capacity where a static form has one.
            losses: auxiliary losses by name, weighted.
        """
        if self.training or not self.static:
            return pairs(weights, selected, losses)
        return static_pairs(weights, selected, mask, self.static_slots, losses)

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
        all_gates: Float[Tensor, "G T E"] | None = None,
    ) -> SlotRouting | RaggedRouting:
        """Send each token to the experts it chose, within their capacity if there is a limit.

        Args:
            gates: combine weights.
            experts: choices in [0, E), first choice first; E means no choice.
            mask: True for real tokens; padding is never sent and buys no capacity.
            losses: auxiliary losses by name, weighted.
            batch_priority: serve tokens by their top gate instead of by their order.
            all_gates: from which `gates` are chosen, for routers that claim `dense_gates`.
        """
        num_experts = self.spec.num_experts
        if mask is not None:
            experts = experts.masked_fill(~mask[..., None], num_experts)
            all_gates = None if all_gates is None else all_gates * mask[..., None]
        routing: SlotRouting | RaggedRouting
        if self.slots_per_token is not None:
            limits = None if mask is None else self.group_capacity(mask)
            limit = self.capacity(experts.shape[1])
            routing = tokens_take(
                gates, experts, num_experts, limit, limits, batch_priority, losses
            )
        elif self.static:
            routing = aligned(*choice_matrix(gates, experts, num_experts), losses)
        else:
            routing = dropless(gates, experts, num_experts, losses)
        return routing if all_gates is None else replace(routing, gates=all_gates)

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

    def static_problem(self) -> str:
        """Return why evaluation cannot have a static form, in words; empty if it can."""
        return ""

    def make_static(self, slots_per_token: float | None = None) -> None:
        """Give evaluation a form whose shapes do not depend on token values.

        Args:
            slots_per_token: limit of routers without one; None: every expert computes every token.
        """
        self.static, self.static_slots = True, slots_per_token

    def advance(self) -> None:
        """Update running statistics from the previous training step.

        Called once before each training forward, never when a forward is recomputed.
        """

    @abstractmethod
    def forward(
        self, x: Float[Tensor, "G T D"], mask: Bool[Tensor, "G T"] | None = None
    ) -> Routing:
        """Route the tokens `x` (float32); `mask` is True for real tokens, False for padding."""
