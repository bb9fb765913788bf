"""Token rounding: which tokens are kept and added, by hand."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from moesuite.errors import UserError
from moesuite.routers.token_rounding import TokenRounding, keep
from moesuite.routing.router import LayerSpec
from tests.routers.by_hand import logits_as_input

# five tokens, two experts: gates for expert 0; the first three choose it
GATES = torch.tensor([[0.9, 0.6, 0.7, 0.3, 0.4]])
X = torch.stack([GATES, 1 - GATES], dim=-1).log()


def served(x: Tensor, mask: Tensor | None = None, **options: Any) -> list[list[int]]:
    """Return the tokens of each expert in training."""
    scope = options.pop("scope", "global")
    spec = LayerSpec(2, 2, 2.0, balance_scope=scope)
    router = logits_as_input(TokenRounding(spec, **options)).train()
    combine = router(x, mask).dense()[1].sum(dim=-1).flatten(0, 1)
    torch.testing.assert_close(combine[combine > 0], x.exp().flatten(0, 1)[combine > 0])  # raw
    return [column.nonzero()[:, 0].tolist() for column in combine.T]


@pytest.mark.parametrize(
    ("options", "tokens"),
    [
        ({"tile": 1}, [[0, 1, 2], [3, 4]]),
        # loads 3 and 2. By 2: 1.5 rounds to the even 2, so 4 and 2: token 4 is the best of the rest
        ({"tile": 2}, [[0, 1, 2, 4], [3, 4]]),
        ({"tile": 2, "rounding": "down"}, [[0, 1], [3, 4]]),  # gates are all 1 of 1: in order
        # by 4: 0.75 -> 4 and 0.5 -> 0
        ({"tile": 4}, [[0, 1, 2, 4], []]),
        ({"tile": 4, "rounding": "up"}, [[0, 1, 2, 4], [1, 2, 3, 4]]),
        ({"tile": 8, "rounding": "up"}, [[0, 1, 2, 3, 4]] * 2),  # no more than there are
    ],
)
def test_numbers_are_multiples_of_the_tile(
    options: dict[str, Any], tokens: list[list[int]]
) -> None:
    assert served(X, **options) == tokens


def test_of_two_choices_the_larger_share_is_kept() -> None:
    # all choose experts 0 and 1: loads 3 and 3 -> 2 and 2. Shares of expert 0: 0.4/0.7 = 0.571,
    # 0.45/0.89 = 0.506, 0.38/0.68 = 0.559: the second drops out, though its gate is the largest; of
    # expert 1: 0.429, 0.494, 0.441: the first
    gates = torch.tensor([[[0.4, 0.3, 0.2, 0.1], [0.45, 0.44, 0.06, 0.05], [0.38, 0.3, 0.2, 0.12]]])
    router = logits_as_input(TokenRounding(LayerSpec(4, 4), k=2, tile=2, rounding="down")).train()
    combine = router(gates.log()).dense()[1].sum(dim=-1)[0]
    assert combine[:, 0].tolist() == pytest.approx([0.4, 0.0, 0.38])
    assert combine[:, 1].tolist() == pytest.approx([0.0, 0.44, 0.3])
    assert not combine[:, 2:].any()


def test_units_and_padding() -> None:
    both = torch.cat([X, X])
    # loads 6 and 4 of the batch by 4: 8 and 4; of each sequence 3 and 2: 4 and 0
    assert [len(tokens) for tokens in served(both, tile=4)] == [8, 4]
    assert served(both, tile=4, scope="sequence") == [[0, 1, 2, 4, 5, 6, 7, 9], []]
    padded = torch.cat([X, torch.zeros(1, 3, 2).log_softmax(dim=-1)], dim=1)
    mask = torch.arange(8)[None] < 5
    assert served(padded, mask, tile=2) == served(X, tile=2)
    assert served(padded, mask, tile=8, rounding="up") == [[0, 1, 2, 3, 4]] * 2


def test_evaluation_is_top_k() -> None:
    router = logits_as_input(TokenRounding(LayerSpec(2, 2), tile=4)).eval()
    routing = router(X)
    assert routing.experts.tolist() == [0, 0, 0, 1, 1]
    assert routing.weights.tolist() == pytest.approx([0.9, 0.6, 0.7, 0.7, 0.6])
    with pytest.raises(
        UserError, match=r"eval_slots_per_token=0.5: expected none, or slots_per_token=1.0"
    ):
        TokenRounding(LayerSpec(2, 2, 1.0, eval_slots_per_token=0.5))


def test_keep_takes_earlier_tokens_of_equal_priority() -> None:
    kept = keep(torch.tensor([[[1.0], [2.0], [1.0]]]), torch.tensor([[2.0]]))
    assert kept[0, :, 0].tolist() == [True, True, False]
