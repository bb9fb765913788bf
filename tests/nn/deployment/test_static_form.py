"""`for_export`: the same answers in shapes that no data change, or one line of refusal."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from torch import Tensor

from moesuite import LayerSpec, MoE, RaggedRouting, Router, SlotRouting, UserError, for_export
from moesuite.certify.harness import small_mlp
from moesuite.discovery.names import router_names
from moesuite.nn.context import Scope
from moesuite.nn.experts import Experts
from moesuite.routers import build_router
from moesuite.routing.forms import AlignedRouting, SoftRouting

EXPERTS, TOKENS = 4, 9
OPTIONS = {"token_choice": {"k": 2}, "loss_free": {"k": 2}, "usmoe": {"normalise": True}}
WITHOUT_LIMIT = {
    *("base", "cosine", "expert_choice_causal", "expert_threshold", "group_limited", "hash"),
    *("loss_free", "mixture_of_depths", "noisy_topk", "quantile_balanced", "random", "relu"),
    *("sinkhorn_token_choice", "sparsity_constrained_token_choice", "switch", "token_choice"),
    *("token_rounding", "top_p", "usmoe"),
}


def layer_of(name: str, renormalise: bool = False, **spec: float) -> MoE:
    torch.manual_seed(0)
    sizes = LayerSpec(8, EXPERTS, tokens=TOKENS, **spec)  # type: ignore[arg-type]
    router = build_router(name, sizes, OPTIONS.get(name, {}))
    layer = MoE(router, Experts(small_mlp(8, 12), EXPERTS), renormalise=renormalise).eval()
    for parameter in layer.parameters():
        parameter.data.add_(torch.randn_like(parameter))
    if name in ("expert_choice_causal", "expert_threshold"):
        router.threshold.fill_(0.2)
    return layer


def tokens() -> Tensor:
    return torch.randn(3, TOKENS, 8, generator=torch.Generator().manual_seed(0))


MASK = torch.arange(TOKENS) < torch.tensor([[9], [5], [2]])


@pytest.mark.parametrize("renormalise", [False, True])
@pytest.mark.parametrize("name", router_names())
def test_the_static_form_gives_the_same_answers(name: str, renormalise: bool) -> None:
    layer = layer_of(name, renormalise)
    static = for_export(copy.deepcopy(layer).train())
    for mask in (None, MASK):
        x = tokens()
        with layer.context.inside(Scope(mask)), static.context.inside(Scope(mask)):
            torch.testing.assert_close(static(x), layer(x), atol=1e-5, rtol=1e-5)
        assert isinstance(static.routing, AlignedRouting) is (name in WITHOUT_LIMIT)
        assert isinstance(static.routing, SlotRouting | SoftRouting) and static.routing is not None
        assert layer.routing is not None
        torch.testing.assert_close(static.routing.load(), layer.routing.load())


@pytest.mark.parametrize("name", sorted(WITHOUT_LIMIT))
def test_a_limit_bounds_the_slots_and_refuses_the_rest(name: str) -> None:
    """ceil(1.0 · 9 / 4) = 3 slots; of the pairs of an expert without a limit, at most 3 are left.

    With a mask, groups of 9, 5 and 2 tokens buy 3, 2 and 1 slots.
    """
    layer = layer_of(name)
    static = for_export(copy.deepcopy(layer), slots_per_token=1.0)
    for mask, slots in ((None, [3, 3, 3]), (MASK, [3, 2, 1])):
        with layer.context.inside(Scope(mask)), static.context.inside(Scope(mask)):
            layer(tokens()), static(tokens())
        assert isinstance(static.routing, SlotRouting) and static.routing.tokens.shape == (3, 4, 3)
        assert layer.routing is not None
        allowed = torch.tensor(slots)[:, None].expand(3, EXPERTS).float()
        assert torch.equal(static.routing.load(), torch.minimum(layer.routing.load(), allowed))


def test_training_is_as_before() -> None:
    layer = layer_of("token_choice")
    static = for_export(copy.deepcopy(layer), slots_per_token=0.5)
    layer.train(), static.train()
    assert torch.equal(static(tokens()), layer(tokens()))


@pytest.mark.parametrize("limit", [0.0, -1.0, 4.5, math.nan])
def test_a_limit_out_of_range_is_one_line(limit: float) -> None:
    layer = layer_of("token_choice").train()
    with pytest.raises(
        UserError,
        match=r"^slots_per_token=.*: expected more than 0 and at most num_experts=4, e.g. ",
    ):
        for_export(layer, limit)
    assert layer.training and not layer.router.static


def test_balanced_assignment_is_refused() -> None:
    model = torch.nn.Sequential(
        layer_of("token_choice"), layer_of("base", eval_slots_per_token=1.0)
    )
    with pytest.raises(
        UserError, match="^router=base at 1 has no static form: balanced assignment"
    ):
        for_export(model)
    first = model[0]
    assert isinstance(first, MoE) and not first.router.static


class Ragged(Router):
    """A router of a user that knows no static form."""

    def forward(self, x: Tensor, mask: Tensor | None = None) -> RaggedRouting:
        every = torch.arange(x.shape[0] * x.shape[1])
        return RaggedRouting(every, every % EXPERTS, torch.ones(len(every)), *x.shape[:2], EXPERTS)


@pytest.mark.parametrize("router", ["token_choice", Ragged])
def test_what_has_no_static_shape_is_refused_before_tracing(
    router: str | type[Ragged], monkeypatch: pytest.MonkeyPatch
) -> None:
    layer = layer_of("token_choice")
    if not isinstance(router, str):
        layer.router = router(layer.router.spec).eval()
        for_export(layer)
    monkeypatch.setattr(torch.compiler, "is_exporting", lambda: True)
    with pytest.raises(UserError, match=r"no exported graph can hold; type moesuite.for_export"):
        layer(tokens())


def test_random_draws_are_those_of_any_length() -> None:
    """A group longer than what was drawn in advance draws as a shorter one does."""
    layer = for_export(layer_of("random"))
    few, many = (layer.router(torch.zeros(1, length, 8)) for length in (9, 8200))
    assert isinstance(many, AlignedRouting) and isinstance(few, AlignedRouting)
    assert torch.equal(many.weights[..., :9], few.weights)
