"""The test bench of certificates and contracts: a router in a small layer, inputs, comparisons.

Every pass starts from the same state of the generators of torch, Python and numpy, and restores
their state afterwards.
"""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from moesuite.config.schema import GateKind
from moesuite.errors import UserError
from moesuite.nn.context import Scope
from moesuite.nn.experts import DenseMLP, Experts
from moesuite.nn.grouped_linear import layout
from moesuite.nn.moe import MoE
from moesuite.routing.router import LayerSpec, Router
from moesuite.routing.scope import alone

KINDS = {
    "Gaussian": "standard normal tokens",
    "alike": "three of four tokens nearly equal, so that most choose the same expert",
    "constant": "all tokens the same",
    "huge": "standard normal tokens times 1e4",
    "tiny": "standard normal tokens times 1e-6",
    "zero": "tokens of zeros",
}


@dataclass(frozen=True)
class Subject:
    """A router under test and the size of its layer.

    Args:
        build: (spec, **overriding options) -> router.
        num_experts: E, >= 2.
        slots_per_token: budget, in (0, E].
        groups, tokens, dim: G, T and D.
        device: device of layers and inputs.
        gate: kind of the router's gate; None: its own.
    """

    build: Callable[..., Router]
    num_experts: int = 4
    slots_per_token: float = 1.0
    groups: int = 3
    tokens: int = 24
    dim: int = 16
    device: str = "cpu"
    gate: GateKind | None = None
    _layers: dict[Any, MoE] = field(default_factory=dict, compare=False, repr=False)
    _tried: dict[str, Any] = field(default_factory=dict, compare=False, repr=False)

    def layer(
        self,
        num_experts: int | None = None,
        slots_per_token: float | None = None,
        sharp: float = 1.0,
        eval_slots_per_token: float | None = None,
        tokens: int | None = None,
    ) -> MoE:
        """Return a layer of distinct experts, its weights of deviation `sharp`; 0: as upcycled."""
        spec = self.spec(num_experts, slots_per_token, eval_slots_per_token, tokens)
        if (spec, sharp) not in self._layers:
            with seeded(0, self.device):
                self._layers[spec, sharp] = self._build(spec, sharp)
        return copy.deepcopy(self._layers[spec, sharp])

    def spec(
        self,
        num_experts: int | None = None,
        slots_per_token: float | None = None,
        eval_slots_per_token: float | None = None,
        tokens: int | None = None,
    ) -> LayerSpec:
        """Return the spec of such a layer; each router gets a copy, and cannot change this one."""
        budget = self.slots_per_token if slots_per_token is None else slots_per_token
        size = num_experts or self.num_experts
        tokens = tokens or self.tokens
        return LayerSpec(self.dim, size, budget, eval_slots_per_token, tokens, gate=self.gate)

    def _build(self, spec: LayerSpec, sharp: float) -> MoE:
        try:
            router = self._router(spec)
        except UserError:
            if spec.num_experts > 1:
                raise
            router = self._router(spec, k=1)  # a router of K experts per token
        experts = Experts(small_mlp(self.dim, 2 * self.dim), spec.num_experts)
        layer = MoE(router, experts).to(self.device)
        if sharp:
            for parameter in layer.parameters():
                if parameter.ndim >= 2:
                    nn.init.normal_(parameter, std=sharp)
            for step in range(3):  # gives routers their running statistics
                layer.train()(self.inputs(seed=100 + step))
            layer.context.losses.clear()
        return layer

    def _router(self, spec: LayerSpec, **options: Any) -> Router:
        self._tried.update(spec=spec, call=None)
        router = self.build(replace(spec), **options)

        def note(router: Router, args: tuple[Any, ...]) -> None:
            self._tried.update(
                spec=spec,
                call=(args[0].shape, router.training, any(a is not None for a in args[1:])),
            )

        router.register_forward_pre_hook(note)
        return router

    @property
    def tried(self) -> str:
        """The last call, e.g. "with 1 expert, 3 groups of 24 tokens, in training"."""
        if not self._tried:
            return ""
        experts = self._tried["spec"].num_experts
        words = [f"with {experts} expert{'s' * (experts > 1)}"]
        if self._tried["call"] is None:
            return f"{words[0]}, as it is built"
        (groups, tokens, *_), training, masked = self._tried["call"]
        words += [f"{groups} group{'s' * (groups > 1)} of {tokens} token{'s' * (tokens > 1)}"]
        words += ["in training" if training else "in evaluation", *["with padding"] * masked]
        return ", ".join(words)

    def takes_evaluation_slots(self) -> bool:
        """Return whether the router accepts a limit of its own in evaluation; some refuse it."""
        try:
            self._router(self.spec(slots_per_token=1.0, eval_slots_per_token=0.5))
        except UserError:
            return False
        return True

    def inputs(self, seed: int = 1, tokens: int | None = None, kind: str = "Gaussian") -> Tensor:
        """Return tokens [G, T, D] of one of `KINDS`, drawn on the CPU: the same on every device."""
        generator = torch.Generator().manual_seed(seed)
        x = torch.randn(self.groups, tokens or self.tokens, self.dim, generator=generator)
        match kind:
            case "alike":
                most = torch.arange(x.shape[1]) % 4 > 0
                x = torch.where(most[:, None], x[:1, :1] + 1e-2 * x, x)
            case "constant":
                x = x[:1, :1].expand_as(x).contiguous()
            case "huge" | "tiny" | "zero":
                x = x * {"huge": 1e4, "tiny": 1e-6, "zero": 0.0}[kind]
        return x.to(self.device)


