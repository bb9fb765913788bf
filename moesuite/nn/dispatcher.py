"""The seam between routing and experts: what a dispatcher computes, and what it costs.

To add one (a Triton kernel, `torch.nn.functional.grouped_mm`), subclass `Dispatcher` in a file of
this folder and list it in `moesuite.nn.dispatch.DISPATCHERS`. MoE layers, cost accounting, the
certificate and the speed benchmarks all read that list.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from moesuite.nn.experts import AnyExperts
from moesuite.routing.forms import Routing

BACKWARD = 3  # forward and backward: a product's gradient takes two more products of its size


@dataclass(frozen=True)
class Work:
    """Rows of expert work of one layer in one forward pass, over all groups.

    Attributes:
        slots: slots of the routing: G·E·C, or the number of routed pairs.
        filled: slots that carry a token.
        computed: rows that experts compute, including what a dispatcher pads.
        tokens: G·T.
        fullest_group: slots of the group that has most.
    """

    slots: int
    filled: int
    computed: int
    tokens: int
    fullest_group: int

    @property
    def slots_per_token(self) -> float:
        """Expert work per token relative to the dense MLP."""
        return self.slots / self.tokens


class Dispatcher(ABC):
    """Moves tokens to experts and their outputs back, for one form of routing.

    Has no state. Must give what `moesuite.nn.dispatch.reference` gives, gradients included, also
    where routing and tokens are on different devices: accounting runs real decisions on meta
    tensors (a kernel without a meta implementation raises `RuntimeError` there, and the pass is
    accounted on the model's own device).

    Attributes:
        name: shown in benchmarks.
        form: class of the routings that it takes.
        moves_by_matmul: whether tokens are moved by matrix products, which a FLOP counter sees;
            False for gathers, which it does not see.
    """

    name: ClassVar[str]
    form: ClassVar[type]
    moves_by_matmul: ClassVar[bool] = False

    def supports(self, routing: Routing, experts: AnyExperts, device: torch.device) -> bool:
        """Return whether this dispatcher can run `routing` through `experts` on `device`."""
        return isinstance(routing, self.form)

    @abstractmethod
    def forward(
        self, x: Float[Tensor, "G T D"], routing: Any, experts: AnyExperts
    ) -> Float[Tensor, "G T D"]:
        """Return Σ_e C_e f_e(D_eᵀ x); tokens without an expert get 0."""

    @abstractmethod
    def work(self, routing: Any) -> Work:
        """Count the rows of a routing."""

    def moving_flops(self, routing: Any, dim: int, training: bool) -> int:
        """Return the FLOPs of moving tokens of width `dim`; here one multiply-add per computed row.

        Args:
            routing: of the form that this dispatcher takes.
            dim: width D of a token.
            training: whether backward is included.
        """
        return (BACKWARD if training else 1) * 2 * self.work(routing).computed * dim
