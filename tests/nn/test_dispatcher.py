"""One seam for dispatchers: layers, accounting, certificate and benchmarks read one list."""

from __future__ import annotations

from typing import Any

import pytest
import timm
import torch
from torch import Tensor, nn

from moesuite import cost, moefy
from moesuite.benchmarks.speed.contestants import Size, contestants
from moesuite.certify.harness import Subject
from moesuite.certify.observations import tour
from moesuite.nn import dispatch
from moesuite.nn.dispatch import DISPATCHERS, RaggedDispatcher, dispatchers, reference
from moesuite.nn.dispatcher import Dispatcher, Work
from moesuite.nn.experts import DenseMLP, Experts
from moesuite.nn.moe import moe_layers
from moesuite.routers import build_router
from moesuite.routing.forms import AlignedRouting, RaggedRouting, SlotRouting, SoftRouting
from moesuite.routing.router import LayerSpec

GROUPS, TOKENS, DIM, EXPERTS = 2, 6, 4, 3
CPU = torch.device("cpu")


def experts() -> Experts:
    torch.manual_seed(0)
    up, down = nn.Linear(DIM, 8), nn.Linear(8, DIM)
    mlp = DenseMLP(up, None, down, nn.GELU(), nn.Identity(), None, nn.Identity())
    stacked = Experts(mlp, EXPERTS)
    for parameter in stacked.parameters():
        nn.init.normal_(parameter)
    return stacked


def routings() -> dict[str, Any]:
    """Each form once. Ragged: expert 0 has 3 pairs, expert 1 none, expert 2 has 2."""
    torch.manual_seed(1)
    weights = torch.rand(GROUPS, TOKENS, EXPERTS, 2)
    tokens = torch.tensor([[[0, 1], [2, -1], [5, 0]], [[-1, -1], [3, 4], [1, 1]]])
    every = torch.arange(TOKENS).expand(GROUPS, EXPERTS, TOKENS)
    aligned = torch.where(torch.rand(every.shape) < 0.5, every, -1)  # slot t reads token t
    return {
        "soft": SoftRouting(weights.softmax(1), weights.flatten(2).softmax(2).view_as(weights)),
        "slots": SlotRouting(tokens, torch.rand(tokens.shape) * (tokens >= 0), TOKENS),
        "aligned": AlignedRouting(aligned, torch.rand(aligned.shape) * (aligned >= 0), TOKENS),
        "ragged": RaggedRouting(
            torch.tensor([0, 7, 3, 11, 3]),
            torch.tensor([0, 0, 2, 2, 0]),
            torch.rand(5),
            GROUPS,
            TOKENS,
            EXPERTS,
        ),
    }


@pytest.mark.parametrize("dispatcher", DISPATCHERS, ids=lambda dispatcher: dispatcher.name)
def test_every_dispatcher_equals_the_reference(dispatcher: Dispatcher) -> None:
    mlps = experts()
    forms = [r for r in routings().values() if dispatcher.supports(r, mlps, CPU)]
    assert forms
    for routing in forms:
        x = torch.randn(GROUPS, TOKENS, DIM, requires_grad=True)
        results = []
        for run in (dispatcher.forward, reference):
            y = run(x, routing, mlps)
            (gradient,) = torch.autograd.grad(y.square().sum(), x)
            results += [y, gradient]
        torch.testing.assert_close(results[0], results[2], atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(results[1], results[3], atol=1e-4, rtol=1e-4)


def test_work_by_hand() -> None:
    """Soft: 2·3·2 slots. Slots: 9 of 12 filled.

    Ragged: 3 and 2 pairs do not pair up (2 < 0.75·3).
    """
    layers = experts()
    expected = {
        "soft": Work(12, 12, 12, 12, 6),
        "slots": Work(12, 9, 12, 12, 6),
        "ragged": Work(5, 5, 5, 12, 3),
    }
    for name in expected:
        routing = routings()[name]
        (dispatcher,) = dispatchers(routing, layers, CPU)
        assert dispatcher.name == name and dispatcher.work(routing) == expected[name]


class Doubling(RaggedDispatcher):
    """A stand-in for a backend of one device: computes every row twice, and says so."""

    name = "doubling"

    def supports(self, routing: Any, experts: Any, device: torch.device) -> bool:
        return super().supports(routing, experts, device) and device.type == "cpu"

    def forward(self, x: Tensor, routing: RaggedRouting, experts: Any) -> Tensor:
        output = super().forward(x, routing, experts)
        return (output + super().forward(x, routing, experts)) / 2

    def work(self, routing: RaggedRouting) -> Work:
        base = super().work(routing)
        return Work(base.slots, base.filled, 2 * base.computed, base.tokens, base.fullest_group)


def test_a_new_dispatcher_is_read_by_layers_accounting_certificate_and_benchmarks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def vit() -> nn.Module:
        torch.manual_seed(0)
        sizes = {"depth": 2, "embed_dim": 32, "num_heads": 2, "img_size": 32}
        model = timm.create_model("vit_tiny_patch16_224", **sizes)
        return moefy(model, "token_choice", num_experts=4, layers=[-1]).eval()

    x = torch.randn(2, 3, 32, 32)
    model = vit()
    with torch.no_grad():
        before, before_cost = model(x), cost(model, x)
    monkeypatch.setattr(dispatch, "DISPATCHERS", (Doubling(), *DISPATCHERS))
    ((_, layer),) = moe_layers(model)
    assert layer.routing is not None
    assert layer.dispatcher_for(layer.routing, CPU).name == "doubling"
    with torch.no_grad():
        torch.testing.assert_close(model(x), before)
    after = cost(model, x)  # counted on the meta device, by the dispatcher of the model's own
    assert after.forward.executed.experts == before_cost.forward.executed.experts
    rows, padding = (c.forward.executed.padding for c in (after, before_cost))
    assert rows == 2 * padding + before_cost.forward.executed.experts
    names = list(contestants(Size(2, 8, 4, 8, 2), ["usmoe"]))
    assert names == ["dense", "bare", "usmoe", "usmoe (ragged)"]


def test_the_certificate_counts_rows_by_the_layers_dispatcher(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Hungry(RaggedDispatcher):
        def work(self, routing: RaggedRouting) -> Work:
            base = super().work(routing)
            return Work(base.slots, base.filled, base.computed, base.tokens, 10**6)

    def build(spec: LayerSpec, **options: Any) -> Any:
        return build_router("usmoe", spec, options)

    assert max(seen.excess for seen in tour(Subject(build))) <= 1
    monkeypatch.setattr(dispatch, "DISPATCHERS", (Hungry(), *DISPATCHERS))
    tour.cache_clear()
    try:
        assert max(seen.excess for seen in tour(Subject(build))) > 1
    finally:
        tour.cache_clear()
