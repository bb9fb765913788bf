"""Certificates say what is so; what they say has consequences."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from jaxtyping import Float
from torch import Tensor, nn

from moesuite import compose
from moesuite.build import build_models, build_task
from moesuite.certificate import causal, causal_routers
from moesuite.certify import certify
from moesuite.errors import UserError
from moesuite.plugins import router_names
from moesuite.router import Gate, LayerSpec, Router, SlotRouting
from moesuite.routers.token_choice import TokenChoice
from moesuite.subject import Subject
from tests.conftest import Command

CAUSAL = {"cosine", "dense", "expert_choice_causal", "hash", "loss_free", "random", "relu", "switch", "token_choice"}


def test_which_routers_are_causal() -> None:
    assert set(causal_routers()) == CAUSAL


@pytest.mark.slow
def test_claims_are_what_is_measured() -> None:
    for name in router_names():
        found = certify(name, {})
        assert found.claims_causal == found.checks["causal"].holds, name


class Noisy(Router):
    """Draws in evaluation too, and pools over the batch: wrong in every way that the field has seen."""

    causal = True

    def __init__(self, spec: LayerSpec) -> None:
        super().__init__(spec)
        self.gate = Gate(spec.dim, spec.num_experts)
        self.unused = nn.Parameter(torch.ones(2, 2))

    def forward(self, x: Float[Tensor, "G T D"], mask: Tensor | None = None) -> SlotRouting:
        logits = self.gate(x - x.mean(dim=(0, 1)))
        noise = torch.randn_like(logits)
        return self.choose_tokens((logits + noise).softmax(dim=-1).transpose(1, 2))


def test_a_bad_router_is_found_out() -> None:
    from moesuite import certificate

    subject = Subject(lambda spec, **_: Noisy(spec))
    for check in ("deterministic", "batch_independent", "padding_invariant", "equivariant", "causal"):
        assert getattr(certificate, check)(subject).holds is False, check
    assert certificate.gradients(subject)[2].detail == "none for unused"


def test_a_later_first_choice_evicts_an_earlier_second_one_only_where_capacity_binds() -> None:
    """The leak of the GShard order: with room for everybody there is none."""
    found = causal(Subject(lambda spec, **_: TokenChoice(spec, k=2)))
    assert found.holds is False and found.detail == "leaks in training"
    assert causal(Subject(lambda spec, **_: TokenChoice(spec, k=1), slots_per_token=4.0)).holds


def test_one_expert_is_the_dense_mlp_and_weights_below_one_are_reported() -> None:
    found = certify("expert_choice", {})
    assert found.checks["single_expert_is_dense"].holds
    # fresh gates are near 1/8: the layer starts far from the dense MLP, and says how far
    assert found.checks["upcycled_is_dense"].holds is None
    assert found.checks["upcycled_is_dense"].figure > 0.5
    assert certify("hash", {}).checks["upcycled_is_dense"].holds


def test_the_command_writes_json_and_a_table(command: Command, tmp_path: Path) -> None:
    done = command("moesuite.certify", "router=token_choice", "router.k=2", "num_experts=4")
    assert done.returncode == 0, done.stderr
    assert "token_choice" in done.stdout and "causal" in done.stdout
    found = json.loads((tmp_path / "runs" / "certificates" / "token_choice.json").read_text())
    assert (found["options"]["k"], found["options"]["balance_weight"]) == (2, 0.01) and found["num_experts"] == 4
    assert found["checks"]["causal"]["holds"] is False and found["checks"]["deterministic"]["holds"] is True


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["router=tokn_choice"], "nearest: token_choice"),
        (["router=usmoe", "router.alpha=1.5"], "router.alpha=1.5"),
        (["router=usmoe", "router.alfa=1"], "nearest: alpha"),
        (["router=usmoe", "slots_per_token=-1"], "slots_per_token=-1"),
        (["router=cosine", "router.temperature=0"], "router.temperature=0"),
        (["router=noisy_topk", "router.k=9"], "allowed is 1 to num_experts=8"),
        (["router=all", "router.k=2"], "options belong to one router"),
        (["router=soft", "num_experts=1"], "num_experts=1"),
        (["routr=soft"], "nearest: router"),
        (["router=usmoe", "router.name=1"], "unknown option router.name"),
        (["router=soft", "router.dispatch=identity"], "identity is allowed for both or neither"),
        (["router=top_p", "router.p=0"], "router.p=0"),
        (["num_experts=many"], "allowed is a number"),
    ],
)
def test_bad_input(
    words: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from moesuite.certify import main

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["certify", *words])
    with pytest.raises(SystemExit) as stop:
        main()
    lines = capsys.readouterr().err.strip().splitlines()
    assert stop.value.code == 2 and len(lines) == 1 and message in lines[0], lines
    assert not (tmp_path / "runs").exists()


def test_a_router_that_looks_ahead_is_refused_on_a_causal_task() -> None:
    task = build_task(compose().task)
    task.causal = True
    with pytest.raises(UserError) as error:
        build_models(compose("router=expert_choice"), task, None)
    message = str(error.value)
    assert "router=expert_choice is not causal (certificate: leaks in evaluation and training)" in message
    assert "expert_choice_causal" in message and "soft," not in message and "allow_noncausal=true" in message
    build_models(compose("router=expert_choice", "allow_noncausal=true"), task, None)
    build_models(compose("router=expert_choice_causal"), task, None)


def test_a_router_of_ones_own_is_certified(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "from moesuite.routers.expert_choice import ExpertChoice\nclass Mine(ExpertChoice):\n"
        "    def __init__(self, spec, shift: float = 0.0):\n        super().__init__(spec)\n"
    )
    found = certify(f"{tmp_path}/mine.py:Mine", {"shift": 1.0})
    assert found.checks["deterministic"].holds and not found.checks["causal"].holds
