"""Null experts: what they give, what they spare, and for which routers they mean something."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from moesuite import (
    LayerSpec,
    MoE,
    RaggedRouting,
    Router,
    SlotRouting,
    UserError,
    for_export,
)
from moesuite.certify.certificate import causal
from moesuite.certify.harness import Subject, small_mlp
from moesuite.certify.isolation import batch_independent, padding_invariant
from moesuite.certify.repeatability import deterministic
from moesuite.discovery.names import router_names
from moesuite.nn.beside.null_experts import NullExperts
from moesuite.nn.beside.parts import Parts
from moesuite.nn.context import Scope
from moesuite.nn.experts import Experts
from moesuite.nn.stats import count_layer, health
from moesuite.routers import build_router, router_class
from moesuite.routing.static_form import aligned
from tests.nn.beside.small import DIM, EXPERTS, GROUPS, HIDDEN, layer_of, tokens

ALL = {"zero": 1, "copy": 1, "constant": 2}
CHOOSING = [name for name in router_names() if router_class(name).tokens_choose]
OTHERS = [name for name in router_names() if name not in CHOOSING and name != "dense"]


class Fixed(Router):
    """Return one routing."""

    def __init__(self, spec: LayerSpec, routing: Any) -> None:
        super().__init__(spec)
        self.routing = routing

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Any:
        return self.routing


def fixed_layer(routing: Any, counts: dict[str, int], renormalise: bool = False) -> MoE:
    """Return a layer of one expert f(x) = 10 x, of width 2, and null experts."""
    mlp = small_mlp(2, 2)
    for linear, gain in ((mlp.up, 1.0), (mlp.down, 10.0)):
        linear.weight.data = gain * torch.eye(2)
        linear.bias.data.zero_()
    layer = MoE(
        Fixed(LayerSpec(2, 1 + sum(counts.values())), routing),
        Experts(mlp, 1),
        renormalise=renormalise,
        null=NullExperts(2, counts),
    )
    layer.experts.act = nn.Identity()
    return layer.eval()


X = torch.tensor([[[1.0, 0.0], [0.0, 2.0]]])
# token 0: the expert with 0.5, a copy with 0.25, a zero with 0.25; token 1: the zero with 0.8
WEIGHTS = torch.tensor([[[0.5, 0.25, 0.25], [0.0, 0.0, 0.8]]])
CHOSEN = WEIGHTS > 0
FORMS = {
    "ragged": RaggedRouting(
        torch.tensor([0, 0, 0, 1]), torch.tensor([0, 1, 2, 2]), WEIGHTS[CHOSEN], 1, 2, 3
    ),
    "slots": SlotRouting(
        torch.tensor([[[0, -1], [-1, 0], [1, 0]]]),
        torch.tensor([[[0.5, 0.0], [0.0, 0.25], [0.8, 0.25]]]),
        2,
    ),
    "aligned": aligned(WEIGHTS, CHOSEN),
}


@pytest.mark.parametrize("form", FORMS)
def test_copies_and_zeros_by_hand(form: str) -> None:
    """Token 0: 0.5 · 10 x + 0.25 x = 5.25 x. Token 1: nothing.

    Divided by the sum of weights but the zero's, 0.75: 7 x.
    """
    counts = {"zero": 1, "copy": 1}
    y = fixed_layer(FORMS[form], counts)(X)
    torch.testing.assert_close(y, torch.tensor([[[5.25, 0.0], [0.0, 0.0]]]))
    layer = fixed_layer(FORMS[form], counts, renormalise=True)
    torch.testing.assert_close(layer(X), torch.tensor([[[7.0, 0.0], [0.0, 0.0]]]))
    # of 4 choices one was the expert's; token 1 has none
    figures = health(count_layer(layer))
    assert figures.null_share == 0.75 and figures.load == [1.0]
    assert figures.unserved == 0.5 and figures.pairs_per_token == 0.5


def test_constants_by_hand() -> None:
    """Token 0: W_c x = (ln 3, 0), α = (0.75, 0.25): 0.5 (0.75 x + 0.25 v), v = (4, 8)."""
    routing = RaggedRouting(torch.tensor([0]), torch.tensor([1]), torch.tensor([0.5]), 1, 2, 2)
    layer = fixed_layer(routing, {"constant": 1})
    assert layer.null is not None
    layer.null.vectors.data = torch.tensor([[4.0, 8.0]])
    layer.null.mix.data = torch.tensor([[torch.log(torch.tensor(3.0)), 0.0], [0.0, 0.0]])
    expected = torch.tensor([[[0.5 * (0.75 + 0.25 * 4), 0.5 * 0.25 * 8], [0.0, 0.0]]])
    torch.testing.assert_close(layer(X), expected)
    layer(X).sum().backward()
    assert layer.null.vectors.grad is not None and layer.null.mix.grad is not None
    assert layer.null.vectors.grad.abs().min() > 0 and layer.null.mix.grad.abs().max() > 0


def test_a_choice_of_two_with_a_zero_is_a_choice_of_one() -> None:
    """Kilian et al., section 4.6: divided by their sum, a sparser solution is a denser one."""
    routing = RaggedRouting(
        torch.tensor([0, 0, 1]), torch.tensor([0, 1, 0]), torch.tensor([0.2, 0.8, 0.1]), 1, 2, 2
    )
    assert torch.equal(fixed_layer(routing, {"zero": 1}, renormalise=True)(X), 10 * X)


def test_real_experts_a_token_by_hand() -> None:
    """K · E / (E + N): 2 · 4 / 6 = 4/3 where six tokens choose each of six experts twice."""
    expert = (torch.arange(6)[:, None] + torch.arange(2)).flatten() % 6
    routing = RaggedRouting(torch.arange(6).repeat_interleave(2), expert, torch.ones(12), 1, 6, 6)
    fixed, experts = Fixed(LayerSpec(2, 6), routing), Experts(small_mlp(2, 2), 4)
    layer = MoE(fixed, experts, null=NullExperts(2, {"zero": 2}))
    layer(torch.zeros(1, 6, 2))
    assert health(count_layer(layer)).pairs_per_token == pytest.approx(2 * 4 / 6)
    assert layer.work(routing, torch.device("cpu")).slots == 8
    # hash deals positions out evenly: 1 · 4 / 6 of 12 tokens
    hashed = layer_of("hash", Parts(null_experts={"zero": 2}))
    hashed(torch.zeros(2, 12, DIM))
    assert health(count_layer(hashed)).pairs_per_token == pytest.approx(4 / 6)
    assert health(count_layer(hashed)).null_share == pytest.approx(2 / 6)


def test_slots_grow_with_the_pool() -> None:
    """1.5 slots a token of 4 experts are 2.25 of 6: each has ceil(1.5 · 16 / 4) = 6 of 16."""
    spec = LayerSpec(8, 4, 1.5, 2.0)
    pool = spec.with_null_experts(2)
    assert (pool.num_experts, pool.slots_per_token, pool.eval_slots_per_token) == (6, 2.25, 3.0)
    assert spec.with_null_experts(0) is spec
    for each in (spec, pool):
        assert build_router("switch", each, {}).train().capacity(16) == 6


@pytest.mark.parametrize("renormalise", [False, True])
@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("name", CHOOSING)
def test_zeros_are_experts_whose_output_is_zero(
    name: str, training: bool, renormalise: bool
) -> None:
    """The oracle: as many experts, of which two give 0. Divided weights leave zeros out."""
    parts = Parts(renormalise, null_experts={"zero": 2})
    layer, oracle = layer_of(name, parts), layer_of(name, parts)
    experts = Experts(small_mlp(DIM, HIDDEN), EXPERTS + 2)
    for ours, theirs in zip(experts.parameters(), layer.experts.parameters(), strict=True):
        ours.data[:EXPERTS] = theirs.data
        ours.data[EXPERTS:] = 0
    oracle.experts, oracle.null = experts, None
    outputs = []
    for each in (layer, oracle):
        torch.manual_seed(2)
        outputs.append(each.train(training)(tokens()))
        each.context.losses.clear()
    if renormalise:
        assert oracle.routing is not None and layer.routing is not None
        weights = oracle.routing.token_weights()
        given = weights[..., :EXPERTS].sum(dim=-1, keepdim=True)
        outputs[1] = outputs[1] * weights.sum(dim=-1, keepdim=True) / given.clamp(min=1e-20)
    torch.testing.assert_close(*outputs, atol=1e-4, rtol=1e-4)


@dataclass(frozen=True)
class WithNull(Subject):
    """The certificate's test bench, with null experts of all kinds in its layers."""

    def _build(self, spec: LayerSpec, sharp: float) -> MoE:
        router = self._router(spec.with_null_experts(4))
        layer = Parts(null_experts=ALL).layer(router, small_mlp(self.dim, 2 * self.dim))
        for parameter in layer.parameters():
            if sharp and parameter.ndim >= 2:
                nn.init.normal_(parameter, std=sharp)
        layer.train()(self.inputs(seed=100))
        layer.context.losses.clear()
        return layer


