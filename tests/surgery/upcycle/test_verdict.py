"""Where an upcycled model starts: in words, on the console, in the record."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from moesuite import compose, fit, upcycle
from moesuite.discovery.names import router_names
from moesuite.experiments.run_report import run_rows
from moesuite.nn.beside.parts import Parts
from moesuite.nn.moe import moe_layers
from moesuite.records.record import UpcycledLayer
from moesuite.records.store import read_record
from moesuite.routers import build_router
from moesuite.routing.router import LayerSpec
from moesuite.surgery.upcycle_receipt import verdict
from tests.helpers import TINY_RUN
from tests.surgery.dense_models import build


def layer(
    difference: float, weights: float = 1.0, unserved: float = 0.0, experts: int = 2
) -> UpcycledLayer:
    return UpcycledLayer(
        layer="h.1.mlp",
        difference=difference,
        served_difference=difference,
        scale=91.0,
        unserved=unserved,
        weights=weights,
        experts=experts,
    )


@pytest.mark.parametrize(
    ("layers", "options", "says"),
    [
        ([], {"parts": Parts()}, ""),
        (
            [layer(0.0)],
            {"parts": Parts(renormalise=True)},
            "starts at the dense model (largest difference 0.0e+00 of its answers)",
        ),
        # 45 of 91 is 49 %
        (
            [layer(0.0), layer(45.0, weights=0.504)],
            {"parts": Parts()},
            "starts off by 49% (h.1.mlp: |difference| 45 of 91): combine weights sum to "
            "0.50; type renormalise=true "
            "(renormalise=True in Python)",
        ),
        (
            [layer(45.0)],
            {"parts": Parts(renormalise=True)},
            "starts off by 49% (h.1.mlp: |difference| 45 of 91): experts get mixtures of "
            "tokens, or weights do not sum "
            "to 1",
        ),
        (
            [layer(9.1)],
            {"parts": Parts(renormalise=True), "expert_noise": 0.1},
            "starts off by 10% (h.1.mlp: |difference| 9.1 of 91), by noise on the experts; "
            "type expert_noise=0",
        ),
    ],
)
def test_in_words_by_hand(layers: list[UpcycledLayer], options: dict[str, Any], says: str) -> None:
    assert verdict(layers, **options) == says


def test_notes_of_a_verdict_by_hand() -> None:
    unserved = verdict(
        [layer(0.0, unserved=0.25), layer(0.0)], Parts(renormalise=True)
    )  # a quarter of one of two layers
    assert unserved.endswith(
        "; 12.5% of the tokens have no expert, and nothing in its place; type a larger "
        "slots_per_token"
    )
    single = verdict([layer(0.0, experts=1)], Parts(renormalise=True))
    assert (
        "one expert a token has weight 1 whatever the router says" in single
        and "type router.k=2" in single
    )
    assert "one expert" not in verdict([layer(0.0, experts=1)], Parts())


@pytest.mark.parametrize("name", ["gpt2", "bert"])
def test_a_text_model_starts_off_and_the_receipt_gives_the_option(name: str) -> None:
    _, raw = upcycle(build(name), "token_choice", 4, k=2)
    weights = raw.layers[0].weights
    assert (
        weights is not None and 0.3 < weights < 0.9
    )  # the two largest of four gates that are about equal
    assert (
        f"combine weights sum to {weights:.2f}; type renormalise=true" in raw.verdict
        and raw.verdict in str(raw)
    )
    _, typed = upcycle(build(name), "token_choice", 4, k=2, renormalise=True)
    assert typed.verdict.startswith("starts at the dense model") and typed.layers[
        0
    ].weights == pytest.approx(1.0)


def test_soft_mixes_tokens_and_one_renormalised_expert_teaches_no_router() -> None:
    assert "experts get mixtures of tokens" in upcycle(build("vit"), "soft")[1].verdict
    model, receipt = upcycle(build("vit"), "switch")
    assert "one expert a token has weight 1" in receipt.verdict
    model.train()(torch.randn(2, 3, 16, 16)).square().sum().backward()
    ((_, moe),) = moe_layers(model)
    assert moe.router.gate.weight.grad is None or moe.router.gate.weight.grad.abs().max() < 1e-6


@pytest.mark.parametrize("router", [name for name in router_names() if name != "dense"])
def test_weights_of_tokens_are_those_of_the_dense_form(router: str) -> None:
    torch.manual_seed(0)
    built = build_router(router, LayerSpec(8, 4, 1.0, None, 12), {}).eval()
    built.ids = torch.arange(24).view(2, 12)
    for limited in (False, True):
        built.limited = limited
        with torch.no_grad():
            routing = built(torch.randn(2, 12, 8), None)
        torch.testing.assert_close(
            routing.token_weights().sum(dim=-1), routing.dense()[1].sum(dim=(2, 3))
        )


@pytest.mark.slow
def test_the_verdict_of_a_run_is_on_its_console_and_in_its_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    record, dense = fit(compose("router=dense", *TINY_RUN))
    assert record.verdict == "" and "upcycled" not in dict(run_rows(record))
    words = [
        f"upcycle={dense.with_suffix('')}/last.ckpt",
        "upcycle_state=weights",
        "renormalise=false",
        *TINY_RUN,
    ]
    record, path = fit(compose(*words))
    assert record.verdict.startswith("starts off by ") and "type renormalise=true" in record.verdict
    assert dict(run_rows(record))["upcycled"] == read_record(path).verdict == record.verdict
