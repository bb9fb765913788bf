"""The main job from the command line: what it writes, what it refuses, how it stops and goes on."""

from __future__ import annotations

import json
import os
import pickle
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from timm import create_model

from moesuite import compose, fit, moefy
from moesuite.compute.energy import Meter
from moesuite.config.compose import trainer_options
from moesuite.config.user_code import own_class
from moesuite.errors import RunFailed, UserError
from moesuite.experiments.run_report import rows
from moesuite.records.store import read_record
from moesuite.train.build import Built
from tests.conftest import Command
from tests.helpers import MY_ROUTER, SHORT, invoke, run, wait_for


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
    """A first choice of a later token takes the slot of an earlier second one; with one choice none is taken."""
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


@pytest.mark.parametrize("router", ["dense", "token_choice", "expert_choice", "soft"])
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
    header = (path.with_suffix("") / "metrics.csv").read_text().splitlines()[0]
    assert "train/loss" in header and ("train/balance_loss" in header) == (router == "token_choice")
    assert (
        record.environment["torch"] == torch.__version__
        and len(record.git_commit or "x" * 40) == 40
    )


def test_unserved_and_dropped_under_capacity_are_two_figures(tmp_path: Path) -> None:
    """A quarter of a slot a token (16 tokens, 8 experts: capacity 1) serves at most 8 of 16 tokens, so drops >= 1/2;
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


def test_energy_is_an_estimate_where_it_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = run(tmp_path, "energy=true")
    assert (
        record.energy is not None
        and record.energy.kwh > 0
        and "codecarbon" in record.energy.estimated_by
    )
    parts = record.energy.cpu_kwh + record.energy.gpu_kwh + record.energy.memory_kwh
    assert record.energy.kwh == pytest.approx(parts)
    assert "codecarbon" in dict(rows(record))["energy, estimate"]
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"pip install 'moesuite\[energy\]'"):
        Meter(True)


def test_the_same_run_is_not_run_again(tmp_path: Path) -> None:
    first = run(tmp_path)
    assert run(tmp_path).created == first.created
    assert run(tmp_path, "seed=1").id != first.id
    assert run(tmp_path, "trainer.max_steps=5").id != first.id


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


def test_a_router_outside_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_file.py").write_text(MY_ROUTER)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    assert invoke(monkeypatch, "router=my_file:MyRouter", "router.gain=0.5", *SHORT) == 0
    assert invoke(monkeypatch, "-m", f"router=dense,{tmp_path}/my_file.py:MyRouter", *SHORT) == 0
    records = [
        read_record(path)
        for path in sorted((tmp_path / "runs" / "digits" / "MyRouter").glob("*.json"))
    ]
    assert len(records) == 2
    assert {record.config["router"]["gain"] for record in records} == {0.5, 1.0}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (
            "class MyRouter(:\n",
            "my_file.py: SyntaxError: invalid syntax (my_file.py, line 1); HYDRA_FULL_ERROR=1 shows",
        ),
        (
            "import nothing\n" + MY_ROUTER,
            "my_file.py: ModuleNotFoundError: No module named 'nothing'; HYDRA_FULL_ERROR",
        ),
    ],
)
def test_a_router_that_cannot_be_imported(
    text: str,
    says: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "my_file.py").write_text(text)
    monkeypatch.chdir(tmp_path)
    assert invoke(monkeypatch, "router=my_file.py:MyRouter", *SHORT) == 2
    error = capsys.readouterr().err
    assert says in error and error.count("\n") == 1


def test_two_files_of_one_name_are_two_modules(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "my_file.py").write_text(f"class Mine:\n    folder = {folder!r}\n")
    first, second = (
        own_class("router", f"{tmp_path / folder}/my_file.py:Mine", "") for folder in ("a", "b")
    )
    assert (first.folder, second.folder) == ("a", "b")
    assert (
        pickle.loads(pickle.dumps(first)) is first and pickle.loads(pickle.dumps(second)) is second
    )


def test_a_task_outside_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "conf" / "task").mkdir(parents=True)
    text = (
        "# @package _global_\ndefaults: [_vision]\n"
        "task: {name: mine, embedded: digits, image_size: 8, channels: 1}\n"
    )
    (tmp_path / "conf" / "task" / "mine.yaml").write_text(text)
    monkeypatch.chdir(tmp_path)
    assert invoke(monkeypatch, "--config-dir", "conf", "task=mine", *SHORT) == 0
    assert len(list((tmp_path / "runs" / "mine" / "token_choice").glob("*.json"))) == 1
    assert invoke(monkeypatch, "-m", "--config-dir", "conf", "task=mine", "seed=1,2", *SHORT) == 0
    assert len(list((tmp_path / "runs" / "mine" / "token_choice").glob("*.json"))) == 3


BAD = [
    (["router=sfot"], "unknown router 'sfot'; nearest: soft"),
    (["task=digit"], "unknown task 'digit'; nearest: digits"),
    (["backbone=vit_s17"], "unknown backbone 'vit_s17'; nearest: vit_s16"),
    (["backbone=timm:hf-hub:owner/vit_tiny"], "unknown backbone 'timm:hf-hub:owner/vit_tiny'"),
    (["backbone=timm:vit_tiny_patch16_225"], "nearest: timm:vit_tiny_patch16_224"),
    (["backbone=resnet:18"], "unknown library 'resnet'"),
    (["backbone=timm:resnet18"], "has no MLP that can become an MoE layer"),
    (["logger=cvs"], "unknown logger 'cvs'; nearest: csv"),
    (["trainer.max_step=3"], "unknown option 'trainer.max_step'; nearest: trainer.max_steps"),
    (["num_expert=3"], "unknown option 'num_expert'; nearest: num_experts"),
    (["router.kk=3"], "unknown option 'router.kk'; nearest: router.k"),
    (["num_experts"], "num_experts"),
    (
        ["num_experts=0"],
        "num_experts=0: input should be greater than or equal to 1; type for example num_experts=8",
    ),
    (["num_experts=abc"], "num_experts='abc'"),
    (["router.k=9"], "router.k=9: allowed is 1 to num_experts=8"),
    (["slots_per_token=-1"], "slots_per_token=-1"),
    (["slots_per_token=1e9"], "at most num_experts=8"),
    (["optim.lr=0"], "optim.lr=0"),
    (["optim.schedule=linear"], "'cosine', 'rsqrt' or 'constant'"),
    (["layers=[99]"], "candidates: 0 blocks.0.mlp, 1 blocks.1.mlp"),
    (["trainer.precision=17"], "trainer: Precision"),
    (["task.source=/nowhere"], "task.source=/nowhere does not exist"),
    (["task.num_classes=11"], "has 10 classes, the task 11"),
    (["router=my_file:Nothing"], "no file my_file.py"),
    (["backbone.kwargs.depth=two"], "refuses its arguments"),
    (["--config-dir", "nowhere"], "no such folder"),
]


@pytest.mark.parametrize(("words", "message"), BAD, ids=[" ".join(words) for words, _ in BAD])
def test_bad_input_is_one_clear_line(
    words: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert invoke(monkeypatch, *words) == 2
    error = capsys.readouterr().err
    assert message in error and "Traceback" not in error
    assert len([line for line in error.splitlines() if line.startswith("error: ")]) == 1
    assert not (tmp_path / "runs").exists()  # nothing half-written


def test_bad_input_in_a_process_of_its_own(command: Command) -> None:
    done = command("moesuite.run", "num_experts=0")
    assert done.returncode == 2
    assert [line for line in done.stderr.splitlines() if "CUDA" not in line] == [
        "error: num_experts=0: input should be greater than or equal to 1; type for example num_experts=8"
    ]


def test_a_loss_that_is_not_finite(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my_file.py").write_text(MY_ROUTER)
    # combine weights that overflow float32
    assert invoke(monkeypatch, "router=my_file.py:MyRouter", "router.gain=1e38", *SHORT) == 2
    (path,) = (tmp_path / "runs" / "digits" / "MyRouter").glob("*.json")
    record = read_record(path)
    assert (
        record.status == "failed"
        and "at step 0" in record.reason
        and "the loss is nan" in record.reason
    )
    assert "type for example optim.lr=" in capsys.readouterr().err


def test_logits_that_are_not_finite_name_their_layer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my_file.py").write_text(
        MY_ROUTER.replace("torch.tensor(gain)", "torch.tensor(torch.inf)")
    )
    assert invoke(monkeypatch, "router=my_file.py:MyRouter", *SHORT) == 2
    (path,) = (tmp_path / "runs" / "digits" / "MyRouter").glob("*.json")
    assert (
        "at step 0: the router of blocks.1.mlp has logits that are not finite"
        in read_record(path).reason
    )


def test_a_sweep_goes_on_past_a_failed_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert invoke(monkeypatch, "-m", "num_experts=0,4", *SHORT) == 2
    assert len(list((tmp_path / "runs").rglob("digits/token_choice/*.json"))) == 1


def start(folder: Path, *words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [
            sys.executable,
            "-m",
            "moesuite.run",
            "measure=false",
            "logger=csv",
            "trainer.enable_progress_bar=false",
            *words,
        ],
        cwd=folder,
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={
            **os.environ,
            "OMP_NUM_THREADS": str(torch.get_num_threads()),
        },  # as here: sums round the same
    )


@pytest.mark.slow
def test_ctrl_c_leaves_a_checkpoint_and_the_run_goes_on_from_it(tmp_path: Path) -> None:
    words = ["trainer.max_epochs=12", "trainer.log_every_n_steps=1", "router=soft"]
    process = start(tmp_path, *words)
    folder = tmp_path / "runs" / "digits" / "soft"
    wait_for(lambda: any(folder.glob("*/last.ckpt")), process)  # the first epoch is done
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=120)
    assert process.returncode == 130 and "Traceback" not in error
    (path,) = folder.glob("*.json")
    stopped = read_record(path)
    assert stopped.status == "interrupted" and 0 < stopped.steps < 12 * 22
    assert start(tmp_path, *words).wait(timeout=300) == 0
    resumed = read_record(path)
    assert resumed.status == "ok" and resumed.steps == 12 * 22
    assert resumed.curve[: len(stopped.curve)] == stopped.curve
    whole = fit(compose(*words, "measure=false", "logger=none", f"records={tmp_path / 'whole'}"))[0]
    assert [point.loss for point in resumed.curve] == [point.loss for point in whole.curve]
    assert resumed.quality == whole.quality  # nothing was lost


def test_a_process_that_ran_the_same_and_was_faster_keeps_its_record(tmp_path: Path) -> None:
    words = [*SHORT[1:], "router=dense", "trainer.max_epochs=1"]
    first = fit(compose(*words, f"records={tmp_path / 'first'}"))[1]
    path = tmp_path / "second" / first.relative_to(tmp_path / "first")

    def arrive(step: int, quality: float) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(first.read_bytes())

    assert fit(compose(*words, f"records={tmp_path / 'second'}"), "", arrive)[1] == path
    assert path.read_bytes() == first.read_bytes()


@pytest.mark.slow
def test_two_processes_write_one_record(command: Command, tmp_path: Path) -> None:
    words = [
        "trainer.accelerator=cpu",
        "trainer.devices=2",
        "trainer.strategy=ddp",
        "trainer.max_steps=3",
        *SHORT[1:],
    ]
    done = command("moesuite.run", *words, "router=expert_choice")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("record  ") == 1
    (path,) = (tmp_path / "runs").rglob("digits/expert_choice/*.json")
    record = read_record(path)
    assert record.status == "ok" and record.quality["top1"].n == 360  # each test image once
    sweep = command("moesuite.run", "-m", "seed=0,1", *words)
    assert sweep.returncode == 2 and "trainer.devices=2 in a sweep" in sweep.stderr


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("router", ["dense", "token_choice", "expert_choice", "soft"])
def test_digits_reach_96_percent(
    router: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two of the three seeds of the README's sweep; a test for each router, so that processes share them."""
    monkeypatch.chdir(tmp_path)
    assert invoke(monkeypatch, "-m", f"router={router}", "seed=0,1", *SHORT[1:]) == 0
    found = [
        read_record(path).quality["top1"].value
        for path in Path("runs/digits", router).glob("*.json")
    ]
    assert len(found) == 2 and sum(found) / 2 >= 0.96, found