@pytest.mark.slow
@pytest.mark.parametrize("check", [causal, batch_independent, padding_invariant, deterministic])
@pytest.mark.parametrize("name", CHOOSING)
def test_layers_behave_as_their_routers_do(name: str, check: Any) -> None:
    def built(spec: LayerSpec, **options: Any) -> Router:
        return build_router(name, spec, options)

    without, with_null = check(Subject(built)), check(WithNull(built))
    assert with_null.holds == without.holds and not with_null.false


@pytest.mark.parametrize("renormalise", [False, True])
@pytest.mark.parametrize("name", CHOOSING)
def test_the_static_form_gives_the_same(name: str, renormalise: bool) -> None:
    layer = layer_of(name, Parts(renormalise, null_experts=ALL))
    static = for_export(copy.deepcopy(layer).train())
    mask = torch.arange(9) < torch.tensor([[9], [5], [2]])
    for side in (None, mask):
        with layer.context.inside(Scope(side)), static.context.inside(Scope(side)):
            torch.testing.assert_close(static(tokens()), layer(tokens()), atol=1e-5, rtol=1e-5)


def test_a_false_claim_is_one_line() -> None:
    layer = layer_of("soft", Parts(null_experts={"zero": 2}))
    with pytest.raises(UserError, match="tokens_choose = False"):
        layer(tokens())


def test_a_limit_of_the_static_form_is_of_real_experts() -> None:
    """1 slot a token: ceil(9 / 4) = 3 slots of each of the four experts, and of null experts."""
    layer = for_export(layer_of("token_choice", Parts(null_experts={"copy": 4})), 1.0)
    layer(tokens())
    assert layer.routing is not None
    assert layer.executed(layer.routing).tokens.shape == (GROUPS, 4, 3)
    with pytest.raises(UserError, match="at most num_experts=4"):
        for_export(layer_of("token_choice", Parts(null_experts={"copy": 4})), 5.0)
