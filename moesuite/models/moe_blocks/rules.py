"""The rule of a trained gate, from its logits, combine weights and choices on many rows."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Literal

import torch
from torch import Tensor

from moesuite.routing.assignment import in_best_groups

MOST_GROUPS = 32  # of experts
Score = Literal["softmax", "sigmoid", ""]
SCORES: tuple[Score, ...] = ("softmax", "sigmoid")


def rule_of_weights(logits: Tensor, weights: Tensor, experts: Tensor) -> tuple[bool, float, Score]:
    """Return whether weights are normalised, their scale, and the scores that they come from."""
    ratios = {name: weights / scores_of(logits, name).gather(1, experts) for name in SCORES}
    sums = weights.sum(dim=1)
    # softmax over all experts sums to 1, too
    takes_all = weights.shape[1] == logits.shape[1] and _constant(ratios["softmax"])
    normalises = _constant(sums) and not takes_all
    if normalises:
        ratios = {name: ratio / ratio.mean(dim=1, keepdim=True) for name, ratio in ratios.items()}
    score: Score = next((name for name, ratio in ratios.items() if _constant(ratio)), "")
    if normalises:
        return True, sums.mean().item(), score
    return False, ratios[score].mean().item() if score else 1.0, score


def scores_of(logits: Tensor, score: Score) -> Tensor:
    """Return the scores of logits [N, E]."""
    return logits.softmax(dim=1) if score == "softmax" else logits.sigmoid()


def score_of_choices(logits: Tensor, experts: Tensor, push: Tensor) -> Score:
    """Return the scores that choose these experts if `push` is added to them."""
    for score in SCORES:
        if _rule_of_groups(scores_of(logits, score) + push, experts) is not None:
            return score
    return ""


def groups_of_choices(scores: Tensor, experts: Tensor) -> tuple[int, int, int]:
    """Return the groups, their limit and what their scores are sums of, from the experts chosen."""
    return _rule_of_groups(scores, experts) or (1, 1, 1)


def _rule_of_groups(scores: Tensor, experts: Tensor) -> tuple[int, int, int] | None:
    """Return the rule that chooses these experts by scores, or None if it is another."""
    (rows, num_experts), k = scores.shape, experts.shape[1]
    none = torch.zeros(rows, num_experts, dtype=torch.bool)
    for rule in _possible_rules(num_experts, k):
        inside = in_best_groups(scores, *rule)
        best = scores.masked_fill(~inside, -torch.inf).topk(k).indices
        if torch.equal(none.scatter(1, best, True), none.scatter(1, experts, True)):
            return rule
    return None


def _possible_rules(num_experts: int, k: int) -> Iterator[tuple[int, int, int]]:
    """Yield groups, their limit and what their scores are sums of; without groups first."""
    yield 1, 1, 1
    for groups, best_of in product(range(2, min(MOST_GROUPS, num_experts) + 1), (2, 1)):
        if num_experts % groups == 0:
            least = -(-k * groups // num_experts)  # groups that K experts need
            yield from ((groups, limit, best_of) for limit in range(least, groups))


def _constant(values: Tensor) -> bool:
    return bool((values / values.mean() - 1).abs().max() < 0.01)
