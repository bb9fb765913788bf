"""The router's certificate: how a router behaves, measured on a small layer, never taken from what it claims.

Every check compares outputs of a whole MoE layer with large router weights ("sharp", so that it has opinions) after a
few training steps; figures are largest differences relative to the largest output. Two passes count as equal below
`TOLERANCE`: float32 sums in another order differ by about 1e-7.
"""

from __future__ import annotations

from functools import cache, partial
from typing import Any

import torch

from moesuite.accounting import work
from moesuite.artifacts import Check
from moesuite.moe import MoE
from moesuite.plugins import build_router, router_names
from moesuite.router import LayerSpec, Router
from moesuite.routing import RaggedRouting, Routing
from moesuite.stats import count, health
from moesuite.subject import Subject, dense_output, difference, output

TOLERANCE = 1e-4


def _equal(figure: float, detail: str = "") -> Check:
    return Check(holds=figure < TOLERANCE, figure=figure, detail=detail)


def is_random(subject: Subject) -> bool:
    """Return whether two training passes draw different routings."""
    layer, x = subject.layer(), subject.inputs()
    return difference(output(layer, x, True, seed=1), output(layer, x, True, seed=2)) > 0


def deterministic(subject: Subject) -> Check:
    """Two evaluation passes agree to the last bit."""
    layer, x = subject.layer(), subject.inputs()
    figure = difference(output(layer, x, seed=1), output(layer, x, seed=2))
    return Check(holds=figure == 0, figure=figure)


def batch_independent(subject: Subject) -> Check:
    """A group's output does not depend on the groups beside it, in evaluation."""
    layer, x = subject.layer(), subject.inputs()
    return _equal(difference(output(layer, x)[:1], output(layer, x[:1])))


def padding_invariant(subject: Subject) -> Check:
    """Padding on the right changes no real token's output; in training too, where nothing is drawn."""
    layer, x = subject.layer(), subject.inputs()
    padded = torch.cat([x, torch.full((subject.groups, 5, subject.dim), 7.0)], dim=1)
    mask = torch.arange(subject.tokens + 5).expand(subject.groups, -1) < subject.tokens
    modes = [False] if is_random(subject) else [False, True]
    figures = [difference(output(layer, padded, m, mask)[:, : subject.tokens], output(layer, x, m)) for m in modes]
    return _equal(max(figures), "" if len(modes) == 2 else "in evaluation; training draws at random")


def equivariant(subject: Subject) -> Check:
    """Tokens in another order give the same outputs in that order, in evaluation."""
    layer, x = subject.layer(), subject.inputs()
    order = torch.randperm(subject.tokens, generator=torch.Generator().manual_seed(3))
    return _equal(difference(output(layer, x[:, order]), output(layer, x)[:, order]))


def causal(subject: Subject) -> Check:
    """No output depends on a later token: in training and evaluation, with room to spare and with binding capacity."""
    worst = {}
    for training in (False, True):
        figures = []
        for budget in (0.5, 1.0):
            for sharp in (1.0, 0.1):  # certain of one expert; open to several
                layer = subject.layer(slots_per_token=budget * subject.slots_per_token, sharp=sharp)
                figures += [_leak(subject, layer, training, seed) for seed in (4, 5)]
        worst["training" if training else "evaluation"] = max(figures)
    leaks = [mode for mode, figure in worst.items() if figure >= TOLERANCE]
    return _equal(max(worst.values()), f"leaks in {' and '.join(leaks)}" if leaks else "")


