"""One run: what its record holds, what is shared between runs, and what stops it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from timm import create_model

from moesuite import compose, fit, moefy
from moesuite.compute.energy import Meter
from moesuite.config.run_options import trainer_options
from moesuite.errors import RunFailed, UserError
from moesuite.experiments.run_report import run_rows
from moesuite.records.store import read_record
from moesuite.train.build import Built
from tests.helpers import MY_ROUTER, SHORT, invoke, run


@pytest.mark.parametrize(
    ("words", "causal"),
    [
        (("router=token_choice",), True),
        (("router=token_choice", "router.k=2"), False),
        (("router=expert_choice",), False),
        (("router=dense",), None),
    ],
)
def test_a_record_says_whether_its_routers_as_built_look_ahead(
    words: tuple[str, ...], causal: bool | None, tmp_path: Path
) -> None:
    """A first choice of a later token takes the slot of an earlier second one.

    With one choice none is taken.
    """
    record = fit(compose(*SHORT, f"records={tmp_path}", "num_experts=2", *words))[0]
    assert record.router_causal is causal and record.causal is False


def test_layers_of_two_routers_are_causal_where_all_are() -> None:
    def moe(router: str) -> torch.nn.Module:
        model = create_model(
            "vit_tiny_patch16_224", img_size=32, embed_dim=24, depth=2, num_heads=2
        )
        return moefy(model, router, num_experts=2, example=torch.zeros(1, 3, 32, 32))

    for others, causal in ((("token_choice", "hash"), True), (("token_choice", "soft"), False)):
        model = torch.nn.ModuleList([moe(router) for router in others])
        assert Built(model, model).causal is causal


SLOW = ("dense", "token_choice", "expert_choice")


@pytest.mark.parametrize(
    "router", ["soft", *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW)]
)
def test_every_router_writes_a_whole_record(tmp_path: Path, router: str) -> None:
    record = run(
        tmp_path, f"router={router}", "measure=true", "logger=csv", "trainer.log_every_n_steps=1"
    )
    assert record.status == "ok" and record.steps == 4
    assert set(record.quality) == {"top1", "top5", "calibration_error"}
    assert record.quality["top1"].n == 360 and record.quality["top1"].direction == "max"
    assert bool(record.limited_quality) == (router == "token_choice")
    compute = record.compute
    assert compute is not None and compute.latency is not None and compute.training_step is not None
    assert compute.latency.n >= 5 and compute.latency.ratio_to_dense > 0
    assert (
        compute.activated.total > 0 and compute.training_step_flops == 64 * compute.training.total
    )
    assert compute.training.total > 2 * compute.expected.total > 0 and compute.activation_bytes > 0
    assert (
        compute.latency_per_sample == compute.latency.median / 32 and (compute.throughput or 0) > 0
    )
    assert compute.step_peak_bytes is not None and compute.dense_step_peak_bytes is not None
    assert compute.step_peak_bytes >= compute.dense_step_peak_bytes > 0 and compute.uncounted == []
    assert [layer.layer for layer in compute.layers] == (
        [] if router == "dense" else ["blocks.1.mlp"]
    )
    assert [layer.layer for layer in record.health] == (
        [] if router == "dense" else ["blocks.1.mlp"]
    )
    path = tmp_path / "runs" / "digits" / router / f"{record.id}.json"
    assert read_record(path) == record
    header = (path.with_suffix("") / "metrics.csv").read_text(encoding="utf-8").splitlines()[0]
    assert "train/loss" in header and ("train/balance_loss" in header) == (router == "token_choice")
    assert (
        record.environment["torch"] == torch.__version__
        and len(record.git_commit or "x" * 40) == 40
    )


def test_unserved_and_dropped_under_capacity_are_two_figures(tmp_path: Path) -> None:
    """A quarter of a slot a token (16 tokens, 8 experts.

    Capacity 1) serves at most 8 of 16 tokens, so drops >= 1/2;
    without the limit each token has its expert. Expert choice has one evaluation only."""
    limited = run(tmp_path, "router=token_choice", "slots_per_token=0.25").health[0]
    assert limited.unserved == 0.0 and limited.pairs_per_token == 1.0
    assert limited.dropped_under_capacity is not None and 0.5 <= limited.dropped_under_capacity < 1
    assert limited.refused_under_capacity == pytest.approx(limited.dropped_under_capacity)
    chosen = run(tmp_path, "router=expert_choice", "slots_per_token=0.25").health[0]
    assert (
        chosen.unserved >= 0.5
        and chosen.dropped_under_capacity is None
        and chosen.refused_under_capacity is None
    )


@pytest.mark.slow
def test_energy_is_estimated_on_request(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    record = run(tmp_path, "energy=true")
    assert (
        record.energy is not None
        and record.energy.kwh > 0
        and "codecarbon" in record.energy.estimated_by
    )
    parts = record.energy.cpu_kwh + record.energy.gpu_kwh + record.energy.memory_kwh
    assert record.energy.kwh == pytest.approx(parts)
    assert "codecarbon" in dict(run_rows(record))["energy, estimate"]
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"pip install 'moesuite\[energy\]'"):
        Meter(True)


@pytest.mark.slow
def test_a_run_is_reproducible_and_its_seeds_reach_everything(tmp_path: Path) -> None:
    def loss(*words: str) -> float:
        config = compose(
            *SHORT,
            f"records={tmp_path}",
            "force=true",
            "trainer.max_epochs=1",
            "trainer.max_steps=-1",
            *words,
            "trainer.limit_train_batches=4",
        )
        return fit(config)[0].curve[-1].loss

    again = loss()
    assert loss() == again
    for seed in ("data.seed=1", "backbone.seed=1", "router_seed=1", "seed=1"):
        assert loss(seed) != again, seed


def test_pairs_share_backbone_and_data(tmp_path: Path) -> None:
    from moesuite.train.fit import Run

    runs = [
        Run(compose(f"router={router}", f"records={tmp_path}", *SHORT), "")
        for router in ("soft", "expert_choice")
    ]
    for one in runs:
        one.build()
    for key, value in runs[0].dense.state_dict().items():
        assert torch.equal(value, runs[1].dense.state_dict()[key])
    assert torch.equal(
        runs[0].model.blocks[0].mlp.fc1.weight, runs[1].model.blocks[0].mlp.fc1.weight
    )


def test_curve_carries_steps_seconds_and_flops(tmp_path: Path) -> None:
    record = run(tmp_path, "trainer.max_steps=44")
    assert [point.step for point in record.curve] == [22, 44]
    assert record.compute is not None
    assert record.curve[1].flops == 44 * record.compute.training_step_flops
    assert 0 < record.curve[0].seconds < record.curve[1].seconds <= record.seconds
    assert 0 < record.waited < record.seconds
    assert record.curve[1].quality == pytest.approx(record.quality["top1"].value)


@pytest.mark.slow
def test_options_reach_the_trainer(tmp_path: Path) -> None:
    record = run(
        tmp_path,
        "trainer.precision=bf16-mixed",
        "trainer.accumulate_grad_batches=2",
        "optim.schedule=rsqrt",
    )
    assert record.status == "ok" and record.config["trainer"]["precision"] == "bf16-mixed"


def test_every_option_of_the_trainer_is_there() -> None:
    import inspect

    import lightning as L

    expected = set(inspect.signature(L.Trainer.__init__).parameters) - {"self"}
    assert expected - set(trainer_options()) == {
        "callbacks",
        "logger",
        "plugins",
        "use_distributed_sampler",
    }


def test_a_non_finite_loss_fails_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my_file.py").write_text(MY_ROUTER, encoding="utf-8")
    # combine weights that overflow float32
    assert invoke(monkeypatch, "router=my_file.py:MyRouter", "router.gain=1e38", *SHORT) == 2
    (path,) = (tmp_path / "runs" / "digits" / "MyRouter").glob("*.json")
    record = read_record(path)
    assert (
        record.status == "failed"
        and "at step 0" in record.reason
        and "the loss is nan" in record.reason
    )
    assert "expected a finite number; type e.g. optim.lr=" in capsys.readouterr().err


def test_logits_that_are_not_finite_name_their_layer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my_file.py").write_text(
        MY_ROUTER.replace("torch.tensor(gain)", "torch.tensor(torch.inf)"), encoding="utf-8"
    )
    assert invoke(monkeypatch, "router=my_file.py:MyRouter", *SHORT) == 2
    (path,) = (tmp_path / "runs" / "digits" / "MyRouter").glob("*.json")
    assert (
        "at step 0: the router of blocks.1.mlp has logits that are not finite"
        in read_record(path).reason
    )


def test_python_and_command_line_agree(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="unknown router"):
        compose("router=sfot")
    (tmp_path / "my_file.py").write_text(MY_ROUTER, encoding="utf-8")
    with pytest.raises(RunFailed, match="at step"):
        run(tmp_path, f"router={tmp_path}/my_file.py:MyRouter", "router.gain=1e38")


def test_a_record_is_plain_json(tmp_path: Path) -> None:
    run(tmp_path)
    (path,) = (tmp_path / "runs").glob("*/*/*.json")
    values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    assert values["schema_version"] == 3 and values["config"]["router"]["k"] == 1
