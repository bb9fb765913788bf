"""The layers that are timed against each other, at equal expert FLOPs, and their inputs.

C = round(T/E) slots per expert and group, at least 1; every contestant computes G·E·C rows of
expert work: `dense` gets that many rows, and a peer without capacity (Mixtral) a hidden size that
compensates for the difference. Peers whose experts are gated (three matrices) have two thirds of
the hidden size.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from moesuite.compute.timing import CPU
from moesuite.discovery.names import router_names
from moesuite.nn.dispatch import dispatchers
from moesuite.nn.experts import DenseMLP, Experts
from moesuite.nn.moe import MoE, aux_loss
from moesuite.routers import build_router
from moesuite.routing.router import LayerSpec, Router


@dataclass(frozen=True)
class Size:
    """Sizes of the layer: G groups of T tokens, width D, hidden width H, E experts."""

    groups: int
    tokens: int
    dim: int
    hidden: int
    num_experts: int

    @property
    def slots(self) -> int:
        """C, slots per expert and group."""
        return max(1, round(self.tokens / self.num_experts))

    @property
    def slots_per_token(self) -> float:
        """E·C/T."""
        return self.slots * self.num_experts / self.tokens

    @property
    def rows(self) -> int:
        """Rows of expert work, G·E·C."""
        return self.groups * self.num_experts * self.slots


@dataclass(frozen=True)
class Contestant:
    """A layer, its input, and the hidden size of its experts."""

    layer: nn.Module
    x: Tensor
    hidden: int
    call: Callable[[nn.Module, Tensor], Tensor] = lambda layer, x: layer(x)


class Dense(nn.Module):
    """The dense MLP in the plain form of timm's."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        self.fc1 = nn.Linear(size.dim, size.hidden)
        self.fc2 = nn.Linear(size.hidden, size.dim)
        self.act = nn.GELU()

    def forward(self, x: Tensor) -> Tensor:
        """[..., D] -> [..., D]."""
        return self.fc2(self.act(self.fc1(x)))


