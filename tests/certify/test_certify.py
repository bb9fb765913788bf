"""Certificates say what is so; what they say has consequences."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pytest
import torch
from jaxtyping import Float
from torch import Tensor, nn

from moesuite import compose
from moesuite.certify.__main__ import certify
from moesuite.certify.certificate import causal, causal_routers, measure
from moesuite.certify.harness import Subject, small_mlp
from moesuite.certify.objectives import gradient
from moesuite.certify.properties import PROPERTIES
from moesuite.config.discovery import router_names
from moesuite.errors import UserError
from moesuite.nn.experts import Experts
from moesuite.nn.moe import MoE
from moesuite.records.certificate import Certificate, Check
from moesuite.routers.token_choice import TokenChoice
from moesuite.routing.router import Gate, LayerSpec, Router, SlotRouting
from moesuite.train.build import build_models, build_task, refuse_lookahead
from tests.certify.planted import LeakBeyond24
from tests.conftest import ROOT, Command

CAUSAL = {
    "cosine",
    "dense",
    "expert_choice_causal",
    "hash",
    "loss_free",
    "random",
    "relu",
    "switch",
    "token_choice",
}


@pytest.mark.slow
def test_which_routers_are_causal() -> None:
    assert set(causal_routers()) == CAUSAL


@pytest.mark.slow
def test_claims_are_what_is_measured() -> None:
    for name in router_names():
        found = certify(name, {})
        assert found.claims_causal == found.checks["causal"].holds, name
        assert not found.has_false_claim, (name, found.verdict)


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
    subject = Subject(lambda spec, **_: Noisy(spec))
    for prop in PROPERTIES:
        if prop.name in (
            "deterministic",
            "batch_independent",
            "padding_invariant",
            "equivariant",
            "causal",
        ):
            assert measure(prop, subject).holds is False, prop.name
    assert gradient(subject).detail == "none for unused"


def test_a_later_first_choice_evicts_an_earlier_second_one_only_where_capacity_binds() -> None:
    """The leak of the GShard order: with room for everybody there is none."""
    found = causal(Subject(lambda spec, **_: TokenChoice(spec, k=2)))
    assert found.holds is False and not found.false  # it does not claim to be
    assert (
        found.detail == "leaks in training and evaluation under eval_slots_per_token at length 24"
    )
    assert causal(
        Subject(lambda spec, **_: TokenChoice(spec, k=1), slots_per_token=4.0), [24]
    ).holds


def test_one_expert_is_the_dense_mlp_and_weights_below_one_are_reported() -> None:
    found = certify("expert_choice", {})
    assert found.checks["single_expert_is_dense"].holds
    # fresh gates are near 1/8: the layer starts far from the dense MLP, and says how far
    assert found.checks["upcycled_is_dense"].holds is None
    assert found.checks["upcycled_is_dense"].figure > 0.5
    assert certify("hash", {}).checks["upcycled_is_dense"].holds


@pytest.mark.slow
def test_the_command_writes_json_and_a_table(command: Command, tmp_path: Path) -> None:
    done = command("moesuite.certify", "router=token_choice", "router.k=2", "num_experts=4")
    assert done.returncode == 0, done.stderr
    assert "token_choice" in done.stdout and "causal" in done.stdout
    assert "looks ahead: leaks in training and evaluation" in done.stdout
    assert "no output depends on a later token" in done.stdout  # the legend
    (path,) = (tmp_path / "runs" / "certificates").glob("*.json")
    found = json.loads(path.read_text())
    assert path.stem.startswith("token_choice-") and found["changed"] == {"k": 2, "num_experts": 4}
    assert (found["options"]["k"], found["options"]["balance_weight"]) == (2, 0.01) and found[
        "num_experts"
    ] == 4
    assert (
        found["checks"]["causal"]["holds"] is False
        and found["checks"]["deterministic"]["holds"] is True
    )


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
        (["device=coda"], "device=coda"),
        (["device=meta"], "device=meta"),
    ],
)
def test_bad_input(
    words: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from moesuite.certify.__main__ import main

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
    assert (
        "router=expert_choice is not causal (certificate: leaks in evaluation and training at length 24)"
        in message
    )
    assert (
        "expert_choice_causal" in message
        and "soft," not in message
        and "allow_noncausal=true" in message
    )
    build_models(compose("router=expert_choice", "allow_noncausal=true"), task, None)
    build_models(compose("router=expert_choice_causal"), task, None)


def test_a_router_of_ones_own_is_certified(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "from moesuite.routers.expert_choice import ExpertChoice\nclass Mine(ExpertChoice):\n"
        "    def __init__(self, spec, shift: float = 0.0):\n        super().__init__(spec)\n"
    )
    found = certify(f"{tmp_path}/mine.py:Mine", {"shift": 1.0})
    assert found.checks["deterministic"].holds and not found.checks["causal"].holds


def certified(router: str, **changed: object) -> Certificate:
    """Return a certificate without a measurement."""
    return Certificate(
        router=router, options={}, changed=changed, paper="", code="", num_experts=8, slots_per_token=1.0,
        random_in_training=False, claims_causal=False, checks={"causal": Check(holds=False)}, at_initialisation={},
    )  # fmt: skip


def test_certificates_are_kept_by_full_name_and_options() -> None:
    names = [
        certified("soft"),
        certified("soft", k=2),
        certified("soft", k=3),
        certified("soft", k=2, num_experts=4),
    ]
    names += [
        certified("a/mine.py:Mine"),
        certified("b/mine.py:Mine"),
        certified("a.mine:Mine"),
        certified("Mine"),
    ]
    stems = [certificate.stem for certificate in names]
    assert len(set(stems)) == 8 and stems[0] == "soft" and stems[-1] == "Mine"
    assert stems[4].startswith("a-mine.py-Mine-") and certified("soft", k=2).stem == stems[1]
    old = certified("a/mine.py:Mine").model_copy(update={"changed": None})
    assert old.stem == "Mine"  # as schema 1 named it


PLANTED = f"{ROOT}/tests/certify/planted.py"


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("router", ["switch", "expert_choice", "soft", "usmoe", "random"])
def test_a_device_certifies_as_the_cpu_does(router: str) -> None:
    here, there = certify(router, {}), certify(router, {}, device="cuda")
    assert {name: check.holds for name, check in there.checks.items()} == {
        name: check.holds for name, check in here.checks.items()
    }
    assert there.stem != here.stem == router and there.changed == {"device": "cuda"}


def run(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    from moesuite.certify.__main__ import main

    monkeypatch.setattr("sys.argv", ["certify", *words])
    with pytest.raises(SystemExit) as stop:
        main()
    return int(stop.value.code or 0)


def test_the_exit_code_says_whether_a_claim_is_false(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(monkeypatch, f"router={PLANTED}:LeakInTrainingAt128") == 1
    assert "claims causal, leaks in training at length 128" in capsys.readouterr().out
    assert (
        run(monkeypatch, "router=expert_choice") == 0
    )  # looks ahead, and does not claim otherwise
    last = capsys.readouterr().out.split("\n\n")[-2]
    assert (
        last
        == "expert_choice: keeps what it claims; looks ahead: leaks in evaluation and training at length 24"
    )


@pytest.mark.slow
def test_a_router_that_cannot_be_certified_does_not_stop_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    names = [
        "hash",
        f"{ROOT}/tests/certify/malformed.py:Raises",
        f"{ROOT}/tests/certify/malformed.py:NothingAtAll",
        "dense",
    ]
    monkeypatch.setattr("moesuite.certify.__main__.router_names", lambda: names)
    assert run(monkeypatch, "router=all") == 2
    out, err = capsys.readouterr()
    assert "hash: keeps what it claims" in out and "dense: keeps what it claims" in out
    raised, nothing = err.strip().splitlines()
    case = "with 8 experts, 3 groups of 24 tokens, in training"
    assert (
        f"malformed.py:Raises cannot be certified {case}: RuntimeError: mat1 and mat2 shapes"
        in raised
    )
    assert "allowed: forward(x [G, T, D], mask" in raised
    assert "NothingAtAll returns a NoneType; allowed: a SoftRouting" in nothing
    assert sorted(path.stem for path in (tmp_path / "runs" / "certificates").iterdir()) == [
        "dense",
        "hash",
    ]


@pytest.mark.parametrize(
    ("name", "case"),
    [
        (
            "RaisesWithOneExpert",
            "with 1 expert, 3 groups of 24 tokens, in evaluation: RuntimeError: a choice of one",
        ),
        (
            "RaisesForOneToken",
            "with 2 experts, 3 groups of 1 token, in training: RuntimeError: a mean of one",
        ),
        ("RaisesAsItIsBuilt", "with 2 experts, as it is built: RuntimeError: no such file"),
        (
            "RaisesForPadding",
            "with 2 experts, 3 groups of 24 tokens, in training, with padding: RuntimeError: a mask",
        ),
    ],
)
def test_a_router_that_fails_in_one_case_is_told_which(name: str, case: str) -> None:
    with pytest.raises(UserError) as error:
        certify(f"{ROOT}/tests/certify/malformed.py:{name}", {}, num_experts=2)
    assert f"malformed.py:{name} cannot be certified {case}; allowed: " in str(error.value)


def test_the_help_explains_every_column(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from moesuite.certify.__main__ import main

    monkeypatch.setattr("sys.argv", ["certify", "--help"])
    main()
    out = capsys.readouterr().out
    for prop in PROPERTIES:
        assert not prop.heading or f"{prop.heading}  {prop.meaning}" in out
    assert "Exit code: 0; 1 where a router claims" in out


@pytest.mark.parametrize("length", [128, 512])
def test_a_run_tries_its_own_length_before_it_trains(length: int) -> None:
    """A router that leaks in groups of exactly 128, or from 500 on, is refused where the run has them."""

    class Late(LeakBeyond24):
        def leaks(self, tokens: int) -> bool:
            return tokens == 128 or tokens >= 500

    def layers() -> list[MoE]:
        return [MoE(Late(LayerSpec(16, 4)), Experts(small_mlp(16, 32), 4))]

    refuse_lookahead(layers(), "this task", 60)
    with pytest.raises(UserError, match=f"leaks in evaluation and training at length {length}"):
        refuse_lookahead(layers(), "this task", length)


def test_the_length_that_is_tried_is_that_of_the_task() -> None:
    """Sequences of 150 tokens, and a router that leaks beyond 128 only."""
    words = [
        "task=stdlib",
        f"task.source={argparse.__file__}",
        "task.length=150",
        "backbone.kwargs.n_embd=32",
    ]
    words += [
        "backbone.kwargs.n_layer=2",
        "backbone.kwargs.n_head=2",
        f"router={PLANTED}:LeakBeyond128",
    ]
    config = compose(*words)
    task = build_task(config.task)
    with pytest.raises(UserError, match="leaks in evaluation and training at length 150"):
        build_models(config, task, task.blank())
