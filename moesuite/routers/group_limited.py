"""Group-limited: the K experts of a token are in few groups of experts, and so on few devices.

DeepSeek-AI, "DeepSeek-V2" (2024), https://arxiv.org/abs/2405.04434, section 2.2.2: experts in n
groups; a group's score is that of its best expert, and the K best are taken within the best m
groups (best_of=1, scores=softmax, update_rate=0, normalise=false, sequence_weight=0.003).
"DeepSeek-V3" (2024), https://arxiv.org/abs/2412.19437, section 2.1.2, the defaults here: a group's
score is the sum of its K/m best (2 in their model); groups and experts are chosen by σ(x W_g) + b,
with b_e += u · sign(mean load - load_e) after each step; gates are σ(x W_g), divided by their sum
over the chosen; a loss of weight 1e-4 on each sequence. Not in the papers: for K = 1 gates are not
divided, which would give exactly 1 and no gradient; the budget limits slots; no losses on the loads
of devices and on communication, as all groups are on one device here.
"""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from annotated_types import Ge, Le
from jaxtyping import Bool, Float
from torch import Tensor

from moesuite.errors import UserError
from moesuite.routing.assignment import in_best_groups
from moesuite.routing.losses import sequence_loss
from moesuite.routing.router import LayerSpec, Router, Routing, build_gate, top
from moesuite.routing.scope import load_excess

MOST_GROUPS = 8  # by default, as in both papers


class GroupLimited(Router):
    """Sigmoid gates, top-K by biased score within the best groups."""

    paper = "DeepSeek-AI 2024, https://arxiv.org/abs/2412.19437"
    drops = True
    bias: Tensor
    excess: Tensor

    def __init__(
        self,
        spec: LayerSpec,
        k: Annotated[int, Ge(1)] = 1,
        groups: Annotated[int, Ge(1)] | None = None,
        limit: Annotated[int, Ge(1)] | None = None,
        best_of: Annotated[int, Ge(1)] = 2,
        scores: Literal["sigmoid", "softmax"] = "sigmoid",
        update_rate: Annotated[float, Ge(0), Le(1)] = 0.001,
        normalise: bool | None = None,
        sequence_weight: Annotated[float, Ge(0)] = 1e-4,
    ) -> None:
        """Build the router.

        Args:
            spec: the layer.
            k: experts per token, in [1, E].
            groups: number of groups; None: the most up to 8 of at least two experts each.
            limit: groups that a token's experts may be in; None: half of them, or as many as K
                needs.
            best_of: a group's score is the sum of so many of its best.
            scores: sigmoid or softmax of the logits.
            update_rate: step size u of the bias, in [0, 1].
            normalise: divide the gates of a token by their sum; None: if k > 1.
            sequence_weight: weight of the loss on the balance of each sequence, >= 0.

        Raises:
            UserError: for groups that do not divide E, or have fewer than K experts.
        """
        super().__init__(spec)
        self.k = self.choices(k)
        self.groups, self.limit = _limits(spec.num_experts, k, groups, limit)
        self.best_of = best_of
        self.by_softmax = scores == "softmax"
        self.update_rate = update_rate
        self.normalise = k > 1 if normalise is None else normalise
        self.sequence_weight = sequence_weight
        self.causal = k == 1  # else a later first choice takes the slot of an earlier second one
        self.gate = build_gate(spec)
        self.register_buffer("bias", torch.zeros(spec.num_experts))
        # see `load_excess`; of the previous training forward
        self.register_buffer("excess", torch.zeros(spec.num_experts))

    def advance(self) -> None:
        """Raise the bias of experts below the mean load, lower that of experts above it."""
        self.bias -= self.update_rate * self.excess

    def forward(
        self, x: Float[Tensor, "G T D"], mask: Bool[Tensor, "G T"] | None = None
    ) -> Routing:
        logits = self.gate(x)  # [G, T, E]
        scores = logits.softmax(dim=-1) if self.by_softmax else logits.sigmoid()
        biased = scores.detach() + self.bias
        inside = in_best_groups(biased, self.groups, self.limit, self.best_of)
        _, experts = top(biased.masked_fill(~inside, -torch.inf), self.k)
        gates = scores.gather(-1, experts)
        if self.normalise:
            gates = gates / gates.sum(dim=-1, keepdim=True).clamp(min=1e-20)
        if self.training:
            real = torch.ones_like(gates[..., :1]) if mask is None else mask.to(gates)[..., None]
            self.excess = load_excess(experts, real, self.spec.num_experts, self.scope)
        losses = {}
        if self.sequence_weight > 0:
            loss = sequence_loss(scores, self.k, mask, self.training)
            losses["sequence"] = self.sequence_weight * loss
        return self.choose_experts(gates, experts, mask, losses)


def _limits(num_experts: int, k: int, groups: int | None, limit: int | None) -> tuple[int, int]:
    """Return the number of groups, and of those that a token may use.

    Raises:
        UserError: for groups that do not divide E, or a limit that K experts do not fit into.
    """
    fitting = [n for n in range(1, num_experts + 1) if num_experts % n == 0]
    if groups is None:
        groups = max((n for n in fitting if n <= MOST_GROUPS and 2 * n <= num_experts), default=1)
    if groups not in fitting:
        raise UserError(
            f"router.groups={groups}: expected a divisor of num_experts={num_experts} "
            f"({', '.join(map(str, fitting))}), e.g. router.groups={fitting[len(fitting) // 2]}"
        )
    least = -(-k * groups // num_experts)  # groups that K experts need
    limit = max(groups // 2, least) if limit is None else limit
    if not least <= limit <= groups:
        raise UserError(
            f"router.limit={limit}: expected {least} to {groups} of groups of "
            f"{num_experts // groups} experts with router.k={k}, e.g. router.limit={least}"
        )
    return groups, limit