def test_help_is_fast_because_it_imports_no_torch() -> None:
    code = (
        "import sys; sys.argv = ['run', '--help']; import moesuite.run; moesuite.run.main(); "
        "assert not {'torch', 'lightning', 'timm', 'datasets'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    for word in ("|cifar10|", "|dense|", "max_steps: -1", "k: 1", "--config-dir"):
        assert word in done.stdout


def test_the_console_script_hands_over(command: Command) -> None:
    assert "leaderboard" in command("moesuite", "--help").stdout
    bad = command("moesuite", "run", "num_experts=0")
    assert bad.returncode == 2 and "error: num_experts=0" in bad.stderr
    wrong = command("moesuite", "rnu")
    assert wrong.returncode == 2 and "nearest: run" in wrong.stderr


@pytest.mark.slow
def test_real_images_end_to_end(tmp_path: Path, real_data: Path) -> None:
    """CIFAR-10 (JPEG) with a small ViT, a few steps; the cache is filled once."""
    words = [
        "task=cifar10",
        f"task.source={real_data / 'cifar10_jpeg'}",
        "trainer.max_steps=2",
        "data.batch_size=8",
        "trainer.limit_test_batches=1",
        "router=expert_choice",
    ]
    record = run(tmp_path, *words)
    assert record.status == "ok" and record.quality["top1"].n == 256
    assert record.data_fingerprint.startswith("sha256:")


@pytest.mark.slow
def test_imagenet_at_224_pixels_end_to_end(tmp_path: Path, real_data: Path) -> None:
    words = [
        "task=imagenet",
        f"task.source={real_data / 'imagenet_sample'}",
        "backbone=vit_ti16",
        "trainer.max_steps=2",
        "data.batch_size=8",
        "data.eval_batch_size=50",
        "router=token_choice",
        "task.mixup=0.2",
    ]
    record = run(tmp_path, *words)
    assert record.status == "ok" and record.quality["top1"].n == 100
    assert len(record.health) == 6


def test_python_and_command_line_agree(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="unknown router"):
        compose("router=sfot")
    (tmp_path / "my_file.py").write_text(MY_ROUTER)
    with pytest.raises(RunFailed, match="at step"):
        run(tmp_path, f"router={tmp_path}/my_file.py:MyRouter", "router.gain=1e38")


STREAMED = ["task=tiny_imagenet", "task.streaming=true", "task.source={}/tiny_imagenet_50"]


def test_streamed_data_needs_a_number_of_steps(tmp_path: Path, real_data: Path) -> None:
    with pytest.raises(UserError, match=r"type for example trainer.max_steps=10000"):
        run(tmp_path, *(word.format(real_data) for word in STREAMED), "trainer.max_steps=-1")


@pytest.mark.slow
def test_streamed_data_trains(tmp_path: Path, real_data: Path) -> None:
    record = run(
        tmp_path,
        *(word.format(real_data) for word in STREAMED),
        "trainer.max_steps=2",
        "data.batch_size=8",
        "data.eval_batch_size=8",
        "trainer.limit_test_batches=1",
        "trainer.limit_val_batches=1",
    )
    assert record.steps == 2 and record.status == "ok"


def test_a_record_is_plain_json(tmp_path: Path) -> None:
    run(tmp_path)
    (path,) = (tmp_path / "runs").glob("*/*/*.json")
    values: dict[str, Any] = json.loads(path.read_text())
    assert values["schema_version"] == 3 and values["config"]["router"]["k"] == 1