def _leak(subject: Subject, layer: MoE, training: bool, seed: int) -> float:
    """Return how much earlier outputs change with later tokens, from several places on."""
    x, other = subject.inputs(), subject.inputs(seed)
    before, figures = output(layer, x, training), []
    for cut in {1, subject.tokens // 2, subject.tokens - 1}:
        after = output(layer, torch.cat([x[:, :cut], other[:, cut:]], dim=1), training)
        figures.append(difference(after[:, :cut], before[:, :cut]))
    return max(figures)


def gradients(subject: Subject) -> tuple[Check, Check, Check]:
    """Whether every router parameter gets gradient: through the task loss, the auxiliary losses, and both together."""
    names = [name for name, _ in subject.layer().router.named_parameters()]
    if not names:
        nothing = Check(holds=None, detail="no parameters")
        return nothing, nothing, nothing
    found = []
    for task, auxiliary in ((True, False), (False, True), (True, True)):
        layer = subject.layer().train()
        y = layer(subject.inputs())
        losses = [loss for _, loss in layer.context.losses if loss.requires_grad]
        terms = ([y.square().mean()] if task else []) + (losses if auxiliary else [])
        if not terms:
            found.append(Check(holds=None, detail="no auxiliary loss"))
            continue
        torch.stack([term.reshape(()) for term in terms]).sum().backward()
        parameters = dict(layer.router.named_parameters())
        missing = [name for name, p in parameters.items() if p.grad is None or p.grad.abs().sum() == 0]
        found.append(Check(holds=not missing, detail="none for " + ", ".join(missing) if missing else ""))
    return found[0], found[1], found[2]


def capacity_enforced(subject: Subject) -> Check:
    """Training never does more expert work than the budget says: E·ceil(slots_per_token·T/E) rows a group."""
    worst = 0.0
    for budget in (0.5, 1.0):
        layer = subject.layer(slots_per_token=budget * subject.slots_per_token).train()
        layer(subject.inputs())
        assert layer.routing is not None
        allowed = subject.num_experts * layer.router.capacity(subject.tokens)
        worst = max(worst, _work(layer.routing) / allowed)
    return Check(holds=worst <= 1, figure=worst, detail="" if worst <= 1 else f"{worst:.2f} of the budget")


def _work(routing: Routing) -> float:
    """Return the rows that experts compute for the group that costs most."""
    if isinstance(routing, RaggedRouting):
        return float(routing.load().sum(dim=1).max())
    found = work(routing)
    return found.slots / (found.tokens / routing.num_tokens)  # slots are as many in every group


def single_expert_is_dense(subject: Subject) -> Check:
    """With E = 1 and a slot per token, the layer is the dense MLP."""
    layer, x = subject.layer(num_experts=1, slots_per_token=1.0, sharp=0.0), subject.inputs()
    return _equal(difference(output(layer, x), dense_output(layer, x)))


def upcycled_is_dense(subject: Subject) -> Check:
    """Experts that are copies of one MLP answer like it, wherever combine weights sum to 1."""
    layer, x = subject.layer(sharp=0.0).eval(), subject.inputs()
    ours, dense = output(layer, x), dense_output(layer, x)
    layer(x)
    assert layer.routing is not None
    sums = layer.routing.dense()[1].detach().sum(dim=(2, 3))
    whole = (sums - 1).abs() < TOLERANCE
    apart = difference(ours, dense)
    detail = (
        f"combine weights sum to {sums.mean():.2f} on average; largest difference {apart:.2g} of the largest output"
    )
    if not whole.any():
        return Check(holds=None, figure=apart, detail=detail)
    return Check(holds=difference(ours[whole], dense[whole]) < TOLERANCE, figure=apart, detail=detail)


def at_start(subject: Subject) -> dict[str, float]:
    """Return the shares of tokens dropped under the training capacity, and of dead experts, of an untrained router.

    In training mode, on 16 groups of 196 tokens; the second forward counts, so that running statistics have begun.
    """
    larger = Subject(subject.build, subject.num_experts, subject.slots_per_token, groups=16, tokens=196, dim=64)
    layer = larger.layer(sharp=0.0).train()
    with torch.no_grad():
        layer(larger.inputs(seed=2))
        layer(larger.inputs())
    assert layer.routing is not None
    found = health(count(layer.routing))
    return {"dropped_under_capacity": found.unserved, "dead": found.dead / larger.num_experts}


@cache
def causal_routers() -> list[str]:
    """Return the names of the package's routers that are measured to be causal with their default options."""
    return [name for name in router_names() if causal(Subject(partial(build_with, name))).holds]


def build_with(name: str, spec: LayerSpec, /, **options: Any) -> Router:
    """Build a router by name, its options as keyword arguments."""
    return build_router(name, spec, options)
