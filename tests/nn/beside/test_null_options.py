"""Null experts as an option: costs, records, receipts, saved models, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from moesuite import (
    UserError,
    compose,
    for_export,
    load_moe,
    moefy,
    save_moe,
    upcycle,
)
from moesuite.compute.cost import cost, observed_routings
from moesuite.config.sections import null_counts
from moesuite.discovery.names import router_names
from moesuite.nn.moe import moe_layers
from moesuite.routers import router_class
from moesuite.surgery.checkpoint_format import describe
from tests.compute.counted import MLP, TOKENS, WIDTH, assert_as_counted, images, vit
from tests.helpers import invoke, long_except, run
from tests.surgery.dense_models import build

ALL = {"zero": 1, "copy": 1, "constant": 2}
CHOOSING = [name for name in router_names() if router_class(name).tokens_choose]
OTHERS = [name for name in router_names() if name not in CHOOSING and name != "dense"]


def test_costs_by_hand() -> None:
    """Hash gives 4 of 8 experts in a pool half of the tokens: half of an MLP in each of two layers.

    Two constants cost W_c x, [2·2, 16], and their two vectors, on every token.
    """
    model = moefy(vit(), "hash", num_experts=4, null_experts={"zero": 2, "constant": 2})
    found = cost(model, images(), routings=observed_routings(model, images()))
    constant = 2 * TOKENS * WIDTH * 4 + 2 * TOKENS * 2 * WIDTH
    for split in (found.forward.executed, found.forward.activated):
        assert split.experts == pytest.approx(2 * (MLP / 2 + constant))
    assert found.slots_per_token == 0.5
    assert found.forward.executed.padding == 0  # two tokens for each of 4 experts
    # 2 of 4 experts' 2128 parameters would be one slot a token: half a slot leaves 3.5 inactive
    assert found.parameters_active == found.parameters_total - 2 * 7 * 2128 / 2


@pytest.mark.parametrize(
    "router", long_except(["switch", "token_choice", "usmoe", "top_p", "base"], "switch")
)
def test_costs_are_those_counted(router: str) -> None:
    model = moefy(vit(), router, num_experts=4, null_experts=ALL)
    assert_as_counted(model, images(), 0.05)


@pytest.mark.parametrize("name", long_except(OTHERS, "soft"))
def test_routers_whose_tokens_do_not_choose_are_refused(name: str) -> None:
    model = vit()
    with pytest.raises(UserError, match="would spare no work; expected one of base, "):
        moefy(model, name, 4, null_experts=2)
    assert not list(moe_layers(model))


def test_it_is_saved_and_loaded(tmp_path: Path) -> None:
    model = moefy(vit(), "switch", 4, null_experts=ALL)
    for path in (tmp_path / "folder", tmp_path / "model.pt"):
        save_moe(model, path)
        loaded = load_moe(path)
        assert [layer.null.counts for _, layer in moe_layers(loaded)] == [ALL, ALL]
        assert torch.equal(loaded(images()), model.eval()(images()))
    assert all(
        "null_experts" not in layer
        for layer in describe(moefy(vit(), "switch", 4)).plain()["layers"].values()
    )


@pytest.mark.slow
def test_it_is_exported() -> None:
    model = moefy(vit(), "token_choice", 4, null_experts=ALL, k=2)
    expected = model.eval()(images())
    program = torch.export.export(for_export(model), (images(),))
    torch.testing.assert_close(program.module()(images()), expected, atol=1e-5, rtol=1e-5)


def test_the_receipt_says_what_null_experts_change() -> None:
    """Zeros: tokens with an expert start as the MLP, others get 0. Copies: none does."""
    _, receipt = upcycle(build("vit"), "token_choice", 4, null_experts=4, k=2)
    (share,) = {round(row.null_share, 1) for row in receipt.layers}
    assert share == 0.5 and all(row.served_difference < 1e-5 for row in receipt.layers)
    assert "null experts get 5" in receipt.verdict or "null experts get 4" in receipt.verdict
    assert "type null_experts=0 to start closer" in receipt.verdict
    _, receipt = upcycle(build("vit"), "token_choice", 4, null_experts={"copy": 4}, k=2)
    assert "starts off by" in receipt.verdict and "null experts give other" in receipt.verdict


@pytest.mark.slow
def test_a_run_states_the_share_of_each_layer(tmp_path: Path) -> None:
    record = run(tmp_path, "router=token_choice", "null_experts=8", "router.k=2")
    assert record.config["null_experts"] == {"zero": 8}
    for layer in record.health:
        assert len(layer.load) == 8 and 0.2 < layer.null_share < 0.8
        assert layer.pairs_per_token == pytest.approx(2 * (1 - layer.null_share), rel=1e-3)
    compute = record.compute
    assert compute is not None and compute.slots_per_token_asked == 1
    assert compute.slots_per_token_effective < 2


def test_numbers_are_zeros_and_none_is_no_option() -> None:
    assert compose("null_experts=4").null_experts == {"zero": 4}
    assert compose("null_experts={zero:1,constant:2,copy:0}").null_experts == {
        "zero": 1,
        "constant": 2,
    }
    for word in ("null_experts=0", "null_experts={zero:0}"):
        assert compose(word) == compose() and compose(word).null_experts is None
    assert null_counts(None) == null_counts({}) == {}


@pytest.mark.parametrize(
    "value", long_except(["-1", "1.5", "many", "{skip:1}", "{zero:-1}", "[1]"], "-1", "{skip:1}")
)
def test_bad_numbers_are_one_line(
    value: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert invoke(monkeypatch, f"null_experts={value}") == 2
    error = capsys.readouterr().err
    assert error.startswith("error: null_experts=") and error.count("\n") == 1
    assert "numbers of zero, copy, constant ones; type for example null_experts=4" in error


def test_a_router_that_does_not_fit_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert invoke(monkeypatch, "router=soft", "null_experts=4") == 2
    assert "router=soft null_experts={zero:4}: its tokens do not choose" in capsys.readouterr().err


@pytest.mark.parametrize("value", [-1, {"skip": 1}, {"zero": -2}])
def test_bad_numbers_in_python_are_refused(value: Any) -> None:
    with pytest.raises(UserError, match="expected a number of zero experts, or numbers of zero, "):
        moefy(vit(), "switch", 4, null_experts=value)
