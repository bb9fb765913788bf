"""Upcycled runs continue at the step, learning rate and moments of the dense run."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from moesuite import UserError, compose, fit, load_moe, upcycle
from moesuite.config.compose import understood
from moesuite.config.sections import Optim
from moesuite.nn.moe import moe_layers
from moesuite.records.store import read_record
from moesuite.surgery.moefy import moefy
from moesuite.train.callbacks.stopping import Interruption
from moesuite.train.optim import build_optimizer, learning_rate
from moesuite.train.upcycled_start import moments
from tests.surgery.dense_models import build
from tests.train.dense_runs import EPOCH, QUIET, WORDS, run, weights


@pytest.mark.slow
def test_the_dense_run_goes_on_as_if_it_had_never_stopped(dense: Path, tmp_path: Path) -> None:
    whole, path = run(tmp_path, "router=dense", "trainer.max_epochs=2")
    continued, again = run(tmp_path, "router=dense", "trainer.max_epochs=2", f"upcycle={dense}")
    assert whole.steps == continued.steps == 2 * EPOCH and continued.quality == whole.quality
    ours, theirs = weights(again), weights(path)
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    assert continued.curve[-1].flops == pytest.approx(whole.curve[-1].flops)


def test_step_schedule_and_cost_go_on(dense: Path, tmp_path: Path) -> None:
    record, path = run(
        tmp_path,
        "router=expert_choice",
        "slots_per_token=2",
        "layers=all",
        "trainer.max_steps=44",
        f"upcycle={dense}",
    )
    before = read_record(dense.parent.with_suffix(".json"))
    assert record.steps == 44 and record.sunk is not None and record.sunk.steps == EPOCH
    assert 0 < record.sunk.seconds <= before.seconds < record.seconds
    assert record.compute is not None and before.compute is not None
    flops = EPOCH * before.compute.training_step_flops, EPOCH * record.compute.training_step_flops
    assert record.sunk.flops == pytest.approx(flops[0]) and record.curve[-1].flops == pytest.approx(
        sum(flops)
    )
    saved = torch.load(path, weights_only=True)
    config = compose(*WORDS).optim
    assert saved["lr_schedulers"][0]["_last_lr"][0] == pytest.approx(
        config.lr * learning_rate(44, 44, config)
    )
    assert [
        row.unserved < 0.6 and row.served_difference < 1e-5 * row.scale for row in record.upcycled
    ] == [True] * 2
    assert not (path.parent / "start.ckpt").exists()


def test_experts_have_copies_of_their_moments() -> None:
    """By hand: a step of AdamW on random gradients, then surgery; what is beside them is new."""
    model = build("vit")
    optimizer, _ = build_optimizer(model, Optim(), 10)
    for parameter in model.parameters():
        parameter.grad = torch.randn_like(parameter)
    optimizer.step()
    state = optimizer.state_dict()["state"]
    of = {id(p): optimizer.state[p] for p in model.parameters()}
    fc1 = of[id(model.blocks[1].mlp.fc1.weight)]
    head = of[id(model.head.weight)]

    def surgery(given: nn.Module) -> nn.Module:
        beside = {"shared_experts": 1, "null_experts": {"constant": 1}}
        return moefy(given, "token_choice", 3, layers="last_half", **beside)

    moe = surgery(copy.deepcopy(model))
    found = moments(state, model, moe, surgery)
    new, _ = build_optimizer(moe, Optim(), 10)
    new.load_state_dict({"state": found, "param_groups": new.state_dict()["param_groups"]})
    ((_, layer),) = moe_layers(moe)
    up = new.state[layer.experts.up.weight]
    for moment in ("exp_avg", "exp_avg_sq"):
        assert all(torch.equal(up[moment][expert], fc1[moment].t()) for expert in range(3))
        assert torch.equal(new.state[moe.head.weight][moment], head[moment])
    assert up["step"] == 1 and layer.router.gate.weight not in new.state
    # but for the gate, four weights of the shared expert and two of the null expert
    assert len(found) == sum(1 for _ in moe.parameters()) - 1 - 4 - 2


@pytest.mark.slow
@pytest.mark.parametrize("state", ["resume", "fresh_optimizer"])
def test_which_optimizer_state_continues(
    state: str, dense: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    monkeypatch.setattr(
        "moesuite.train.callbacks.curve.Curve.on_train_start",
        lambda self, trainer, module: seen.append(len(trainer.optimizers[0].state)),
    )
    words = [f"upcycle={dense}", f"upcycle_state={state}", "trainer.max_steps=24", "router=switch"]
    record, path = run(tmp_path, *words)
    parameters = sum(1 for _ in load_moe(path).parameters())
    # but for the gate
    assert record.steps == 24 and seen == [parameters - 1 if state == "resume" else 0]


@pytest.mark.slow
def test_weights_alone_begin_at_step_0(dense: Path, tmp_path: Path) -> None:
    words = ["upcycle_state=weights", "trainer.max_steps=3", "optim.schedule=cosine"]
    record, _ = run(tmp_path, "router=switch", f"upcycle={dense}", *words)
    assert record.steps == 3 and record.sunk is None and len(record.upcycled) == 1


@pytest.mark.slow
def test_an_interrupted_run_goes_on_from_its_own_checkpoint(
    dense: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["router=expert_choice", f"upcycle={dense}", f"trainer.max_steps={2 * EPOCH}"]
    whole, _ = run(tmp_path / "whole", *words)

    def stop(self: Interruption, trainer: Any, *_: Any) -> None:
        if trainer.global_step == EPOCH + 7:
            trainer.save_checkpoint(self.checkpoint)
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Interruption, "on_train_batch_end", stop)
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path, *words)
    resumed, _ = run(tmp_path, *words)
    assert resumed.quality == whole.quality and resumed.sunk == whole.sunk
    assert resumed.curve[-1].flops == pytest.approx(whole.curve[-1].flops)


@pytest.mark.slow
def test_language_resets_its_optimizer_and_a_decoder_has_its_own_router(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """T5's recipe: expert choice in the encoder, top-2 token choice in the decoder."""
    text = [
        "task=stdlib",
        "task.objective=span_corruption",
        "backbone=t5_mini",
        "task.length=64",
        "task.stride=64",
    ]
    text += ["data.batch_size=4", "trainer.limit_test_batches=1", "trainer.limit_val_batches=0"]
    _, dense = run(tmp_path, *text, "router=dense", "trainer.max_steps=2")
    recipe = [
        "router=expert_choice",
        "decoder={name:token_choice,k:2}",
        "slots_per_token=2",
        "layers=all",
    ]
    monkeypatch.setattr(
        "moesuite.certify.lookahead.causal_routers", lambda: ["switch"]
    )  # measuring all takes its time
    with pytest.raises(
        UserError, match="router=token_choice is not causal .* in the decoder, this task predicts"
    ):
        run(tmp_path, *text, *recipe, f"upcycle={dense}", "trainer.max_steps=4")
    record, path = run(
        tmp_path, *text, *recipe, f"upcycle={dense}", "trainer.max_steps=4", "allow_noncausal=true"
    )
    model = load_moe(path)
    routers = {
        (layer.in_decoder, layer.router.name, layer.renormalise) for _, layer in moe_layers(model)
    }
    assert routers == {(False, "expert_choice", False), (True, "token_choice", False)}
    assert record.steps == 4 and record.sunk is not None and record.sunk.steps == 2


