"""The router without a fault that planted faults inherit from."""

from __future__ import annotations

from torch import Tensor

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
