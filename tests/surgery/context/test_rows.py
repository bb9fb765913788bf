"""Rows of a padded batch are what they are alone, whichever way a model is called."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import timm
import torch
import transformers
from torch import Tensor, nn

from moesuite.surgery.hooks import padding_of
from tests.surgery.context.families import (
    PARTS,
    TEXT_MODELS,
    TOKENS,
    VOCABULARY,
    Batch,
    T5Batch,
    moe,
)

Call = Callable[[Any, Tensor, Tensor], Tensor]


def by_keyword(model: Any, ids: Tensor, mask: Tensor) -> Tensor:
    return model(input_ids=ids, attention_mask=mask)[0]


def by_position(model: Any, ids: Tensor, mask: Tensor) -> Tensor:
    return model(ids, mask)[0]


def after_a_cache(model: Any, ids: Tensor, mask: Tensor) -> Tensor:
    """By position, as the decoders of transformers 5 take it."""
    return model(ids, None, mask)[0]


def embedded(model: Any, ids: Tensor, mask: Tensor) -> Tensor:
    return model(inputs_embeds=model.get_input_embeddings()(ids), attention_mask=mask)[0]


def with_a_mask_of_attention(model: Any, ids: Tensor, mask: Tensor) -> Tensor:
    return model(input_ids=ids, attention_mask=mask[:, None, None].bool())[0]


CALLS = [
    pytest.param(name, call, marks=() if call is by_position else pytest.mark.slow)
    for name, own in {
        "bert": (by_position, with_a_mask_of_attention),
        "roberta": (by_position,),
        "gpt2": (after_a_cache,),
        "llama": (),
    }.items()
    for call in (by_keyword, embedded, *own)
]


def assert_rows_alone(model: Any, call: Call, batch: Batch) -> None:
    real = batch.real
    with torch.no_grad():
        padded = call(model, batch.ids, batch.mask)[0, real]
        (alone,) = call(model, batch.ids[:1, real], batch.mask[:1, real])
    torch.testing.assert_close(padded, alone, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("name", "call"), CALLS)
def test_of_models_and_their_parts(name: str, call: Call) -> None:
    model = moe(TEXT_MODELS[name])
    assert_rows_alone(model, call, Batch())
    assert_rows_alone(getattr(model, PARTS[name]), call, Batch())


@pytest.mark.parametrize(
    "name", ["gpt2", *(pytest.param(name, marks=pytest.mark.slow) for name in ("bert", "llama"))]
)
def test_nothing_is_left_of_an_earlier_call(name: str) -> None:
    model = moe(TEXT_MODELS[name])
    batch = Batch()
    part, whole = getattr(model, PARTS[name]), torch.ones_like(batch.mask)
    with torch.no_grad():
        before = part(input_ids=batch.ids, attention_mask=whole)[0]
        model(input_ids=batch.ids, attention_mask=batch.mask)
        torch.testing.assert_close(part(input_ids=batch.ids)[0], before, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_of_both_halves_of_an_encoder_decoder() -> None:
    model, batch = moe(TEXT_MODELS["t5"]), T5Batch()
    with torch.no_grad():
        padded = model(**batch.inputs)[0][0, batch.real_targets]
        (alone,) = model(**batch.alone)[0]
        torch.testing.assert_close(padded, alone, rtol=1e-4, atol=1e-5)
        assert_rows_alone(model.encoder, by_keyword, Batch())
        assert_rows_alone(model.decoder, by_keyword, Batch())


def test_a_failed_call_leaves_nothing() -> None:
    model, batch = moe(TEXT_MODELS["bert"]), Batch()
    layer = model.bert.encoder.layer[1]
    handle = layer.register_forward_pre_hook(lambda *_: 1 / 0)
    with torch.no_grad(), pytest.raises(ZeroDivisionError):
        model(batch.ids, batch.mask)
    handle.remove()
    assert layer.intermediate.context.scope is None


def test_an_interrupted_call_leaves_nothing_to_the_next() -> None:
    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    model, batch = moe(TEXT_MODELS["bert"]), Batch()
    handle = model.bert.encoder.layer[1].register_forward_pre_hook(interrupt)
    with pytest.raises(KeyboardInterrupt):
        model(batch.ids, batch.mask)
    handle.remove()
    assert_rows_alone(model, by_keyword, batch)
    assert model.bert.encoder.layer[1].intermediate.context.scope is None


def test_an_interrupted_call_leaves_nothing_to_its_parts() -> None:
    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    model, batch = moe(TEXT_MODELS["bert"]), Batch()
    encoder, x = model.bert.encoder, torch.randn(*batch.ids.shape, 32)
    with torch.no_grad():
        before = encoder(x)[0], encoder.layer[0].intermediate(x)
        handle = encoder.layer[1].register_forward_pre_hook(interrupt)
        with pytest.raises(KeyboardInterrupt):
            model(batch.ids, batch.mask)
        handle.remove()
        torch.testing.assert_close((encoder(x)[0], encoder.layer[0].intermediate(x)), before)


def test_a_call_inside_a_call_takes_nothing_from_it() -> None:
    """A hook asks the same model about other tokens; hash routing needs its ids afterwards."""
    model, batch = moe(TEXT_MODELS["bert"], "hash"), Batch()
    with torch.no_grad():
        expected = by_position(model, batch.ids, batch.mask)

        def ask(*_: Any) -> None:
            handle.remove()
            model(batch.ids.flip(0)[:, :7])

        handle = model.bert.encoder.layer[0].register_forward_hook(ask)
        torch.testing.assert_close(by_position(model, batch.ids, batch.mask), expected)


@pytest.mark.parametrize("padded", [False, True])
def test_masks_of_attention_of_either_sense(padded: bool) -> None:
    """MPT's says True where a token is not attended to; an inner one tells as much as its model."""
    real = Batch().mask.bool() if padded else torch.ones(3, TOKENS, dtype=torch.bool)
    causal = torch.ones(TOKENS, TOKENS, dtype=torch.bool).tril()
    attends = causal & real[:, None, None]
    for mask in (attends, ~attends, torch.where(attends, 0.0, -3e38)):
        padding = padding_of(mask)
        assert padding is not None and torch.equal(padding, real)
    everywhere = torch.ones(3, 1, TOKENS, TOKENS, dtype=torch.bool) & real[:, None, None]
    assert torch.equal(padding_of(everywhere), real)
    assert torch.equal(padding_of(real[:, None, None]), real)