def contestants(
    size: Size, names: list[str] | None = None, device: torch.device = CPU
) -> dict[str, Contestant]:
    """Return dense, bare and the layers called `names`; None: every router and every peer.

    Routers share one set of experts: they are called in turns, and 128 experts are 600 MB. A router
    whose routing several dispatchers can run has a contestant for each: "switch", by the default
    one, and "switch (<dispatcher>)".
    """
    torch.manual_seed(0)
    dense = Dense(size)
    experts = Experts(
        DenseMLP(dense.fc1, None, dense.fc2, dense.act, nn.Identity(), None, nn.Identity()),
        size.num_experts,
    )
    x = torch.randn(size.groups, size.tokens, size.dim)
    layers = {
        "dense": Contestant(dense, torch.randn(size.rows, size.dim), size.hidden),
        "bare": Contestant(
            experts,
            torch.randn(size.num_experts, size.rows // size.num_experts, size.dim),
            size.hidden,
        ),
    }
    spec = LayerSpec(size.dim, size.num_experts, size.slots_per_token, tokens=size.tokens)
    for name in names if names is not None else [*router_names(), *PEERS]:
        if name in PEERS:
            layers[name] = PEERS[name](size, x)
        elif name != "dense":
            router = build_router(name, spec, {})
            for label, layer in _by_dispatcher(name, router, experts, x, device).items():
                layers[label] = Contestant(layer, x, size.hidden)
    fair = {name: c for name, c in layers.items() if rows(c) <= 2 * size.rows}
    return {
        name: replace(c, layer=c.layer.to(device), x=c.x.to(device)) for name, c in fair.items()
    }


@torch.no_grad()
def rows(contestant: Contestant) -> int:
    """Return the rows of expert work of one of our layers before training, else 0.

    ReLU gates start with half of all pairs.
    """
    if not isinstance(contestant.layer, MoE):
        return 0
    layer, x = contestant.layer, contestant.x
    return layer.work(layer.router(x), x.device).slots


@torch.no_grad()
def _by_dispatcher(
    name: str, router: Router, experts: Experts, x: Tensor, device: torch.device
) -> dict[str, MoE]:
    """Return a layer for each dispatcher that can run the routing of `router` on `device`."""
    with torch.random.fork_rng(devices=[]):
        _, *others = dispatchers(router(x), experts, device)
    return {
        name: MoE(router, experts),
        **{f"{name} ({each.name})": MoE(router, experts, dispatcher=each) for each in others},
    }


def forward(contestant: Contestant) -> Callable[[], object]:
    """Return a forward pass to time."""

    def run() -> None:
        with torch.no_grad():
            contestant.call(contestant.layer, contestant.x)

    return run


def both(contestant: Contestant) -> Callable[[], object]:
    """Return a forward and backward pass to be timed, the gradient of the input included."""
    layer, x = contestant.layer, contestant.x.clone().requires_grad_()
    gradient = torch.randn_like(x).flatten()

    def run() -> None:
        output = contestant.call(layer, x).to(gradient.dtype)
        (torch.dot(output.flatten(), gradient) + aux_loss(layer)).backward()
        layer.zero_grad()
        x.grad = None

    return run


def mixtral(implementation: str) -> Callable[[Size, Tensor], Contestant]:
    """Hugging Face's Mixtral block: gated experts, dropless, one expert per token."""

    def build(size: Size, x: Tensor) -> Contestant:
        modeling = importlib.import_module("transformers.models.mixtral.modeling_mixtral")
        hidden = round(size.hidden * 2 / 3 * size.rows / (size.groups * size.tokens) / 16) * 16
        config = importlib.import_module("transformers").MixtralConfig(
            hidden_size=size.dim,
            intermediate_size=hidden,
            num_local_experts=size.num_experts,
            num_experts_per_tok=1,
            experts_implementation=implementation,
        )
        layer = modeling.MixtralSparseMoeBlock(config)
        for parameter in layer.parameters():
            nn.init.normal_(parameter, std=0.02)
        return Contestant(layer, x, hidden)

    return build


def st_moe(size: Size, x: Tensor) -> Contestant:
    """ST-MoE of lucidrains: gated experts, two per token within the same number of slots."""
    module: Any = importlib.import_module("st_moe_pytorch.st_moe_pytorch")
    module.MIN_EXPERT_CAPACITY = 1  # its floor of 4 slots would be other work
    layer = module.MoE(
        size.dim, size.num_experts, capacity_factor_train=_factor(size), gating_top_n=2
    )
    return Contestant(layer, x, size.dim * 8 // 3, _first)


def mixture_of_experts(size: Size, x: Tensor) -> Contestant:
    """The first MoE of lucidrains: two experts per token within the same number of slots."""
    module: Any = importlib.import_module("mixture_of_experts.mixture_of_experts")
    module.MIN_EXPERT_CAPACITY = 1
    options: dict[str, Any] = {"hidden_dim": size.hidden, "activation": nn.GELU}
    layer = module.MoE(size.dim, size.num_experts, capacity_factor_train=_factor(size), **options)
    return Contestant(layer, x, size.hidden, _first)


def soft_moe(size: Size, x: Tensor) -> Contestant:
    """Soft MoE of lucidrains."""
    module = importlib.import_module("soft_moe_pytorch")
    mult = size.hidden / size.dim
    options = {"num_experts": size.num_experts, "num_slots": size.slots, "expert_mult": int(mult)}
    return Contestant(module.SoftMoE(size.dim, **options), x, int(mult) * size.dim)


def _factor(size: Size) -> float:
    return size.slots_per_token + 1e-6


def _first(layer: nn.Module, x: Tensor) -> Tensor:
    return layer(x)[0]


PEERS: dict[str, Callable[[Size, Tensor], Contestant]] = {
    "mixtral-eager": mixtral("eager"),
    "mixtral-grouped_mm": mixtral("grouped_mm"),
    "st-moe-pytorch": st_moe,
    "mixture-of-experts": mixture_of_experts,
    "soft-moe-pytorch": soft_moe,
}