def small_mlp(dim: int = 6, hidden: int = 10, gated: bool = False, norm: bool = False) -> DenseMLP:
    """Return a small MLP for experts."""
    up = nn.Linear(dim, hidden)
    gate = nn.Linear(dim, hidden) if gated else None
    down = nn.Linear(hidden, dim)
    layer_norm = nn.LayerNorm(hidden) if norm else None
    return DenseMLP(up, gate, down, nn.GELU(), nn.Identity(), layer_norm, nn.Identity())


def usable(device: str) -> str:
    """Return `device`, after checking that tensors can be allocated there.

    Raises:
        UserError: if torch does not know the device, or it is missing.
    """
    try:
        torch.zeros(1, device=device).item()
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        known = "cpu"
        if torch.accelerator.is_available():
            accelerator = torch.accelerator.current_accelerator()
            known += "" if accelerator is None else f", {accelerator.type}"
        reason = str(error).splitlines()[0].rstrip(".")
        raise UserError(
            f"device={device}: {reason}; expected one of {known}, e.g. device=cpu"
        ) from None
    return device


@contextmanager
def seeded(seed: int, device: str = "cpu") -> Iterator[None]:
    """Seed the generators of torch, Python and numpy, and restore them after; single-process."""
    python, numpy = random.getstate(), np.random.get_state()
    accelerator = torch.device(device).type
    forked: dict[str, Any] = {"devices": [], "enabled": True}
    if accelerator != "cpu":
        forked = {"devices": [torch.device(device)], "device_type": accelerator}
    try:
        with alone(), torch.random.fork_rng(**forked):
            # torch.manual_seed formats a traceback for each idle accelerator: milliseconds
            (torch.default_generator if accelerator == "cpu" else torch).manual_seed(seed)
            random.seed(seed)
            np.random.seed(seed)
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)


def twin_of(layer: MoE, training: bool = False) -> MoE:
    """Return a copy of `layer` with its own router, so that passes cannot affect each other."""
    return copy.deepcopy(layer, {id(layer.experts): layer.experts}).train(training)


@torch.no_grad()
def output(
    layer: MoE, x: Tensor, training: bool = False, mask: Tensor | None = None, seed: int = 0
) -> Tensor:
    """Return the output of a copy of `layer` for a copy of `x`."""
    layer = twin_of(layer, training)
    with seeded(seed, str(x.device)), layer.context.inside(Scope(mask)):
        return layer(x.clone())


def difference(ours: Tensor, theirs: Tensor) -> float:
    """Return the largest difference relative to the largest value; infinite for NaN."""
    if ours.numel() == 0:
        return 0.0
    figure = float((ours - theirs).abs().max() / theirs.abs().max().clamp(min=1e-12))
    return figure if figure == figure else float("inf")


@torch.no_grad()
def dense_output(layer: MoE, x: Tensor) -> Tensor:
    """Return the output of the first expert alone for every token."""
    counts = [x.shape[:2].numel()] + [0] * (layer.experts.num_experts - 1)
    return layer.experts.ragged(x.flatten(0, 1), layout(counts)).reshape(x.shape)
