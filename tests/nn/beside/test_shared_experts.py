"""Shared experts: a sum beside the routed experts, which starts as the MLP, and what it costs."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from moesuite import UserError, compose, for_export, load_moe, moefy, save_moe, upcycle
from moesuite.certify.harness import small_mlp
from moesuite.compute.cost import cost, observed_routings
from moesuite.config.schema import options_of
from moesuite.discovery.names import router_names
from moesuite.nn.beside.parts import Parts
from moesuite.nn.beside.shared_experts import SharedExperts
from moesuite.nn.experts import DenseMLP
from moesuite.nn.moe import moe_layers
from moesuite.surgery.checkpoint_format import describe
from tests.compute.counted import MLP, WIDTH, assert_as_counted, images, vit
from tests.helpers import invoke, long_except
from tests.nn.beside.small import layer_of, tokens
from tests.surgery.dense_models import build

NAMES = [name for name in router_names() if name != "dense"]


@pytest.mark.parametrize("count", [1, 2, 3, 20])
@pytest.mark.parametrize("kind", [{}, {"gated": True, "norm": True}])
def test_together_they_start_as_the_mlp(count: int, kind: dict[str, bool]) -> None:
    """Of 12 hidden units, each speaks in one expert; 20 experts leave eight of them silent."""
    mlp = small_mlp(8, 12, **kind)
    x = tokens()
    torch.testing.assert_close(SharedExperts(mlp, count)(x), mlp(x), atol=1e-6, rtol=1e-5)


def test_shares_by_hand() -> None:
    """f(x) = 2 relu(3x) + 5 relu(-x) + 1: unit 0 and half of the 1 go to expert 0."""
    mlp = small_mlp(1, 2)
    mlp = DenseMLP(mlp.up, None, mlp.down, torch.nn.ReLU(), mlp.drop1, None, mlp.drop2)
    mlp.up.weight.data = torch.tensor([[3.0], [-1.0]])
    mlp.up.bias.data.zero_()
    mlp.down.weight.data = torch.tensor([[2.0, 5.0]])
    mlp.down.bias.data = torch.tensor([1.0])
    x = torch.tensor([[[2.0], [-2.0]]])
    each = SharedExperts(mlp, 2).experts(x[0].expand(2, 2, 1))[..., 0]
    # x = 2: 2 · 6 + 0.5 and 0.5; x = -2: 0.5 and 5 · 2 + 0.5
    assert each.tolist() == [[12.5, 0.5], [0.5, 10.5]]


@pytest.mark.parametrize("name", NAMES)
def test_they_add_to_what_any_router_gives(name: str) -> None:
    without, layer = layer_of(name, Parts()), layer_of(name, Parts(shared_experts=2))
    x = tokens()
    assert layer.shared is not None
    torch.testing.assert_close(layer(x), without(x) + small_mlp_of(layer, x), atol=1e-5, rtol=1e-5)
    assert layer.routing is not None and without.routing is not None
    assert torch.equal(layer.routing.load(), without.routing.load())


def small_mlp_of(layer: torch.nn.Module, x: torch.Tensor) -> torch.Tensor:
    """Return the sum over shared experts, one at a time."""
    experts = layer.shared.experts
    each = [
        experts.act(x @ up + up_bias) @ down + down_bias
        for up, up_bias, down, down_bias in zip(
            experts.up.weight,
            experts.up.bias,
            experts.down.weight,
            experts.down.bias,
            strict=True,
        )
    ]
    return torch.stack(each).sum(dim=0)


def test_they_do_not_stay_equal() -> None:
    """Whole copies would: their gradients are equal at every step."""
    layer = layer_of("token_choice", Parts(shared_experts=2)).train()
    optimizer = torch.optim.AdamW(layer.parameters(), lr=0.01)
    assert isinstance(layer.shared, SharedExperts)
    up = layer.shared.experts.up.weight
    assert torch.equal(up[0], up[1])
    for step in range(3):
        optimizer.zero_grad()
        (layer(tokens(step)) - tokens(9)).square().sum().backward()
        optimizer.step()
    layer.context.losses.clear()
    assert (up[0] - up[1]).abs().mean() > 0.001


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("name", long_except(["vit", "bert", "t5", "convnext"], "vit", "bert"))
def test_an_upcycled_model_starts_as_the_dense_one(name: str, count: int) -> None:
    """Combine weights sum to 1: half of the MLP twice."""
    _, receipt = upcycle(
        build(name), "token_choice", 4, layers="all", renormalise=True, k=2, shared_experts=count
    )
    assert receipt.verdict.startswith("starts at the dense model")
    assert all(row.difference <= 1e-5 * row.scale for row in receipt.layers)


def test_an_upcycled_layer_without_weights_of_1_by_hand() -> None:
    """Random sends each token to one of 4 experts with weight 1; expert choice serves not all.

    Of a token without an expert, half of the MLP is missing.
    """
    _, receipt = upcycle(build("vit"), "random", 4, shared_experts=1, renormalise=False)
    assert receipt.verdict.startswith("starts at the dense model")
    _, receipt = upcycle(
        build("vit"), "expert_choice", 4, slots_per_token=0.25, shared_experts=1, layers="all"
    )
    assert all(row.unserved > 0 for row in receipt.layers)
    assert "have no expert, and half of the MLP's output in its place" in receipt.verdict
    assert all(row.served_difference <= 1e-5 * row.scale for row in receipt.layers)
    assert all(row.difference <= 0.5001 * row.scale for row in receipt.layers)


def test_costs_by_hand() -> None:
    """Two of four MLPs become layers: K = 1 routed, and two shared experts on each token.

    An expert has 16·64 + 64 + 64·16 + 16 = 2128 parameters; of 4 routed ones, 3 are inactive.
    """
    dense = vit()
    total = sum(p.numel() for p in dense.parameters())
    model = moefy(dense, "token_choice", num_experts=4, shared_experts=2)
    found = cost(model, images(), routings=observed_routings(model, images()))
    for split in (found.forward.executed, found.forward.activated):
        assert split.experts == pytest.approx(2 * (1 + 2) * MLP)
    assert found.slots_per_token == 3 and [row.slots_per_token for row in found.layers] == [3, 3]
    assert found.parameters_total == total + 2 * (5 * 2128 + 4 * WIDTH)
    assert found.parameters_active == found.parameters_total - 2 * 3 * 2128
    assert found.training.executed.experts >= 3 * 2 * 2 * MLP  # forward and backward


@pytest.mark.slow
@pytest.mark.parametrize("router", ["token_choice", "soft", "usmoe", "top_p"])
def test_costs_are_those_counted(router: str) -> None:
    assert_as_counted(moefy(vit(), router, num_experts=4, shared_experts=2), images(), 0.02)


@pytest.mark.slow
def test_it_is_saved_and_loaded(tmp_path: Path) -> None:
    model = moefy(vit(), "switch", 4, shared_experts=2)
    for path in (tmp_path / "folder", tmp_path / "model.pt"):
        save_moe(model, path)
        loaded = load_moe(path)
        assert [layer.shared_experts for _, layer in moe_layers(loaded)] == [2, 2]
        assert torch.equal(loaded(images()), model.eval()(images()))


def test_a_model_without_any_is_described_as_before() -> None:
    layers = describe(moefy(vit(), "switch", 4)).plain()["layers"]
    assert all("shared_experts" not in layer for layer in layers.values())
    layers = describe(moefy(vit(), "switch", 4, shared_experts=1)).plain()["layers"]
    assert [layer["shared_experts"] for layer in layers.values()] == [1, 1]


@pytest.mark.slow
def test_it_is_exported_in_a_static_form() -> None:
    model = moefy(vit(), "token_choice", 4, shared_experts=1)
    expected = model.eval()(images())
    program = torch.export.export(for_export(model), (images(),))
    torch.testing.assert_close(program.module()(images()), expected, atol=1e-5, rtol=1e-5)


def test_zero_is_no_option_and_changes_no_id() -> None:
    plain, zero = compose("router=switch"), compose("router=switch", "shared_experts=0")
    assert plain == zero and zero.shared_experts is None
    assert "shared_experts" not in {name for name, *_ in options_of(zero.model_dump())}
    assert compose("shared_experts=2").shared_experts == 2


@pytest.mark.parametrize("value", long_except(["-1", "1.5", "many"], "-1"))
def test_a_bad_number_is_one_line(
    value: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert invoke(monkeypatch, f"shared_experts={value}") == 2
    error = capsys.readouterr().err
    assert f"shared_experts={value}" in error.replace("'", "")
    assert "type for example shared_experts=1" in error and error.count("\n") == 1


def test_a_bad_number_in_python_is_refused() -> None:
    with pytest.raises(UserError, match="shared_experts=-1: expected 0 or more"):
        moefy(vit(), "switch", 4, shared_experts=-1)
