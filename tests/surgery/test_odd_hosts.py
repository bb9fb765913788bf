"""Models that call their MLPs in ways of their own."""

from __future__ import annotations

import torch

from moesuite.config.cli import Options, parse
from moesuite.nn.context import RoutingContext, Scope
from moesuite.nn.moe import aux_loss, moe_layers
from moesuite.support.small.subject import build
from moesuite.surgery.moefy import moefy


class Listing(Options):
    names: list[str] = []


def test_an_inner_module_of_the_same_ids_keeps_the_mask_around_it() -> None:
    """As MarkupLM's embeddings, which take ids and no mask."""
    ids, mask = torch.zeros(1, 3, dtype=torch.long), torch.tensor([[True, True, False]])
    for inner, seen in ((ids, True), (ids.clone(), False)):
        context = RoutingContext()
        context.open(Scope(mask, ids=ids, shape=(1, 3), fresh=True), False)
        embeddings = Scope(None, False, False, inner, (1, 3), True, "embeddings")
        context.open(embeddings, False)
        assert (context.side(torch.Size([1, 3, 4])).mask is mask) is seen


def test_cycles_without_gradients_leave_no_loss() -> None:
    """HRM runs its first cycles without gradients: their losses would have none."""
    subject = build("hf", "hrm_text")
    model = moefy(subject.copy(), "switch", 2, "all").train()
    losses = []
    for _, layer in moe_layers(model):
        layer.register_forward_hook(
            lambda layer, *_: losses.append((torch.is_grad_enabled(), layer.routing.losses))
        )
    model(**subject.inputs)
    counted = sum(sum(each.values()) for with_grad, each in losses if with_grad)
    assert len({with_grad for with_grad, _ in losses}) == 2
    assert torch.testing.assert_close(aux_loss(model), counted) is None


def test_a_layer_of_no_tokens_returns_none() -> None:
    model = moefy(build("hf", "llama").copy(), "expert_choice", 2, "all").train()
    _, layer = next(moe_layers(model))
    x = torch.zeros(2, 0, 64)
    assert layer(x) is x and layer.routing is None


def test_a_list_may_be_longer_than_a_path() -> None:
    names = [f"name_{index}" for index in range(60)]
    assert parse(Listing, [f"names={','.join(names)}"]).names == names
