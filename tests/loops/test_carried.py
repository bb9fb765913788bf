"""`carry_aux_loss`: the gradient of the losses, once, whichever part of a model is called."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import timm
import torch
import transformers
from torch import Tensor, nn

import moesuite
from moesuite.errors import UserError
from moesuite.nn.moe import aux_loss
from tests.loops.tiny import batch, bert, gpt, gradients

Read = Callable[[Any, Tensor], Tensor]
BASE = transformers.BertModel
READS: dict[str, tuple[Any, Read]] = {
    "logits": (transformers.BertForMaskedLM, lambda m, ids: m(ids).logits),
    "loss": (transformers.BertForMaskedLM, lambda m, ids: m(ids, labels=ids).loss),
    "tuple": (transformers.BertForMaskedLM, lambda m, ids: m(ids, return_dict=False)[0]),
    "a part": (transformers.BertForMaskedLM, lambda m, ids: m.bert(ids).last_hidden_state),
    "a part of parts": (
        transformers.BertForMaskedLM,
        lambda m, ids: m.bert.encoder(m.bert.embeddings(ids)).last_hidden_state,
    ),
    "hidden states": (BASE, lambda m, ids: m(ids, output_hidden_states=True).hidden_states[-1]),
    "pooled": (BASE, lambda m, ids: m(ids).pooler_output),
    "changed in place": (BASE, lambda m, ids: m(ids).last_hidden_state.mul_(2)),
    "two forwards": (BASE, lambda m, ids: m(ids).pooler_output + m(ids.flip(0)).pooler_output),
}


def expect_same_gradients(carried: nn.Module, written: nn.Module) -> None:
    of_losses = 0.0
    for ours, theirs in zip(gradients(carried), gradients(written), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-7)
        of_losses += float(theirs.abs().sum())
    assert of_losses > 1e-4


@pytest.mark.parametrize("name", READS)
@pytest.mark.parametrize("checkpointing", [False, True])
def test_every_way_to_read_a_model_carries(name: str, checkpointing: bool) -> None:
    cls, read = READS[name]
    carried, written = bert(cls), bert(cls)
    if checkpointing:
        carried.gradient_checkpointing_enable({"use_reentrant": False})
    moesuite.carry_aux_loss(carried)
    moesuite.carry_aux_loss(carried)  # twice is as good as once
    ids = batch()["input_ids"]
    (0 * read(carried, ids)).sum().backward()  # what is left is the gradient of the losses
    ((0 * read(written, ids)).sum() + aux_loss(written)).backward()
    expect_same_gradients(carried, written)
    assert float(aux_loss(carried)) == 0.0  # nothing is left to read


@pytest.mark.parametrize("scale", [1.0, 0.5])
def test_a_loss_is_unchanged_and_its_gradient_has_the_losses(scale: float) -> None:
    carried, written = gpt().train(), gpt().train()
    carrying = moesuite.carry_aux_loss(carried, scale)
    loss, expected = carried(**batch()).loss, written(**batch()).loss
    assert float(loss) == float(expected)
    loss.backward()
    (expected + scale * aux_loss(written)).backward()
    expect_same_gradients(carried, written)
    carrying.remove()
    carried(**batch())
    assert float(aux_loss(carried)) > 0.0


def test_accumulated_batches_count_as_their_mean() -> None:
    carried, written = bert(), bert()
    moesuite.carry_aux_loss(carried, scale=1 / 2)
    for ids in batch()["input_ids"].split(2):
        (carried(ids, labels=ids).loss / 2).backward()
        ((written(ids, labels=ids).loss + aux_loss(written)) / 2).backward()
    expect_same_gradients(carried, written)


def test_several_backwards_through_a_forward_count_its_losses_once() -> None:
    carried, written = bert(), bert()
    moesuite.carry_aux_loss(carried)
    ids = batch()["input_ids"]
    for model, aux in ((carried, lambda: 0), (written, lambda: aux_loss(written))):
        logits = model(ids).logits
        logits[:2].square().sum().backward(retain_graph=True)
        (logits[2:].square().sum() + aux()).backward()
    expect_same_gradients(carried, written)


def test_parts_of_timm_models_carry_under_autocast() -> None:
    torch.manual_seed(0)
    dense = timm.create_model(
        "vit_tiny_patch16_224", img_size=8, patch_size=4, depth=1, embed_dim=12, num_classes=2
    )
    carried = moesuite.moefy(dense, "switch", num_experts=2, layers="all", jitter=0.0).train()
    written = copy.deepcopy(carried)
    moesuite.carry_aux_loss(carried)
    x = torch.randn(2, 3, 8, 8)
    with torch.autocast("cpu", torch.bfloat16):
        tokens, expected = carried.forward_features(x), written.forward_features(x)
        assert torch.equal(tokens, expected)
        tokens.float().mean().backward()
        (expected.float().mean() + aux_loss(written)).backward()
    expect_same_gradients(carried, written)


def test_forwards_without_gradients_and_in_evaluation_carry_nothing() -> None:
    carried, plain = gpt().eval(), gpt().eval()
    moesuite.carry_aux_loss(carried)
    with torch.no_grad():
        carried.train()(**batch())
    assert float(aux_loss(carried)) == 0.0
    for model in (carried, plain):
        model.eval()(**batch()).loss.backward()
    expect_same_gradients(carried, plain)


def test_copies_carry() -> None:
    written = gpt().train()
    model = gpt().train()
    moesuite.carry_aux_loss(model)
    (written(**batch()).loss + aux_loss(written)).backward()
    for copied in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        copied(**batch()).loss.backward()
        expect_same_gradients(copied, written)


def test_what_cannot_carry_is_refused() -> None:
    with pytest.raises(UserError, match="no MoE layers; type moesuite.moefy"):
        moesuite.carry_aux_loss(nn.Linear(2, 2))
    model = gpt()
    for scale in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(UserError, match=r"expected more than 0, e\.g\. scale=1\.0"):
            moesuite.carry_aux_loss(model, scale)