def test_a_model_whose_masks_of_attention_say_what_is_masked() -> None:
    config = transformers.MptConfig(d_model=32, n_heads=2, n_layers=2, vocab_size=VOCABULARY)
    model, batch = moe(lambda: transformers.MptForCausalLM(config), "token_choice"), Batch()
    with torch.no_grad():
        expected = model(batch.ids, attention_mask=torch.ones_like(batch.ids))[0]
        torch.testing.assert_close(model(batch.ids)[0], expected)


def test_a_single_token() -> None:
    layer = moe(TEXT_MODELS["bert"]).bert.encoder.layer[0].intermediate
    x = torch.randn(32)
    assert torch.equal(layer(x), layer(x[None])[0])


class ReadsIds(nn.Module):
    """A part that reads ids besides, as DeepSeek V4's layers and MarkupLM's embeddings do."""

    def __init__(self) -> None:
        super().__init__()
        self.mlp = timm.layers.Mlp(32, 64)

    def forward(self, x: Tensor, input_ids: Tensor) -> Tensor:
        return self.mlp(x)


class Host(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed, self.part = nn.Embedding(VOCABULARY, 32), ReadsIds()

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> list[Tensor]:
        return [self.part(self.embed(input_ids), input_ids)]


def test_a_part_that_takes_ids_but_no_mask_has_the_mask_around_it() -> None:
    assert_rows_alone(moe(Host), by_keyword, Batch())


@pytest.mark.parametrize("router", ["expert_choice", "hash"])
def test_of_a_model_that_threads_call_at_a_time(router: str) -> None:
    model, batch = moe(TEXT_MODELS["bert"], router), Batch()
    calls = [(batch.ids, batch.mask), (batch.ids.flip(0), batch.mask.flip(0))]
    with torch.no_grad():
        expected = [by_keyword(model, *call) for call in calls]

    def differences(index: int) -> list[float]:
        with torch.no_grad():
            outputs = [by_keyword(model, *calls[index]) for _ in range(20)]
        return [(output - expected[index]).abs().max().item() for output in outputs]

    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(differences, (0, 1))) == [[0.0] * 20] * 2
