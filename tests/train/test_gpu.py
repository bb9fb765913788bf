"""On a CUDA device, by `python -m pytest -m gpu`: runs, what they measure there, attacks."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from moesuite import compose, fit
from moesuite.records.record import RunRecord
from moesuite.tasks.vision.probes import Attack

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]
SHORT = ["trainer.max_steps=5", "trainer.enable_progress_bar=false", "logger=none"]


def run(folder: Path, *words: str) -> RunRecord:
    return fit(compose(*words, *SHORT, f"records={folder}"))[0]


@pytest.mark.parametrize("router", ["dense", "token_choice", "expert_choice", "soft", "usmoe"])
@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed", "bf16-true"])
def test_a_run_trains_and_measures_on_the_device(
    router: str, precision: str, tmp_path: Path
) -> None:
    record = run(tmp_path, f"router={router}", f"trainer.precision={precision}")
    compute = record.compute
    assert record.status == "ok" and compute is not None and compute.device == "cuda:0"
    assert record.environment["device"] == torch.cuda.get_device_name()
    assert compute.latency is not None and compute.latency.median > 0
    assert compute.step_peak_bytes and compute.dense_step_peak_bytes


def test_every_causal_router_runs_on_text(tmp_path: Path) -> None:
    words = ["task=stdlib", "task.length=64", "trainer.limit_test_batches=2", "measure=false"]
    for router in ("hash", "random", "switch", "expert_choice_causal", "relu"):
        assert run(tmp_path, *words, f"router={router}").status == "ok", router


def test_a_run_on_the_cpu_is_measured_there(tmp_path: Path) -> None:
    record = run(tmp_path, "trainer.accelerator=cpu")
    assert record.compute is not None and record.compute.device == "cpu"
    assert record.environment["device"] != torch.cuda.get_device_name()
    assert record.compute.step_peak_bytes and record.compute.dense_step_peak_bytes


def test_probes_and_attacks(tmp_path: Path) -> None:
    record = run(tmp_path, "task.probes=[linear,ten_shot]", "task.attacks=[fgsm,pgd]")
    assert record.quality.keys() >= {"linear", "ten_shot", "fgsm", "pgd"}


def test_an_attack_follows_its_images() -> None:
    attack = Attack("fgsm", 0.1, torch.zeros(1), torch.ones(1))
    images, labels = (
        torch.full((2, 1, 4, 4), 0.5, device="cuda"),
        torch.tensor([0, 1], device="cuda"),
    )
    attacked = attack(
        torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(16, 2)).cuda(), images, labels
    )
    torch.testing.assert_close((attacked - images).abs(), torch.full_like(images, 0.1))
