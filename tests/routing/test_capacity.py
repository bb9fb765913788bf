"""The capacity formula: one function for numbers and tensors, read by routers and certificates."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from moesuite.certify.harness import Subject
from moesuite.certify.observations import allowed_rows, capacity_enforced
from moesuite.routers.expert_choice import ExpertChoice
from moesuite.routing import capacity
from moesuite.routing.capacity import expert_capacity
from moesuite.routing.router import LayerSpec


@pytest.mark.parametrize(
    ("slots_per_token", "tokens", "num_experts", "slots"),
    [
        (1.25, 10, 4, 4),  # 3.125
        (1.1, 20, 2, 11),  # 11 exactly, although floats say 11.000000000000002
        (0.01, 10, 8, 1),  # 0.0125
        (1.0, 0, 8, 1),  # a group of nothing but padding
        (8.0, 7, 8, 7),  # every expert has a slot for every token
    ],
)
def test_capacity_by_hand(
    slots_per_token: float, tokens: int, num_experts: int, slots: int
) -> None:
    assert expert_capacity(slots_per_token, tokens, num_experts) == slots
    assert expert_capacity(slots_per_token, torch.tensor([tokens]), num_experts).tolist() == [slots]


@given(
    slots_per_token=st.floats(0.01, 16),
    tokens=st.integers(0, 5000),
    num_experts=st.integers(1, 300),
)
def test_numbers_and_tensors_round_alike(
    slots_per_token: float, tokens: int, num_experts: int
) -> None:
    slots = expert_capacity(slots_per_token, tokens, num_experts)
    assert slots == max(1, math.ceil(slots_per_token * tokens / num_experts - 1e-9))
    groups = torch.tensor([0, tokens])
    assert expert_capacity(slots_per_token, groups, num_experts).tolist() == [1, slots]


def test_another_rounding_is_a_change_of_one_function(monkeypatch: pytest.MonkeyPatch) -> None:
    def multiple_of_four(slots: float | Tensor) -> float | Tensor:
        return 4 * -(-slots // 4)

    router, mask = ExpertChoice(LayerSpec(16, 4)), torch.arange(24)[None] < 18
    assert router.capacity(24) == 6 and router.group_capacity(mask).tolist() == [5]
    monkeypatch.setattr(capacity, "rounded", multiple_of_four)
    assert router.capacity(24) == 8 and router.group_capacity(mask).tolist() == [8]
    assert router(torch.randn(1, 24, 16)).tokens.shape == (1, 4, 8)
    assert allowed_rows(router.spec, 1.0, 24) == 4 * 8
    assert capacity_enforced(Subject(ExpertChoice)).holds
