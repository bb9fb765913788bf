"""Experts with different numbers of rows, against one linear layer each."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from moesuite.nn.grouped_linear import SIMILAR, Tile, grouped_linear, layout


def test_a_layout_by_hand() -> None:
    # 9 rows and 8 go together (8 >= 0.75 · 9 = 6.75) as experts 1 and 3, the lower first; 4 has
    # nobody near (2 < 3); then 2 alone, for 0 is less than 1.5
    found = layout([4, 8, 2, 9, 0])
    assert found.tiles == [
        Tile(slice(1, 4, 2), 2, 9),
        Tile(slice(0, 1, 1), 1, 4),
        Tile(slice(2, 3, 1), 1, 2),
        Tile(slice(4, 5, 1), 1, 0),
    ]
    assert found.begins == [18, 0, 22, 9, 24] and found.rows == 24
    assert found.experts(torch.device("cpu")).tolist() == [1] * 9 + [3] * 9 + [0] * 4 + [2] * 2


@given(st.lists(st.integers(0, 50), min_size=1, max_size=12))
def test_every_expert_has_room_and_little_is_wasted(counts: list[int]) -> None:
    found = layout(counts)
    index = torch.arange(len(counts))
    assert sorted(e for tile in found.tiles for e in index[tile.experts].tolist()) == list(
        range(len(counts))
    )
    owner = found.experts(torch.device("cpu")).tolist()
    for expert, (begin, count) in enumerate(zip(found.begins, counts, strict=True)):
        assert owner[begin : begin + count] == [expert] * count
    assert sum(counts) <= found.rows <= sum(counts) * 2 / (1 + SIMILAR)


@pytest.mark.parametrize("counts", [[3, 4, 1, 0], [5], [0, 0, 7], [2, 2, 2]])
@pytest.mark.parametrize("with_bias", [True, False])
def test_layers_and_gradients_are_those_of_single_layers(
    counts: list[int], with_bias: bool
) -> None:
    torch.manual_seed(0)
    where = layout(counts)
    x = torch.randn(where.rows, 5, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(len(counts), 5, 3, dtype=torch.float64, requires_grad=True)
    bias = (
        torch.randn(len(counts), 3, dtype=torch.float64, requires_grad=True) if with_bias else None
    )
    inputs = [tensor for tensor in (x, weight, bias) if tensor is not None]
    owner = where.experts(x.device)
    expected = torch.einsum("nd,ndh->nh", x, weight[owner])
    expected = expected if bias is None else expected + bias[owner]
    found = grouped_linear(x, weight, bias, where)
    torch.testing.assert_close(found, expected)
    by = torch.randn_like(found)
    for ours, theirs in zip(
        torch.autograd.grad(found, inputs, by),
        torch.autograd.grad(expected, inputs, by),
        strict=True,
    ):
        torch.testing.assert_close(ours, theirs)
