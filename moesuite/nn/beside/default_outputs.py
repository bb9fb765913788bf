"""Default outputs: a running mean stands in for the output of every expert that a token lacks.

Panda et al., "Dense Backpropagation Improves Training for Sparse Mixture-of-Experts" (Default MoE,
2025), https://arxiv.org/abs/2504.12463, equations 10 and 11, with gates π over all experts:

    y = Σ_i π_i · (E_i(x) if i is chosen, else Ê_i),  Ê_i ← β Ê_i + (1 - β) mean of E_i(x)

Ê is a constant, 0 at first, β = 0.9 as in the paper's models of 8 experts; the router gets a
gradient from all experts, the experts from their tokens. The paper passes Ê on in the forward pass,
not in the backward pass alone, and so does evaluation here, with the last Ê of training. A pair
that was refused for lack of capacity is missing too; the paper drops none.

Not in the paper: Ê is updated once a training step, from the step before, as running statistics of
routers are; theirs takes in the batch whose missing outputs it replaces, and would tell a token
about later ones and about other sequences. The mean is over the batch of all processes, whatever
`balance_scope` says; an expert without tokens keeps its Ê.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from moesuite.errors import UserError
from moesuite.nn.experts import AnyExperts
from moesuite.nn.grouped_linear import Layout
from moesuite.routing.forms import EMPTY, RaggedRouting, Routing, SlotRouting, SoftRouting
from moesuite.routing.layer import ExactStatistics
from moesuite.routing.scope import Scope

BETA = 0.9


class DefaultOutputs(ExactStatistics):
    """The running mean of the output of each of E experts.

    Attributes:
        running: Ê, [E, D].
        latest: mean of the previous training forward, [E, D]; NaN for experts without tokens.
    """

    running: Tensor
    latest: Tensor

    def __init__(self, num_experts: int, dim: int) -> None:
        super().__init__()
        self.register_buffer("running", torch.zeros(num_experts, dim))
        self.register_buffer("latest", torch.full((num_experts, dim), torch.nan))

    def advance(self) -> None:
        """Update the running mean from the previous training step."""
        moved = BETA * self.running + (1 - BETA) * self.latest
        self.running = torch.where(self.latest.isnan(), self.running, moved)

    def forward(self, y: Float[Tensor, "G T D"], routing: Routing) -> Float[Tensor, "G T D"]:
        """Add the weighted default outputs of all experts that did not serve a token.

        Raises:
            UserError: for a routing without gates of all experts.
        """
        if isinstance(routing, SoftRouting) or routing.gates is None:
            raise UserError(
                "dense_gradient: its router returns no gates of all experts; expected "
                "self.choose_experts(..., all_gates=gates), or dense_gates = False in its class"
            )
        missing = routing.gates.masked_fill(routing.token_weights() != 0, 0.0)
        return y + missing.to(y) @ self.running.to(y)

    @contextmanager
    def listening(self, experts: AnyExperts, routing: Routing) -> Iterator[None]:
        """Within this context, measure the mean output of experts that are run on a routing."""
        assert isinstance(routing, SlotRouting | RaggedRouting)

        def hook(_: Any, args: tuple[Any, ...], output: Tensor) -> None:
            if not output.is_meta:  # of the twin that costs are counted on
                self._measure(_sums(output.detach().float(), routing, *args[1:]), routing)

        handle = experts.register_forward_hook(hook)
        try:
            yield
        finally:
            handle.remove()

    def _measure(self, sums: Float[Tensor, "E D"], routing: Routing) -> None:
        counts = routing.load().sum(dim=0).to(sums.device)
        sums, counts = (part[0] for part in Scope(training=True).join(sums[None], counts[None]))
        self.latest = torch.where(counts[:, None] > 0, sums / counts[:, None], torch.nan)


def _sums(
    output: Tensor, routing: SlotRouting | RaggedRouting, where: Layout | None = None
) -> Float[Tensor, "E D"]:
    """Sum the outputs of each expert over the rows that carry a token.

    Args:
        output: of the experts, [E, N, D]; or [N, D], placed by `where`.
        routing: that they were run on.
        where: placement of the rows of each expert.
    """
    if isinstance(routing, SlotRouting):
        filled = (routing.tokens != EMPTY).transpose(0, 1).flatten(1).to(output.device)  # [E, N]
        return (output * filled[..., None]).sum(dim=1)
    assert where is not None
    counts = torch.bincount(routing.experts, minlength=routing.num_experts).to(output.device)
    sums = output.new_zeros(routing.num_experts, output.shape[-1])
    for chosen, rows in where.split(output):
        filled = torch.arange(rows.shape[1], device=output.device) < counts[chosen, None]
        sums[chosen] = (rows * filled[..., None]).sum(dim=1)
    return sums