def test_a_pretrained_model_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    build("bert").save_pretrained(tmp_path / "bert")
    config = compose("task=sts", f"upcycle=hf:{tmp_path / 'bert'}", "router=hash")
    assert config.backbone.model == f"hf:{tmp_path / 'bert'}" and config.backbone.pretrained
    assert not config.upcycles_run and not config.goes_on and config.resolved().renormalise is False
    assert compose("upcycle=timm:vit_tiny_patch16_224").resolved().renormalise is True
    with pytest.raises(
        UserError,
        match="backbone=vit_mini beside upcycle=timm:vit_tiny_patch16_224: allowed is one",
    ):
        compose("upcycle=timm:vit_tiny_patch16_224", "backbone=vit_mini")


def test_words_are_understood_twice() -> None:
    """They stand in records, and Lightning starts further processes by them."""
    words = understood(["router=soft", "upcycle='timm:vit_tiny_patch16_224'"])
    assert (
        words[2:] == ["backbone=timm:vit_tiny_patch16_224", "backbone.pretrained=true"]
        and understood(words) == words
    )
    with pytest.raises(UserError, match="allowed is one pretrained model"):
        understood(["-m", "upcycle=timm:a,timm:b"])
    with pytest.raises(
        UserError, match="upcycle_state=weights: only the checkpoint of a run can be continued"
    ):
        fit(compose("upcycle_state=weights", *QUIET))


@pytest.mark.slow
def test_the_optimizer_is_as_the_new_run_asks_for(dense: Path, tmp_path: Path) -> None:
    words = ["router=switch", "trainer.max_steps=24", "optim.weight_decay=0.5", "optim.beta2=0.95"]
    _, path = run(tmp_path, *words, f"upcycle={dense}")
    group = torch.load(path, weights_only=True)["optimizer_states"][0]["param_groups"][0]
    assert group["weight_decay"] == 0.5 and group["betas"] == (0.9, 0.95)


def test_only_evaluated(dense: Path, tmp_path: Path) -> None:
    record, _ = run(tmp_path, "router=switch", "trainer.max_epochs=0", f"upcycle={dense}")
    assert record.status == "ok" and record.steps == 0 and len(record.upcycled) == 1


def test_a_checkpoint_in_python(dense: Path) -> None:
    model, receipt = upcycle(str(dense), "switch", num_experts=4, layers=[0])
    state = weights(dense)
    assert torch.equal(model.state_dict()["head.weight"], state["model.head.weight"])
    ((_, layer),) = moe_layers(model)
    assert torch.equal(layer.experts.down.weight[3].t(), state["model.blocks.0.mlp.fc2.weight"])
    assert len(receipt.layers) == 1 and list(receipt.skipped) == ["blocks.1.mlp"]


@pytest.mark.slow
def test_a_deeper_model_goes_on_too(dense: Path, tmp_path: Path) -> None:
    record, path = run(
        tmp_path, "router=dense", "tile_depth=2", "trainer.max_steps=24", f"upcycle={dense}"
    )
    before = read_record(dense.parent.with_suffix(".json"))
    assert record.steps == 24 and record.compute is not None and before.compute is not None
    assert record.compute.parameters_total > 1.9 * before.compute.parameters_total
    assert len(load_moe(path).blocks) == 4
    with pytest.raises(UserError, match=r"weights that this model lacks: blocks\.2\.attn"):
        run(tmp_path, "router=dense", "trainer.max_steps=26", f"upcycle={path}")
