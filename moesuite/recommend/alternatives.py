"""Contestants within a budget: the largest of each that fits, and what it costs."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from moesuite.compute.cost import Cost, combine, cost
from moesuite.compute.passes import Pass, account
from moesuite.errors import UserError
from moesuite.recommend.contestants import Contestant
from moesuite.recommend.subject import Subject
from moesuite.routers import router_class
from moesuite.surgery.moe_config import MoEConfig
from moesuite.surgery.moefy import replace_mlps
from moesuite.surgery.upcycle_receipt import parameter_count

EXPERTS = (128, 64, 32, 16, 8, 4, 2)
LEAST_SLOTS = 0.5
ONE = 1  # examples in the inputs of a subject
SMALLER_LAYERS = ("every_other", "last_two")  # tried where a contestant's own do not fit


@dataclass(frozen=True)
class Limits:
    """What an upcycled model may cost relative to the dense one.

    Attributes:
        flops: executed FLOPs of a forward pass in evaluation, > 0.
        parameters: total parameters, >= 1.
    """

    flops: float
    parameters: float


@dataclass(frozen=True)
class Alternative:
    """A contestant within the limits; costs are relative to the dense model.

    Attributes:
        flops, training: executed FLOPs of a forward pass in evaluation, and of a training step.
        parameters, active: total and active parameters.
        activations: memory that a training step keeps for its backward pass.
        reduced: what is smaller than in its evidence, in words.
    """

    contestant: Contestant
    config: MoEConfig
    flops: float
    training: float
    parameters: float
    active: float
    activations: float
    reduced: list[str] = field(default_factory=list)


@dataclass
class Search:
    """Find what fits; counts no cost twice.

    Attributes:
        least_flops, least_parameters: smallest relative figures of what did not fit.
    """

    subject: Subject
    limits: Limits
    dense: Cost
    least_flops: float = math.inf
    least_parameters: float = math.inf

    def fit(self, contestant: Contestant) -> Alternative | None:
        """Return the largest form of a contestant within the limits, or None.

        Slots are reduced before layers, and experts to what the parameters allow.
        """
        for layers in _layers(contestant):
            for slots in _slots(contestant):
                config = self._with_experts(contestant, layers, slots)
                if config is None:
                    break
                model, inputs = self._model(config), self.subject.inputs
                forward = account(model, inputs, training=False)
                flops = executed(forward) / self.dense.forward.executed.total
                if flops <= self.limits.flops:
                    ours = combine(model, forward, account(model, inputs, training=True), ONE)
                    return _alternative(contestant, config, ours, self.dense)
                self.least_flops = min(self.least_flops, flops)
        return None

    def _with_experts(self, contestant: Contestant, layers: Any, slots: float) -> MoEConfig | None:
        """Return the configuration with the most experts that the parameters allow, or None."""
        for num_experts in [contestant.num_experts, *_fewer(contestant.num_experts)]:
            if slots > num_experts:
                return None
            config = MoEConfig(
                router=contestant.router,
                num_experts=num_experts,
                layers=layers,
                slots_per_token=slots,
                decoder=contestant.decoder,
                options=contestant.options,
            )
            parameters = parameter_count(self._model(config)) / self.dense.parameters_total
            if parameters <= self.limits.parameters:
                return config
            self.least_parameters = min(self.least_parameters, parameters)
        return None

    def _model(self, config: MoEConfig) -> Any:
        subject = self.subject
        example = subject.inputs if subject.kind == "images" else None
        return replace_mlps(copy.deepcopy(subject.model), config, example)


def executed(forward: Pass) -> float:
    """Return the executed FLOPs of a pass."""
    return forward.backbone + sum(layer.executed.total for layer in forward.layers.values())


def _alternative(contestant: Contestant, config: MoEConfig, ours: Cost, dense: Cost) -> Alternative:
    return Alternative(
        contestant=contestant,
        config=config,
        flops=ours.forward.executed.total / dense.forward.executed.total,
        training=ours.training.executed.total / dense.training.executed.total,
        parameters=ours.parameters_total / dense.parameters_total,
        active=ours.parameters_active / dense.parameters_total,
        activations=ours.activation_bytes / dense.activation_bytes,
        reduced=list(_reductions(contestant, config)),
    )


def _layers(contestant: Contestant) -> list[Any]:
    smaller = [layers for layers in SMALLER_LAYERS if layers != contestant.layers]
    return [contestant.layers, *smaller]


def _slots(contestant: Contestant) -> Iterator[float]:
    slots = contestant.slots_per_token
    while slots >= LEAST_SLOTS:
        yield slots
        slots /= 2


def _fewer(num_experts: int) -> list[int]:
    return [fewer for fewer in EXPERTS if fewer < num_experts]


def _reductions(contestant: Contestant, config: MoEConfig) -> Iterator[str]:
    for name in ("num_experts", "slots_per_token", "layers"):
        before, now = getattr(contestant, name), getattr(config, name)
        if before != now:
            yield f"{name} {now:g} for {before:g}" if name != "layers" else f"layers {now}"


def alternatives(
    contestants: list[Contestant], subject: Subject, limits: Limits, count: int
) -> list[Alternative]:
    """Return the first contestants that fit.

    Args:
        contestants: best first; those that this model cannot take are left out.
        count: number of alternatives, >= 1.

    Raises:
        UserError: if none fits; it names the least that one costs.
    """
    search = Search(subject, limits, cost(subject.model, subject.inputs))
    fitting = list[Alternative]()
    for contestant in contestants:
        if len(fitting) == count:
            break
        if router_class(contestant.router).sized and subject.kind != "images":
            continue  # slots are parameters for a number of tokens that texts do not share
        alternative = search.fit(contestant)
        if alternative is not None:
            fitting.append(alternative)
    if not fitting:
        raise _nothing_fits(search)
    return fitting


def _nothing_fits(search: Search) -> UserError:
    name, limit, least = "budget", search.limits.flops, search.least_flops
    if not math.isfinite(least):
        name, limit, least = "parameters", search.limits.parameters, search.least_parameters
    enough = f"{name}={math.ceil(least * 100) / 100:g}"
    return UserError(
        f"{name}={limit:g}: nothing fits; expected at least {enough}, the cheapest that was tried, "
        f"e.g. {enough}"
    )
