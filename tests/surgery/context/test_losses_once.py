"""Auxiliary losses are handed on once, wherever a model is called, and under checkpointing."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from moesuite import aux_loss, moefy
from moesuite.nn.context import UNREAD_LIMIT
from moesuite.nn.moe import moe_layers
from tests.surgery.context.families import TEXT_MODELS, TOKENS, Batch, moe
from tests.surgery.small_vit import images, small_vit

ROUTER = "expert_choice"  # its choices depend on the mask
PARTS_OF_TIMM: dict[str, Callable[[Any, Tensor], Any]] = {
    "whole": lambda model, x: model(x),
    "features": lambda model, x: model.forward_features(x),
    "intermediates": lambda model, x: model.forward_intermediates(x),
}


def losses(model: Any) -> list[int]:
    """Return the number of losses handed on, and of those left when they were read."""
    context = next(layer.context for _, layer in moe_layers(model))
    before = len(context.losses)
    aux_loss(model)
    return [before, len(context.losses)]


def count_advances(model: Any, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    calls: list[str] = []
    for name, layer in moe_layers(model):
        monkeypatch.setattr(layer.router, "advance", lambda name=name: calls.append(name))
    return calls


@pytest.mark.slow
@pytest.mark.parametrize("saved", [False, True])
@pytest.mark.parametrize("part", PARTS_OF_TIMM)
def test_of_any_part_of_timm(part: str, saved: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    model = moefy(small_vit(), num_experts=4, z_weight=0.0).train()
    model.set_grad_checkpointing(saved)
    advances = count_advances(model, monkeypatch)
    for step in range(3):
        PARTS_OF_TIMM["whole"](model, images())
        aux_loss(model).backward()
        del advances[:]
        output = PARTS_OF_TIMM[part](model, images())
        value = aux_loss(model)
        # two layers, each close to balanced at initialisation: 0.01 each
        assert value.item() == pytest.approx(0.02, abs=0.006), step
        features = output[0] if isinstance(output, tuple) else output
        (features.square().mean() + value).backward()
        assert aux_loss(model).item() == 0 and len(advances) == 2


def test_unread_losses_of_a_part_are_an_error() -> None:
    model = moefy(small_vit(), num_experts=4).train()
    for _ in range(2 * UNREAD_LIMIT):  # those that are read are none
        model.forward_features(images())
        aux_loss(model)
    with pytest.raises(RuntimeError, match="never read"):
        for _ in range(UNREAD_LIMIT + 2):
            model.forward_features(images())


def test_losses_of_a_failed_forward_are_of_none() -> None:
    """The loop that catches "out of memory" and goes on with the next batch."""
    model = moefy(small_vit(), num_experts=4, layers="all").train()
    model(images())
    expected = aux_loss(model)
    for error in (ZeroDivisionError, KeyboardInterrupt):
        handle = model.blocks[-1].register_forward_pre_hook(partial(_raise, error))
        with pytest.raises(error):
            model(images())
        handle.remove()
        model(images())
        torch.testing.assert_close(aux_loss(model), expected)


def _raise(error: type[BaseException], *_: Any) -> None:
    raise error


def test_forwards_that_train_nothing_have_no_loss() -> None:
    model = moefy(small_vit(), num_experts=4).train()
    model(images())
    expected = aux_loss(model)
    with torch.no_grad():
        for _ in range(2 * UNREAD_LIMIT):
            model(images())
    model(images())
    torch.testing.assert_close(aux_loss(model), expected)
    model.requires_grad_(False)
    for _ in range(2 * UNREAD_LIMIT):  # a teacher
        model(images())
    assert losses(model) == [0, 0]


def test_reentrant_checkpoints_of_texts_are_refused() -> None:
    """Their second forward runs outside the model, without its mask and ids."""
    model = moe(TEXT_MODELS["llama"], "loss_free").train().requires_grad_()
    model.config.use_cache = False
    model.gradient_checkpointing_enable({"use_reentrant": True})
    with pytest.raises(RuntimeError, match="are not known .*use_reentrant=False"):
        model(Batch().ids)


def train_on(model: Any, rows: list[slice], together: bool) -> list[Tensor]:
    """Return the gradients of several forwards, each with its mask, by one backward or each."""
    torch.manual_seed(0)  # of dropout
    model.zero_grad()
    batch, terms = Batch(), []
    for row in rows:
        y = model(input_ids=batch.ids[row], attention_mask=batch.mask[row]).logits
        terms.append(y[batch.mask[row].bool()].square().mean() + aux_loss(model))
        if not together:
            terms.pop().backward()
    if terms:
        torch.stack(terms).sum().backward()
    assert losses(model) == [0, 0]
    return [p.grad.clone() for p in model.parameters() if p.grad is not None]


@pytest.mark.slow
@pytest.mark.parametrize("together", [False, True])
@pytest.mark.parametrize("name", ["bert", "gpt2", "t5"])
def test_a_repeated_forward_has_the_mask_of_the_first(name: str, together: bool) -> None:
    """Rows of other lengths follow each other, so that another's mask would not even fit."""
    rows = [slice(0, 1), slice(1, 3), slice(0, 2), slice(2, 3)]
    model = moe(TEXT_MODELS[name], ROUTER)
    if name == "t5":
        model = _Targets(model)
    plain = train_on(model.train().requires_grad_(), rows, together)
    host = getattr(model, "model", model)
    host.config.use_cache = False
    host.gradient_checkpointing_enable({"use_reentrant": False})
    for ours, theirs in zip(train_on(model, rows, together), plain, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


class _Targets(torch.nn.Module):
    """An encoder-decoder whose targets are its sources."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Any:
        return self.model(
            input_ids=input_ids,
            attention_mask=attention_mask,
            decoder_input_ids=input_ids,
            decoder_attention_mask=attention_mask,
        )


def test_a_block_by_itself_under_a_checkpoint() -> None:
    model = moe(TEXT_MODELS["bert"], "token_choice").train()
    block = model.bert.encoder.layer[0]
    x = torch.randn(3, TOKENS, 32, requires_grad=True)
    mask = Batch().mask[:, None, None].bool()
    y = checkpoint(block, x, attention_mask=mask, use_reentrant=False)
    assert block.intermediate.mask.sum(dim=1).tolist() == Batch().mask.sum(dim=1).tolist()
    (y.square().mean() + aux_loss(model)).backward()
    assert losses(model) == [0, 0] and x.grad is not None
