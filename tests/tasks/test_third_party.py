"""A family outside the package keeps the contract of tasks too."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import pytest
import sklearn.metrics
import torch

from moesuite.task import Batch, Task
from moesuite.testing import TaskContract
from tests.tasks.local_data import (
    FEW,
    TINY_VIT,
)

THIRD_PARTY = '''
import torch
from torch.utils.data import TensorDataset
from torchmetrics import MetricCollection
from torchmetrics.classification import MulticlassAccuracy
from moesuite.task import MetricSpec, Task


class Brightness(Task):
    """Which quarter of an image is the brightest?"""

    primary = MetricSpec(name="accuracy", direction="max", least=0, most=1)

    def __init__(self, name: str = "brightness", count: int = 64):
        self.name, self.count, self.unreadable = name, count, []

    def prepare(self):
        images = torch.randn(2 * self.count, 1, 8, 8, generator=torch.Generator().manual_seed(0))
        quarters = images.unflatten(2, (2, 4)).unflatten(4, (2, 4)).mean(dim=(1, 3, 5)).flatten(1)
        labels, half = quarters.argmax(dim=1), self.count
        self.splits = {
            "train": (images[:half], labels[:half]),
            "test": (images[half:], labels[half:]),
        }
        self.fingerprint, self.description = f"seed:0:{half}", "random images"

    def backbone_arguments(self):
        return {"num_classes": 4, "in_chans": 1, "img_size": 8}

    def blank(self):
        return torch.empty(1, 1, 8, 8, device="meta")

    def dataset(self, split):
        return Keyed(*self.splits[split]) if split in self.splits else None

    def collate(self, samples):
        images, labels = zip(*samples)
        return {"image": torch.stack(images), "label": torch.stack(labels)}

    in_memory = True

    def inputs(self, batch):
        return batch["image"]

    def loss(self, output, batch):
        return torch.nn.functional.cross_entropy(output, batch["label"])

    def metrics(self):
        return MetricCollection({"accuracy": MulticlassAccuracy(4, average="micro")})

    def update(self, metrics, output, batch):
        metrics.update(output, batch["label"])

    def size(self, batch):
        return len(batch["label"])


class Keyed(TensorDataset):
    def __getitem__(self, key):
        return super().__getitem__(key[0] if isinstance(key, tuple) else key)
'''


class TestThirdParty(TaskContract):
    routers = FEW

    @pytest.fixture(autouse=True)
    def folder(
        self, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        folder = tmp_path_factory.mktemp("third_party")
        (folder / "conf" / "task").mkdir(parents=True)
        (folder / "my_brightness.py").write_text(THIRD_PARTY, encoding="utf-8")
        (folder / "conf" / "task" / "brightness.yaml").write_text(
            "# @package _global_\ntask: "
            "{family: 'my_brightness:Brightness', name: brightness, count: 48}\n",
            encoding="utf-8",
        )
        monkeypatch.syspath_prepend(str(folder))
        monkeypatch.delitem(sys.modules, "my_brightness", raising=False)
        self.words = (f"--config-dir={folder / 'conf'}", "task=brightness", *TINY_VIT)

    def expected(
        self, task: Task, outputs: Sequence[Any], batches: Sequence[Batch]
    ) -> dict[str, float]:
        labels = torch.cat([batch["label"] for batch in batches])
        return {
            "accuracy": sklearn.metrics.accuracy_score(
                labels, torch.cat(list(outputs)).argmax(dim=1)
            )
        }


def test_a_contract_without_expected_metrics_fails() -> None:
    class Nothing(TaskContract):
        words = ("task=digits", *TINY_VIT)

    with pytest.raises(NotImplementedError, match="return metrics computed by a library"):
        Nothing().test_metrics_are_those_of_a_library()
