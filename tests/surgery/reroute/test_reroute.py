"""Rerouting: the original rule reproduces the model, no weight is copied.

Padding and shared experts stay as they are.
"""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor

from moesuite import UserError, reroute
from moesuite.compute.cost import cost
from moesuite.nn.moe import moe_layers
from moesuite.train.build import refuse_lookahead
from tests.surgery.moe_models import MODELS, batch, build, observed


@pytest.mark.parametrize("name", MODELS)
def test_the_original_rule_reproduces_the_logits(name: str) -> None:
    model = build(name)
    expected = model(**batch())["logits"][:, :12]
    rerouted, rows = reroute(model, "own")
    assert rerouted is model and len(rows) == 2
    torch.testing.assert_close(model(**batch())["logits"][:, :12], expected, atol=1e-4, rtol=1e-5)
    for row in rows:
        assert row.identity <= 1e-5 * row.scale and row.kept == 1 and row.pairs_per_token == 2


@pytest.mark.parametrize("name", ["olmoe", "mixtral", "qwen2_moe", "qwen3_moe"])
def test_token_choice_is_the_rule_of_most_of_them(name: str) -> None:
    """Top-2 by softmax, normalised where the model does it.

    DeepSeek limits groups of experts besides.
    """
    model = build(name)
    expected = model(**batch())["logits"][:, :12]
    _, rows = reroute(model, "token_choice")
    torch.testing.assert_close(model(**batch())["logits"][:, :12], expected, atol=1e-4, rtol=1e-5)
    assert all(row.difference <= 1e-5 * row.scale for row in rows)


@pytest.mark.parametrize("name", MODELS)
def test_no_weight_is_copied_or_changed(name: str) -> None:
    model = build(name)
    before = {id(value): value.clone() for value in model.parameters()}
    reroute(model, "usmoe")
    after = {id(value): value for value in model.parameters()}
    assert after.keys() == before.keys() and all(
        torch.equal(after[key], before[key]) for key in before
    )
    layer = next(layer for _, layer in moe_layers(model))
    assert layer.router.gate.weight.shape == (8, 32)
    if name.startswith(("qwen2", "deepseek")):
        assert layer.shared is not None


def test_usmoe_in_a_model_by_hand() -> None:
    """s = (softmax(z) + 2σ(z)/E) / 2 with the trained gate; 12 tokens of 2 experts.

    The best 24 pairs of a sequence.
    """
    model = build("olmoe")
    gate = model.model.layers[0].mlp.gate.weight.detach().clone()
    seen: list[Tensor] = []
    model.model.layers[0].mlp.register_forward_hook(lambda _, args, y: seen.append(args[0]))
    model(**batch(padding=0))
    _, rows = reroute(model, "usmoe", slots_per_token=1.5)
    model(**batch(padding=0))
    logits = seen[0].detach() @ gate.T
    scores = (logits.softmax(-1) + 2 * logits.sigmoid() / 8) / 2
    ((_, layer), _) = moe_layers(model)
    combine = layer.routing.dense()[1].sum(-1)
    for group in range(2):
        best = scores[group].flatten().topk(18).indices  # 12 · 1.5
        expected = torch.zeros(96).index_copy(0, best, scores[group].flatten()[best]).view(12, 8)
        torch.testing.assert_close(combine[group], expected, atol=1e-5, rtol=1e-4)
    assert all(row.pairs_per_token == 1.5 and row.difference > 0.01 * row.scale for row in rows)


@pytest.mark.parametrize(
    ("name", "normalised"), [("olmoe", False), ("mixtral", True), ("qwen3_moe", True)]
)
def test_usmoe_selects_by_raw_scores_where_the_model_normalises(
    name: str, normalised: bool
) -> None:
    """By brute force over all 96 pairs.

    The best 24 of the raw scores, divided by the sum of their token's 8 scores.
    """
    model = build(name)
    gates = [layer.mlp.gate.weight.detach().clone() for layer in model.model.layers]
    reroute(model, "usmoe")
    divided_first_differs = False
    for gate, (x, combine) in zip(gates, observed(model), strict=True):
        logits = x @ gate.T
        scores = logits.softmax(-1) / 2 + logits.sigmoid() / 8
        sums = scores.sum(-1, keepdim=True)
        for group in range(2):
            best = {
                divmod(pair, 8)
                for pair in scores[group].flatten().argsort(descending=True)[:24].tolist()
            }
            expected = torch.zeros(12, 8)
            for token, expert in best:
                divisor = sums[group, token] if normalised else 1.0
                expected[token, expert] = scores[group, token, expert] / divisor
            torch.testing.assert_close(combine[group], expected, atol=1e-5, rtol=1e-4)
            other = (scores / sums)[group].flatten().argsort(descending=True)[:24].tolist()
            divided_first_differs |= {divmod(pair, 8) for pair in other} != best
    assert divided_first_differs  # so that this test can tell the two orders apart


