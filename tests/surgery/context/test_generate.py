"""Text that is generated in a padded batch is what each row gives alone."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from moesuite import upcycle
from tests.surgery.context.families import TEXT_MODELS, Batch, moe

pytestmark = pytest.mark.slow
NEW = 4
# causal, and in evaluation without a limit: what a cache cuts off changes nothing
ROUTER = "token_choice"


def generate(model: Any, cache: bool, **inputs: Tensor) -> Tensor:
    """Return the tokens that are new: for embedded inputs and encoder-decoders, all but a start."""
    return model.generate(
        **inputs, max_new_tokens=NEW, min_new_tokens=NEW, do_sample=False, use_cache=cache
    )[:, -NEW:]


def assert_rows_alone(model: Any, cache: bool, embedded: bool = False) -> None:
    batch = Batch(left=True)
    key = "inputs_embeds" if embedded else "input_ids"
    tokens = model.get_input_embeddings()(batch.ids) if embedded else batch.ids
    real = batch.real
    together = generate(model, cache, **{key: tokens, "attention_mask": batch.mask})
    alone = generate(
        model, cache, **{key: tokens[:1, real], "attention_mask": batch.mask[:1, real]}
    )
    assert together[0].tolist() == alone[0].tolist()


@pytest.mark.parametrize("embedded", [False, True])
@pytest.mark.parametrize("cache", [False, True])
@pytest.mark.parametrize("name", ["gpt2", "llama", "t5"])
def test_of_a_padded_batch(name: str, cache: bool, embedded: bool) -> None:
    assert_rows_alone(moe(TEXT_MODELS[name], ROUTER), cache, embedded)


@pytest.mark.parametrize("name", ["gpt2", "llama", "t5"])
def test_straight_after_upcycling(name: str) -> None:
    torch.manual_seed(0)
    model, _ = upcycle(TEXT_MODELS[name]().eval(), ROUTER, num_experts=4, layers="all")
    assert_rows_alone(model, cache=True)


@pytest.mark.parametrize("name", ["gpt2", "llama"])
def test_a_cache_gives_the_logits_of_the_whole_text(name: str) -> None:
    model, batch = moe(TEXT_MODELS[name], ROUTER), Batch(left=True)
    with torch.no_grad():
        whole = model(input_ids=batch.ids, attention_mask=batch.mask).logits[:, -2:]
        cache = model(
            input_ids=batch.ids[:, :-2], attention_mask=batch.mask[:, :-2], use_cache=True
        ).cache
        rest = model(input_ids=batch.ids[:, -2:], attention_mask=batch.mask, cache=cache).logits
    # positions of a padded row are counted from the padding in one and by the cache in the other
    torch.testing.assert_close(rest[1:], whole[1:], rtol=1e-4, atol=1e-5)
