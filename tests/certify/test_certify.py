"""Certificates say what is so; what they say has consequences."""

from __future__ import annotations

import argparse
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
from moesuite.discovery.names import router_names
from moesuite.errors import UserError
from moesuite.nn.experts import Experts
from moesuite.nn.moe import MoE
from moesuite.routers.token_choice import TokenChoice
from moesuite.routing.router import Gate, LayerSpec, Router, SlotRouting
from moesuite.train.build import build_models, build_task, refuse_lookahead
from tests.certify.faults.leaks import LeakBeyond24
from tests.certify.faults.planted import PLANTED

CAUSAL = {
    "cosine",
    "dense",
    "expert_choice_causal",
    "expert_threshold",
    "group_limited",
    "hash",
    "loss_free",
    "quantile_balanced",
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
    """Draws in evaluation too, and pools over the batch.

    Wrong in every way that the field has seen.
    """

    causal = True

    def __init__(self, spec: LayerSpec) -> None:
        super().__init__(spec)
        self.gate = Gate(spec.dim, spec.num_experts)
        self.unused = nn.Parameter(torch.ones(2, 2))

    def forward(self, x: Float[Tensor, "G T D"], mask: Tensor | None = None) -> SlotRouting:
        logits = self.gate(x - x.mean(dim=(0, 1)))
        noise = torch.randn_like(logits)
        return self.choose_tokens((logits + noise).softmax(dim=-1).transpose(1, 2))


def test_a_bad_router_fails_its_certificate() -> None:
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
def test_a_router_that_looks_ahead_is_refused_on_a_causal_task() -> None:
    task = build_task(compose().task)
    task.causal = True
    with pytest.raises(UserError) as error:
        build_models(compose("router=expert_choice"), task, None)
    message = str(error.value)
    assert (
        "router=expert_choice is not causal (certificate: leaks in evaluation and training "
        "at length 24)" in message
    )
    assert (
        "expert_choice_causal" in message
        and "soft," not in message
        and "allow_noncausal=true" in message
    )
    build_models(compose("router=expert_choice", "allow_noncausal=true"), task, None)
    build_models(compose("router=expert_choice_causal"), task, None)


def test_a_user_router_is_certified(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "from moesuite.routers.expert_choice import ExpertChoice\nclass Mine(ExpertChoice):\n"
        "    def __init__(self, spec, shift: float = 0.0):\n        super().__init__(spec)\n",
        encoding="utf-8",
    )
    found = certify(f"{tmp_path}/mine.py:Mine", {"shift": 1.0})
    assert found.checks["deterministic"].holds and not found.checks["causal"].holds


@pytest.mark.slow
@pytest.mark.parametrize("length", [128, 512])
def test_a_run_tries_its_own_length_before_it_trains(length: int) -> None:
    """A router that leaks in groups of 128, or of 500 and more, is refused if the run has these."""

    class Late(LeakBeyond24):
        def leaks(self, tokens: int) -> bool:
            return tokens == 128 or tokens >= 500

    def layers() -> list[MoE]:
        return [MoE(Late(LayerSpec(16, 4)), Experts(small_mlp(16, 32), 4))]

    refuse_lookahead(layers(), "this task", 60)
    with pytest.raises(UserError, match=f"leaks in evaluation and training at length {length}"):
        refuse_lookahead(layers(), "this task", length)


@pytest.mark.slow
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
