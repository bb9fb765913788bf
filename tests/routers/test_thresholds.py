"""Causal expert choice: thresholds of the population, by hand."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from moesuite.errors import UserError
from moesuite.routers.expert_choice_causal import ExpertChoiceCausal
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


def test_the_threshold_of_the_population_by_hand() -> None:
    spec = LayerSpec(2, 2, 1.0)
    router = logits_as_input(ExpertChoiceCausal(spec, momentum=0.5, threshold="population")).train()
    # before the first step: logits of spread σ = 0.02·√2; e^0 over e^(-0.4307·σ) + e^(0.4307·σ) = 1
    # / 2.000148
    assert router.threshold.tolist() == pytest.approx([0.499963] * 2, abs=1e-6)
    # two sequences of two tokens; gates of expert 0: 3/4, 9/10 | 2/3, 1/5; of expert 1: 1/4, 1/10 |
    # 1/3, 4/5
    x = torch.tensor(
        [[[math.log(3), 0.0], [math.log(9), 0.0]], [[math.log(2), 0.0], [0.0, math.log(4)]]]
    )
    router(x)
    router.advance()
    # half of the four tokens exceed the third best: 2/3 and 1/4. (By groups: the best of each,
    # meaned: 0.783, 0.525)
    assert router.threshold.tolist() == pytest.approx([2 / 3, 1 / 4])
    routing = router.eval()(x)  # each expert has exactly two, across the sequences
    kept = list(zip(routing.tokens.tolist(), routing.experts.tolist(), strict=True))
    assert kept == [(0, 0), (1, 0), (2, 1), (3, 1)]
    assert routing.weights.tolist() == pytest.approx([3 / 4, 9 / 10, 1 / 3, 4 / 5])
    # of three real tokens floor(3 / 2) = 1 exceeds the second best: 3/4, 1/4; the mean moves by 0.5
    # / (1 - 0.5²) = 2/3
    router.train()(x, torch.tensor([[True, True], [True, False]]))
    router.advance()
    assert router.threshold.tolist() == pytest.approx([2 / 3 + 2 / 3 * (3 / 4 - 2 / 3), 1 / 4])
    router(x, torch.zeros(2, 2, dtype=torch.bool))  # padding alone teaches nothing
    router.advance()
    assert router.threshold.tolist() == pytest.approx([2 / 3 + 2 / 3 * (3 / 4 - 2 / 3), 1 / 4])


def test_the_threshold_of_the_population_knows_no_capacity() -> None:
    # all eight tokens are as the one that scored 9/10, above 2/3: all go to expert 0, which has 4
    # slots by groups
    x = torch.tensor([math.log(9), 0.0]).expand(1, 8, 2)
    loads = {}
    for rule in ("group", "population"):
        router = logits_as_input(ExpertChoiceCausal(LayerSpec(2, 2, 1.0), threshold=rule)).train()
        router.threshold = torch.tensor([2 / 3, 1 / 4])
        loads[rule] = router(x).load().tolist()
    assert loads == {"group": [[4.0, 0.0]], "population": [[8.0, 0.0]]}
    with pytest.raises(
        UserError,
        match=r"eval_slots_per_token=1.0: expected no limit with router.threshold=population",
    ):
        ExpertChoiceCausal(LayerSpec(2, 2, 1.0, eval_slots_per_token=1.0), threshold="population")


@settings(max_examples=40, deadline=None)
@given(length=st.integers(1, 12), share=st.floats(0.01, 1.0), seed=st.integers(0, 99))
def test_exactly_a_share_of_the_tokens_exceeds_its_score(
    length: int, share: float, seed: int
) -> None:
    torch.manual_seed(seed)
    scores, real = torch.rand(3, length, 4) + 0.01, torch.rand(3, length) < 0.7
    found = score_that_a_share_exceeds(scores, real, share)
    for unit in range(3):
        count = int(real[unit].sum())
        above = (scores[unit][real[unit]] > found[unit]).sum(dim=0)
        assert (
            above.tolist() == [math.floor(share * count + 1e-9)] * 4
            if count
            else found[unit].isnan().all()
        )
