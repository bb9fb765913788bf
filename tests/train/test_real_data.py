"""Runs on real data: digits to a known accuracy, images at 224 pixels, streams."""

from __future__ import annotations

from pathlib import Path

import pytest

from moesuite.errors import UserError
from moesuite.records.store import read_record
from tests.helpers import SHORT, invoke, run


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("router", ["dense", "token_choice", "expert_choice", "soft"])
def test_digits_reach_96_percent(
    router: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two of the three seeds of the README's sweep.

    A test for each router, so that processes share them.
    """
    monkeypatch.chdir(tmp_path)
    assert invoke(monkeypatch, "-m", f"router={router}", "seed=0,1", *SHORT[1:]) == 0
    found = [
        read_record(path).quality["top1"].value
        for path in Path("runs/digits", router).glob("*.json")
    ]
    assert len(found) == 2 and sum(found) / 2 >= 0.96, found


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


STREAMED = ["task=tiny_imagenet", "task.streaming=true", "task.source={}/tiny_imagenet_50"]


def test_streamed_data_needs_a_number_of_steps(tmp_path: Path, real_data: Path) -> None:
    with pytest.raises(UserError, match=r"e\.g\. trainer.max_steps=10000"):
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
