"""Causal expert choice and expert threshold: running thresholds, by hand."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from moesuite.errors import UserError
from moesuite.routers.expert_choice_causal import ExpertChoiceCausal
from moesuite.routers.expert_threshold import ExpertThreshold
from moesuite.routing.router import LayerSpec
from moesuite.routing.scope import score_that_a_share_exceeds
from tests.routers.by_hand import logits_as_input


def test_causal_expert_choice_learns_the_threshold_of_expert_choice() -> None:
    router = logits_as_input(ExpertChoiceCausal(LayerSpec(2, 2, 1.0), momentum=0.5)).train()
    # gates of expert 0: 3/4, 9/10, 2/3, 1/5; with 2 slots each, expert choice ends at 3/4 and, for
    # expert 1, at 1/3
    x = torch.tensor(
        [[[math.log(3), 0.0], [math.log(9), 0.0], [math.log(2), 0.0], [0.0, math.log(4)]]]
    )
    router(x)
    router.advance()
    assert router.threshold.tolist() == pytest.approx([3 / 4, 1 / 3])
    router.eval()
    routing = router(x)  # above, not at, the threshold
    assert list(zip(routing.tokens.tolist(), routing.experts.tolist(), strict=True)) == [
        (1, 0),
        (3, 1),
    ]


# two sequences of two tokens: logits of expert 0 are 4, 3 | 2, 1, of expert 1 0, -3 | -1, -2
LOGITS = torch.tensor([[[4.0, 0.0], [3.0, -3.0]], [[2.0, -1.0], [1.0, -2.0]]])


def served(routing: Any) -> list[tuple[int, int]]:
    """Return the pairs of a token of all four, and its expert."""
    return sorted(zip(routing.tokens.tolist(), routing.experts.tolist(), strict=True))


def test_the_threshold_of_all_tokens_by_hand() -> None:
    spec = LayerSpec(2, 2, 1.0)
    router = logits_as_input(ExpertThreshold(spec, momentum=0.5)).train()
    # before the first step: half of normal logits of any spread exceed 0. That is the rule in the
    # first step, too
    assert router.threshold.tolist() == pytest.approx([0.0, 0.0])
    assert served(router(LOGITS)) == [(0, 0), (1, 0), (2, 0), (3, 0)]
    router.advance()
    # half of the four tokens exceed the third best, of both sequences
    assert router.threshold.tolist() == pytest.approx([2.0, -2.0])
    routing = router.eval()(LOGITS)
    assert served(routing) == [(0, 0), (0, 1), (1, 0), (2, 1)]
    weights = torch.tensor([4.0, 0.0, 3.0, -1.0]).sigmoid().tolist()  # not divided by their sum
    assert routing.weights.tolist() == pytest.approx(weights)
    # of three real tokens floor(3 / 2) = 1 exceeds the second best: 3, -1; the mean moves by
    # 0.5 / (1 - 0.5²) = 2/3 of the way
    router.train()(LOGITS, torch.tensor([[True, True], [True, False]]))
    router.advance()
    expected = [2 + 2 / 3, -2 + 2 / 3]
    assert router.threshold.tolist() == pytest.approx(expected)
    router(LOGITS, torch.zeros(2, 2, dtype=torch.bool))  # padding alone teaches nothing
    router.advance()
    assert router.threshold.tolist() == pytest.approx(expected)


def test_it_knows_no_capacity_as_causal_expert_choice_does() -> None:
    x = torch.tensor([5.0, 0.0]).expand(1, 8, 2)
    loads = {}
    for kind in (ExpertChoiceCausal, ExpertThreshold):
        router = logits_as_input(kind(LayerSpec(2, 2, 1.0))).train()
        router.threshold = torch.tensor([0.5, 0.5])
        loads[kind.__name__] = router(x).load().tolist()
    assert loads == {"ExpertChoiceCausal": [[4.0, 0.0]], "ExpertThreshold": [[8.0, 0.0]]}
    with pytest.raises(
        UserError, match=r"eval_slots_per_token=0.5: expected none, or slots_per_token=1.0"
    ):
        ExpertThreshold(LayerSpec(2, 2, 1.0, eval_slots_per_token=0.5))


def test_warm_up_is_expert_choice_over_the_batch() -> None:
    spec = LayerSpec(2, 2, 1.0)
    router = logits_as_input(ExpertThreshold(spec, warmup=2)).train()
    assert not router.causal and router.batch_coupled
    for x in (LOGITS, LOGITS - 7):  # far from all that was seen before
        assert served(router(x)) == [(0, 0), (0, 1), (1, 0), (2, 1)]
        assert router.eval()(x).experts.tolist() != [0, 1, 0, 1]  # the running threshold
        router.train().advance()
    assert served(router(LOGITS - 7)) == []  # thresholds are means of both steps
    assert ExpertThreshold(spec).causal


def test_the_first_threshold_is_that_of_initial_logits() -> None:
    torch.manual_seed(0)
    router = ExpertThreshold(LayerSpec(64, 8, 2.0)).train()
    load = router(torch.randn(4, 500, 64)).load().sum() / 2000
    assert load.item() == pytest.approx(2.0, rel=0.1)  # experts per token
    everything = ExpertThreshold(LayerSpec(64, 8, 8.0)).train()
    for _ in range(2):
        assert everything(torch.randn(1, 9, 64)).load().tolist() == [[9.0] * 8]
        everything.advance()


@settings(max_examples=40, deadline=None)
@given(length=st.integers(1, 12), share=st.floats(0.01, 1.0), seed=st.integers(0, 99))
def test_exactly_a_share_of_the_tokens_exceeds_its_score(
    length: int, share: float, seed: int
) -> None:
    torch.manual_seed(seed)
    scores, real = torch.randn(3, length, 4), torch.rand(3, length) < 0.7
    found = score_that_a_share_exceeds(scores, real, share)
    for unit in range(3):
        count = int(real[unit].sum())
        above = (scores[unit][real[unit]] > found[unit]).sum(dim=0)
        assert (
            above.tolist() == [math.floor(share * count + 1e-9)] * 4
            if count
            else found[unit].isnan().all()
        )