@pytest.mark.parametrize("router", ["token_choice", "expert_choice"])
@pytest.mark.parametrize(
    ("name", "normalised"), [("olmoe", False), ("mixtral", True), ("qwen3_moe", True)]
)
def test_other_routers_divide_what_they_kept(name: str, normalised: bool, router: str) -> None:
    """The selection is that of the softmax.

    Where the model normalises, a token's kept weights sum to 1.
    """
    model = build(name)
    gates = [layer.mlp.gate.weight.detach().clone() for layer in model.model.layers]
    reroute(model, router)
    for gate, (x, combine) in zip(gates, observed(model), strict=True):
        scores = (x @ gate.T).softmax(-1)
        # 2 experts a token; or 2 · 12 / 8 = 3 tokens an expert
        dim, count = (2, 2) if router == "token_choice" else (1, 3)
        chosen = torch.zeros_like(scores).scatter(dim, scores.topk(count, dim=dim).indices, 1.0)
        expected = scores * chosen
        if normalised:
            expected = expected / expected.sum(-1, keepdim=True).clamp(min=1e-20)
        torch.testing.assert_close(combine, expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("name", ["olmoe", "deepseek_v3"])
@pytest.mark.parametrize("left", [False, True])
def test_padding_neither_competes_nor_counts(name: str, left: bool) -> None:
    model, _ = reroute(build(name), "usmoe")
    few, more = (
        model(**batch(padding, left), position_ids=positions(padding, left))["logits"][
            :, padding if left else 0 :
        ][:, :12]
        for padding in (0, 5)
    )
    torch.testing.assert_close(few, more, atol=1e-4, rtol=1e-4)


def positions(padding: int, left: bool) -> Tensor:
    order = torch.arange(12 + padding) - (padding if left else 0)
    return order.clamp(min=0).expand(2, -1)


def test_some_layers_only() -> None:
    model, rows = reroute(build("olmoe"), "expert_choice", layers=["model.layers.1.mlp"])
    assert (
        [row.layer for row in rows]
        == ["model.layers.1.mlp"]
        == [name for name, _ in moe_layers(model)]
    )
    assert "keeps" in str(rows[0]) and "model.layers.1.mlp" in str(rows[0])


@pytest.mark.parametrize(
    ("layers", "chosen"),
    [("all", [0, 1]), ("last_half", [1]), ("every_other", [1]), ([0, -2], [0]), ([-1, 0], [0, 1])],
)
def test_layers_are_chosen_as_for_upcycling(layers: Any, chosen: list[int]) -> None:
    _, rows = reroute(build("olmoe"), layers=layers)
    assert [row.layer for row in rows] == [f"model.layers.{index}.mlp" for index in chosen]


def test_weights_in_half_precision() -> None:
    model = build("qwen2_moe").bfloat16()
    expected = model(**batch())["logits"][:, :12].float()
    reroute(model, "own")
    assert (
        model(**batch())["logits"][:, :12].float() - expected
    ).abs().max() < 0.05 * expected.abs().max()


def test_a_rerouted_model_trains_and_is_accounted() -> None:
    model, _ = reroute(build("qwen2_moe"), "token_choice")
    model.train()(**batch(), labels=batch()["input_ids"])["loss"].backward()
    missing = [name for name, parameter in model.named_parameters() if parameter.grad is None]
    assert missing == []
    found = cost(model.eval(), batch(padding=0))
    # 2 of 8 experts of 3 · 24 · 32 weights each, in 2 layers
    assert found.parameters_total - found.parameters_active == 2 * 6 * 3 * 24 * 32


def test_the_choices_of_the_loss_free_router_follow_the_models_bias() -> None:
    """Top-2 of σ(z) + b with the trained bias; gates σ(z) of the chosen, divided by their sum."""
    model = build("deepseek_v3")
    gates = [layer.mlp.gate for layer in model.model.layers[1:]]
    learned = [
        (gate.weight.detach().clone(), gate.e_score_correction_bias.clone()) for gate in gates
    ]
    reroute(model, "loss_free")
    without_bias_differs = False
    for (gate, bias), (x, combine) in zip(learned, observed(model), strict=True):
        scores = (x @ gate.T).sigmoid()
        indices = (scores + bias).topk(2, dim=-1).indices
        weights = scores.gather(-1, indices)
        expected = torch.zeros_like(scores).scatter(
            -1, indices, weights / weights.sum(-1, keepdim=True)
        )
        torch.testing.assert_close(combine, expected, atol=1e-5, rtol=1e-4)
        without_bias_differs |= not torch.equal(indices, scores.topk(2, dim=-1).indices)
    assert without_bias_differs


def test_copies_are_independent() -> None:
    model, _ = reroute(build("olmoe"), "usmoe")
    other = copy.deepcopy(model)
    with torch.no_grad():
        next(layer for _, layer in moe_layers(other)).experts.down_proj.zero_()
    assert next(layer for _, layer in moe_layers(model)).experts.down_proj.abs().sum() > 0


def test_looking_ahead_is_measured_as_the_layers_are_built(monkeypatch: pytest.MonkeyPatch) -> None:
    """Token choice with the model's two experts looks ahead in training; with one it does not."""
    monkeypatch.setattr("moesuite.certify.lookahead.causal_routers", lambda: ["switch"])

    def layers(router: str, **options: Any) -> list[Any]:
        return [layer for _, layer in moe_layers(reroute(build("olmoe"), router, **options)[0])]

    refuse_lookahead(layers("own"), "this task")
    refuse_lookahead(layers("token_choice", k=1), "this task")
    for router in ("token_choice", "usmoe"):
        with pytest.raises(
            UserError, match=f"router={router} is not causal .* and this task predicts later tokens"
        ):
            refuse_lookahead(layers(router), "this task")
