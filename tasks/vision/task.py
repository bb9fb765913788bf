"""Image classification: top-1, top-5, calibration error.

On request also the accuracy of probes of frozen features, and under adversarial attacks.
"""

from __future__ import annotations

import copy
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset
from torchmetrics import MetricCollection
from torchmetrics.classification import MulticlassAccuracy, MulticlassCalibrationError

from moesuite.records.metrics import VISION
from moesuite.sources.raw.classes import shortened
from moesuite.task import Batch, Columns, Preview, Task, UserError, track
from moesuite.tasks.options import About
from moesuite.tasks.vision.augment import Augmentation
from moesuite.tasks.vision.images import (
    Transform,
    Unreadable,
    as_uri,
    refuse_unreadable,
    undecoded,
)
from moesuite.tasks.vision.preview import preview
from moesuite.tasks.vision.probes import Attack, Probing, frozen
from moesuite.tasks.vision.reading import read_images
from moesuite.tasks.vision.source import ImageFormat, ImageSource
from moesuite.tasks.vision.splits import Arrays, Rows

BATCH = 256  # images at once for features and attacks


class Vision(Task):
    """Classify images."""

    primary, specs = VISION["top1"], VISION
    protocol = 2  # more than 8 bits are scaled, alpha is composed, EXIF orientation is applied
    previewed = {"strict": False, "cache": False}  # images as stored, of their own size

    def __init__(
        self,
        name: str = "vision",
        data: ImageSource = ImageSource(),
        image: ImageFormat = ImageFormat(),
        augmentation: Augmentation = Augmentation(),
        probing: Probing = Probing(),
        about: About = About(),
    ) -> None:
        """Declare a data set.

        Args:
            name: name of the task.
            data: where images come from.
            image: classes, and what the model sees.
            augmentation: changes of training images, all of them timm's.
            probing: figures beyond the outputs on the test split.
            about: for the reader.
        """
        self.name = name
        self.data = data
        self.image = replace(image, mean=image.of_channels("mean"), std=image.of_channels("std"))
        self.augmentation = augmentation
        self.probing = probing
        self.about = about
        self.unreadable: list[str] = []
        self._broken: list[str] = []  # those of them that were noticed when they were decoded
        self._noted: Sequence[str] = ()
        self._splits: Mapping[str, Any] = {}
        self._classes: Sequence[str] = ()

    def prepare(self) -> None:
        """Load the data; see `Task.prepare`."""
        if self._splits:
            return
        read = read_images(self.data, self.image, self._transform, self.previewing)
        self.fingerprint, self.description = read.fingerprint, read.description
        self.notes, self._splits, self._classes = read.notes, read.splits, read.classes
        self._noted = read.notes
        self.unreadable += read.unreadable
        self.problems = read.problems
        self._check_readable()
        if empty := [role for role, count in self.split_sizes().items() if count == 0]:
            raise UserError(
                f"{self.description}, split {empty[0]}: none of its images is readable; expected "
                "images that Pillow can decode"
            )

    def _check_readable(self) -> None:
        if self.data.strict:
            refuse_unreadable(self.unreadable)

    def _leave_out(self, bad: Sequence[tuple[str, str]]) -> None:
        """Count and tell images that turned out to be broken; see `Unreadable`."""
        if refusals := [refusal for _, refusal in bad if refusal]:
            raise UserError(refusals[0])
        new = [name for name, _ in bad if name not in self.unreadable]
        self.unreadable += new
        self._check_readable()
        self._broken += new
        if new:
            count = f"{len(self._broken)} image{'s' * (len(self._broken) > 1)}"
            note = f"{count} broken behind the header, left out: {shortened(self._broken)}"
            self.notes = [*self._noted, note]
            print(note, file=sys.stderr, flush=True)

    def _transform(self, role: str) -> Transform | None:
        """Return timm's transform; None where whole batches need no more than normalisation."""
        train = role == "train"
        if self.data.as_arrays and not (train and self.augmentation.by_image):
            return None
        return self.augmentation.transform(self.image.shape, self.image.mean, self.image.std, train)

    @property
    def in_memory(self) -> bool:
        """Whether training reads whole batches of bytes; transforms are worth loader processes."""
        train = self._splits["train"]
        return isinstance(train, Arrays) and train.transform is None

    def blank(self) -> Tensor:
        """Return one image."""
        return torch.empty(1, *self.image.shape, device="meta")

    def backbone_arguments(self) -> dict[str, Any]:
        """Return classes, channels and size of the images, by timm's names."""
        return {
            "num_classes": self.image.num_classes,
            "in_chans": self.image.channels,
            "img_size": self.image.image_size,
        }

    def dataset(self, split: Literal["train", "val", "test"]) -> Dataset[Any] | None:
        """Return a split."""
        return self._splits.get(split)

    def collate(self, samples: Sequence[Any]) -> Batch:
        """Join samples to {image, label, index, unreadable}; whole batches pass through."""
        if len(samples) == 1 and isinstance(samples[0], tuple) and samples[0][0].ndim == 4:
            image, label, index = samples[0]
            return {"image": image, "label": label, "index": index, "unreadable": []}
        good = [sample for sample in samples if not isinstance(sample, Unreadable)]
        # as pairs: a dataclass is no batch that can be moved to a device
        bad = [(each.name, each.refusal) for each in samples if isinstance(each, Unreadable)]
        empty = torch.empty(0, *self.image.shape)
        images = torch.stack([image for image, _, _ in good]) if good else empty
        return {
            "image": images,
            "label": torch.tensor([label for _, label, _ in good]),
            "index": torch.tensor([index for _, _, index in good]),
            "unreadable": bad,
        }

    def augment(self, batch: Batch, seed: int) -> Batch:
        """Apply Mixup or CutMix to a training batch; labels become shares of classes."""
        if not self.augmentation.mixes or len(batch["label"]) < 2:
            return batch
        images, labels = self.augmentation.mix(
            self.inputs(batch), batch["label"], self.image.num_classes, seed
        )
        return {**batch, "image": images, "label": labels}

    def inputs(self, batch: Batch) -> Tensor:
        """Return images [B, channels, height, width]; bytes are normalised on the device."""
        if batch["unreadable"]:
            self._leave_out(batch["unreadable"])
            batch["unreadable"].clear()
        image = batch["image"]
        if image.dtype != torch.uint8:
            return image
        mean = torch.tensor(self.image.mean, device=image.device)
        std = torch.tensor(self.image.std, device=image.device)
        return ((image.float() / 255 - mean) / std).permute(0, 3, 1, 2)

    def loss(self, output: Tensor, batch: Batch) -> Tensor:
        """Return the cross-entropy, with label smoothing where labels are classes."""
        labels = batch["label"]
        is_mixed = labels.is_floating_point()
        smoothing = 0.0 if is_mixed else self.augmentation.smoothing
        return F.cross_entropy(output, labels, label_smoothing=smoothing)

    def metrics(self) -> MetricCollection:
        """Return top-1, top-5 (more than 5 classes) and expected calibration error (15 bins)."""
        metrics = {"top1": MulticlassAccuracy(self.image.num_classes, average="micro")}
        if self.image.num_classes > 5:
            metrics["top5"] = MulticlassAccuracy(self.image.num_classes, average="micro", top_k=5)
        return MetricCollection(
            {**metrics, "calibration_error": MulticlassCalibrationError(self.image.num_classes)}
        )

    def update(self, metrics: MetricCollection, output: Tensor, batch: Batch) -> None:
        """Add a batch."""
        metrics.update(output.float().softmax(dim=-1), batch["label"])

    def predictions(self, output: Tensor, batch: Batch) -> Columns:
        """Return class, predicted class and probabilities of the images of a test batch."""
        ids, scores = self._splits["test"].ids, output.float().softmax(dim=-1)
        prediction = scores.argmax(dim=-1)
        return {
            "id": [ids[index] for index in batch["index"].tolist()],
            "target": batch["label"],
            "prediction": prediction,
            "right": prediction == batch["label"],
            "scores": scores,
        }

    def beyond(self, model: nn.Module) -> dict[str, float]:
        """Return the accuracy of probes of frozen features, and under attacks."""
        mean, std = torch.tensor(self.image.mean), torch.tensor(self.image.std)
        radius = self.probing.attack_radius / 255
        attacks = [Attack(kind, radius, mean, std) for kind in self.probing.attacks]
        return frozen(model, partial(self._plain, model), self.probing.probes, attacks)

    def _plain(self, model: nn.Module, split: str) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield images and labels of a split, without augmentation."""
        device, dataset = next(model.parameters()).device, copy.copy(self._splits[split])
        dataset.transform = self._transform("test")
        loader = DataLoader(dataset, batch_size=BATCH, collate_fn=self.collate)
        for batch in track(
            loader, f"{split} images for probes and attacks", len(loader), "batches"
        ):
            yield self.inputs(batch).to(device), batch["label"].to(device)

    def shown(self, batch: Batch) -> list[str]:
        """Return the images as the model sees them."""
        return [as_uri(image, self.image.mean, self.image.std) for image in self.inputs(batch)]

    def preview(self, split: Literal["train", "val", "test"]) -> Preview:
        """Return the images as stored, with the names of their classes."""
        return preview(self._splits[split], self.image, self._classes)

    def contents(self, split: Literal["train", "val", "test"]) -> Iterator[bytes] | None:
        """Return pixels, or image files as they are: nothing is decoded."""
        data = self._splits.get(split)
        if isinstance(data, Arrays):
            return map(np.ndarray.tobytes, data.images)
        return undecoded(data.rows, data.ids.root) if isinstance(data, Rows) else None

    def size(self, batch: Batch) -> int:
        """Return the number of images."""
        return len(batch["label"])
