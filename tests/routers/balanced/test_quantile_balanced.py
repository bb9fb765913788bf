"""Quantile balancing: the bias by hand, what it sees, and how well it balances."""

from __future__ import annotations

import re
from importlib.util import find_spec

import pytest
import torch

from moesuite import compose
from moesuite.routers.quantile_balanced import QuantileBalanced
from moesuite.routing.router import LayerSpec
from tests.conftest import ROOT
from tests.routers.balanced.loads import CASES, STEPS, loads
from tests.routers.by_hand import logits_as_input

# scores of four tokens for two experts, all larger for the first
SCORES = torch.tensor([[[0.9, 0.5], [0.8, 0.7], [0.7, 0.2], [0.6, 0.45]]])
DOCS = (ROOT / "docs" / "balance.md").read_text(encoding="utf-8")


def router_of(k: int = 1, experts: int = 2) -> QuantileBalanced:
    router = QuantileBalanced(LayerSpec(experts, experts, float(experts)), k=k)
    logits_as_input(router).train()
    return router


def test_the_bias_by_hand() -> None:
    # a_i is the second best of each token: 0.5, 0.7, 0.2, 0.45. Margins of expert 0: 0.4, 0.1, 0.5,
    # 0.15, of which q = 4 · 1/2 = 2 exceed 0.15; of expert 1: all 0. b = (-0.15, 0), centred
    router = router_of()
    assert router(SCORES.logit()).experts_per_token().tolist() == [[1.0] * 4]
    assert router.bias.tolist() == [0.0, 0.0]  # not in this step, however often it is computed
    router.advance()
    assert router.bias.tolist() == pytest.approx([-0.075, 0.075])
    # 0.7 - 0.075 = 0.625 < 0.6 + 0.075; 0.9 - 0.075 = 0.825 > 0.5 + 0.075; weights without b
    routing = router.eval()(torch.tensor([[[0.7, 0.6], [0.9, 0.5]]]).logit())
    assert routing.experts.tolist() == [1, 0]
    assert routing.weights.tolist() == pytest.approx([0.6, 0.9])
    # the next step overwrites b: a_i = min(s_i + b) where expert 0 stays ahead, for token 3 too:
    # (0.575, 0.725, 0.275, 0.525); margins of expert 0 0.325, 0.075, 0.425, 0.075: again 0.075 is
    # exceeded by two; of expert 1 -0.075, -0.025, -0.075, -0.075: -0.075 by one at most. Equal
    router.train()(SCORES.logit())
    router.advance()
    assert router.bias.tolist() == pytest.approx([-0.075, 0.075])


def test_weights_are_divided_by_their_sum_over_the_chosen() -> None:
    routing = router_of(2, 4).eval()(torch.tensor([[[0.6, 0.2, 0.1, 0.1]]]).logit())
    assert routing.weights.tolist() == pytest.approx([0.75, 0.25])


def test_with_every_expert_chosen_there_is_nothing_to_balance() -> None:
    router = router_of(2)
    router(SCORES.logit())
    router.advance()
    assert router.bias.tolist() == [0.0, 0.0]


def test_padding_is_invisible() -> None:
    alone, padded = router_of(), router_of()
    alone(SCORES.logit())
    x = torch.cat([SCORES, torch.full((1, 3, 2), 0.99)], dim=1).logit()
    padded(x, torch.arange(7)[None] < 4)
    assert torch.equal(alone.quantile, padded.quantile)
    padded.advance()
    padded(x, torch.zeros(1, 7, dtype=torch.bool))  # padding alone teaches nothing
    before = padded.bias
    padded.advance()
    assert torch.equal(before, padded.bias)


@pytest.mark.parametrize("k", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_loads_are_within_5_percent_of_uniform_after_50_steps(k: int) -> None:
    ours, other = (loads(name, k)[50] for name in ("quantile_balanced", "loss_free"))
    assert 0.95 < ours.min() <= ours.max() < 1.05
    assert other.max() > 1.5  # 50 steps of 0.001 do not reach far


@pytest.mark.slow
@pytest.mark.parametrize(("name", "k", "tokens"), CASES)
def test_the_documented_loads_are_those_measured(name: str, k: int, tokens: int) -> None:
    row = re.search(rf"^\| `{name}` \| {k} \| {tokens} \| (.*) \|$", DOCS, re.MULTILINE)
    assert row is not None
    ranges = [[float(end) for end in cell.split(" to ")] for cell in row[1].split(" | ")]
    for (low, high), step in zip(ranges, STEPS, strict=True):
        load = loads(name, k, tokens)[step]
        assert [low, high] == pytest.approx([load.min().item(), load.max().item()], abs=0.02)


def test_the_commands_of_the_docs_parse() -> None:
    commands = re.findall(r"```text\n(.*?)\n```", DOCS, re.DOTALL)
    modules = [command.split()[2] for command in commands]
    assert modules == ["tests.routers.balanced.loads", "moesuite.run"]
    assert all(find_spec(module) for module in modules)
    assert compose(*commands[1].split()[3:]).balance_scope == "sequence"
