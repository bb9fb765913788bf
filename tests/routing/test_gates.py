"""Kinds of gates: logits worked out by hand, in every router that has a gate, and on every path."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, get_args

import jaxtyping
import pytest
import torch

from moesuite import LayerSpec, UserError, cost, load_moe, moefy, save_moe, upcycle
from moesuite.certify.__main__ import certify
from moesuite.config.schema import GateKind
from moesuite.discovery.names import router_names
from moesuite.nn.moe import moe_layers
from moesuite.routers import build_router
from moesuite.routing.layer import (
    GATES,
    AttentionGate,
    CosineGate,
    MLPGate,
    build_gate,
)
from moesuite.surgery.checkpoint_format import describe
from tests.helpers import invoke, long_except
from tests.surgery.small_vit import images, small_vit

KINDS: tuple[Any, ...] = get_args(GateKind)
WITHOUT = {"cosine", "dense", "hash", "random", "soft"}  # no gate, or a rule that is the gate


def weights(gate: torch.nn.Module, **values: list[Any]) -> torch.nn.Module:
    """Return the gate with these weights."""
    for name, value in values.items():
        gate.get_parameter(name.replace("__", ".")).data = torch.tensor(value)
    return gate


def test_mlp_by_hand() -> None:
    # hidden: max(E, D/4) = 2 units; x = (1, 2): u = (1·1 + 0, 2·1 - 2) = (1, 0)
    # GELU(1) = 1·Φ(1) = 0.8413, GELU(0) = 0; logits = (2·0.8413, -0.8413)
    gate = weights(
        MLPGate(2, 2),
        hidden__weight=[[1.0, 0.0], [0.0, 1.0]],
        hidden__bias=[0.0, -2.0],
        out__weight=[[2.0, 5.0], [-1.0, 5.0]],
    )
    assert gate(torch.tensor([1.0, 2.0])).tolist() == pytest.approx([1.68269, -0.84134], abs=1e-5)
    assert MLPGate(64, 8).hidden.out_features == 16


def test_cosine_by_hand() -> None:
    # x = (3, 4) projected by the identity: (0.6, 0.8) on the circle; experts (1, 0), (0, 1):
    # cosines 0.6 and 0.8, over τ = 0.5: 1.2 and 1.6
    gate = weights(
        CosineGate(2, 2),
        projection=[[1.0, 0.0], [0.0, 1.0]],
        embeddings=[[2.0, 0.0], [0.0, 7.0]],
        temperature=[0.5],
    )
    assert gate(torch.tensor([3.0, 4.0])).tolist() == pytest.approx([1.2, 1.6])


def test_attention_by_hand() -> None:
    # x = 1: q = (ln 2, 0), k = (1, 0), v = (3, 6)
    # expert 1: scores ln 2·(1, 0) -> softmax (2/3, 1/3) -> 2/3·3 + 1/3·6 = 4
    # expert 2: scores 0·(1, 0) -> (1/2, 1/2) -> 4.5
    gate = weights(AttentionGate(1, 2), weight=[[math.log(2)], [0.0], [1.0], [0.0], [3.0], [6.0]])
    assert gate(torch.tensor([1.0])).tolist() == pytest.approx([4.0, 4.5])


@pytest.mark.parametrize("kind", KINDS)
def test_a_gate_reads_one_token_in_float32(kind: GateKind) -> None:
    torch.manual_seed(0)
    gate = build_gate(LayerSpec(16, 4, gate=kind))
    x = torch.randn(2, 5, 16)
    logits = gate(x)
    assert logits.shape == (2, 5, 4)
    torch.testing.assert_close(logits[1, 3], gate(x[1, 3]))
    assert gate.bfloat16()(x.bfloat16()).dtype == torch.float32


def test_these_routers_have_no_gate() -> None:
    spec = LayerSpec(8, 4, tokens=6, gate="mlp")
    for name in sorted(WITHOUT):
        with pytest.raises(UserError, match=f"gate=mlp: router={name} has no gate to replace"):
            build_router(name, spec, {})
    assert all(build_router(name, spec, {}) for name in {*router_names()} - WITHOUT)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "name", long_except(sorted({*router_names()} - WITHOUT), "token_choice", "usmoe")
)
def test_every_kind_trains_in_every_router(name: str, kind: GateKind) -> None:
    """Its weights get a gradient, through the outputs or an auxiliary loss."""
    torch.manual_seed(0)
    router = build_router(name, LayerSpec(16, 4, gate=kind), {})
    gate = next(module for module in router.modules() if isinstance(module, GATES[kind]))
    routing = router(torch.randn(8, 24, 16))
    target = routing.dense()[1].square().sum() + sum(routing.losses.values(), torch.zeros(()))
    target.backward()
    flowing = [p.grad is not None and bool(p.grad.any()) for p in gate.parameters()]
    assert all(flowing), name


@pytest.mark.parametrize("kind", KINDS)
def test_a_saved_layer_keeps_its_kind(kind: GateKind, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = moefy(small_vit(), "token_choice", 4, gate=kind).eval()
    save_moe(model, tmp_path / "model.pt")
    loaded = load_moe(tmp_path / "model.pt").eval()
    assert [layer.router.spec.gate for _, layer in moe_layers(loaded)] == [kind, kind]
    with torch.no_grad():
        torch.testing.assert_close(loaded(images()), model(images()), rtol=0, atol=0)


def test_files_without_a_kind_are_as_they_were() -> None:
    (layer,) = describe(moefy(small_vit(), "token_choice", 4, [-1])).plain()["layers"].values()
    assert "gate" not in layer
    model = moefy(small_vit(), "token_choice", 4, [-1], gate="mlp")
    (layer,) = describe(model).plain()["layers"].values()
    assert layer["gate"] == "mlp"


def test_upcycling_takes_a_kind_too() -> None:
    model, _ = upcycle(small_vit(), "token_choice", 4, gate="attention")
    gates: list[Any] = [layer.router.gate for _, layer in moe_layers(model)]
    assert all(isinstance(gate, AttentionGate) for gate in gates)


# FLOPs of the router per token, 2 a multiply-add, of D = 16 and E = 8
PER_TOKEN = {
    "linear": 2 * 16 * 8,
    "mlp": 2 * (16 * 8 + 8 * 8),  # 8 = max(E, D/4) hidden units
    "cosine": 2 * (16 * 4 + 4 * 8),  # 4 = E/2 dimensions
    "attention": 2 * (16 * 24 + 8 * 8 + 8 * 8),  # q, k, v; q kᵀ; times v
}


@pytest.mark.parametrize("kind", KINDS)
def test_its_flops_are_counted(kind: GateKind) -> None:
    """Of one MoE layer on the 16 patches of an image."""
    model = moefy(
        small_vit(class_token=False, global_pool="avg"), "expert_choice", 8, [-1], gate=kind
    )
    assert cost(model, images()).forward.executed.router == 16 * PER_TOKEN[kind]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["gate=mlp", "router=hash"], "gate=mlp: router=hash has no gate to replace"),
        (["gate=linaer"], "gate='linaer': input should be 'linear', 'mlp', 'cosine' or"),
    ],
)
def test_bad_input(
    words: list[str],
    told: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert invoke(monkeypatch, *words, f"records={tmp_path}") == 2
    error = capsys.readouterr().err
    assert told in error and "Traceback" not in error, error
    assert not list(tmp_path.rglob("*.json"))


def test_a_misspelt_kind_in_python() -> None:
    jaxtyping.config.update("jaxtyping_disable", True)  # beartype would be first
    with pytest.raises(UserError, match="unknown gate 'linaer'; nearest: linear"):
        LayerSpec(16, 4, gate="linaer")  # type: ignore[arg-type]


def test_a_certificate_of_a_kind() -> None:
    """Attention between experts does not see other tokens: causal, as with a linear gate."""
    certificate = certify("token_choice", {}, num_experts=4, gate="attention")
    assert certificate.gate == "attention" and certificate.changed["gate"] == "attention"
    assert certificate.checks["causal"].holds and not any(
        check.false for check in certificate.checks.values()
    )
