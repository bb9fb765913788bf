"""Image classification: top-1, top-5, calibration error; and, if asked, probes of frozen features and attacks."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Annotated, Any, Literal

import numpy as np
import torch
from annotated_types import Ge, Gt, Le
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset
from torchmetrics import MetricCollection
from torchmetrics.classification import MulticlassAccuracy, MulticlassCalibrationError

from moesuite.records.metrics import VISION
from moesuite.task import Batch, Task, cache_folder, load_source
from moesuite.tasks.vision.augment import Augmentation
from moesuite.tasks.vision.images import (
    Arrays,
    Rows,
    Stream,
    Transform,
    Unreadable,
    as_uri,
    check_columns,
    check_labels,
    decode_all,
    pixels_of,
    refuse_unreadable,
    unreadable_files,
)
from moesuite.tasks.vision.installed import load_embedded
from moesuite.tasks.vision.probes import Attack, frozen

BATCH = 256  # images at once for features and attacks
Count = Annotated[int, Ge(1)]
Share = Annotated[float, Ge(0), Le(1)]


class Vision(Task):
    """Classify images."""

    primary, specs = VISION["top1"], VISION

    def __init__(
        self,
        name: str = "vision",
        embedded: Literal["digits", "mnist5k"] | None = None,
        hub: str | None = None,
        revision: str | None = None,
        config: str | None = None,
        source: str | None = None,
        splits: dict[str, str] = {"train": "train", "test": "test"},  # noqa: B006 - a literal that `plugins` reads
        columns: dict[str, str] = {"image": "image", "label": "label"},  # noqa: B006
        num_classes: Count = 10,
        image_size: Count = 32,
        channels: Literal[1, 3] = 3,
        mean: list[float] = [0.485, 0.456, 0.406],  # noqa: B006
        std: list[Annotated[float, Gt(0)]] = [0.229, 0.224, 0.225],  # noqa: B006
        cache: bool = False,
        streaming: bool = False,
        strict: bool = True,
        crop: Annotated[float, Gt(0), Le(1)] | None = None,
        crop_pct: Annotated[float, Gt(0), Le(1)] = 0.9,
        hflip: Share = 0.0,
        auto_augment: str | None = None,
        erase: Share = 0.0,
        mixup: Annotated[float, Ge(0)] = 0.0,
        cutmix: Annotated[float, Ge(0)] = 0.0,
        smoothing: Share = 0.0,
        probes: list[Literal["linear", "ten_shot"]] = [],  # noqa: B006
        attacks: list[Literal["fgsm", "pgd"]] = [],  # noqa: B006
        attack_radius: Annotated[float, Gt(0), Le(255)] = 4.0,
        licence: str = "",
        size: str = "",
    ) -> None:
        """Declare a data set.

        Args:
            name: of the task.
            embedded: a data set of an installed package, used where no `source` is given.
            hub, revision, config, source: the data set on the hub; folder, parquet file or hub id
                to read instead.
            splits, columns: names of the split of each role (train, test, optionally val), and of
                image and label.
            num_classes: classes, >= 1; checked against the data.
            image_size, channels: height and width in pixels that the model sees, >= 1; 1 (grey) or
                3 (RGB).
            mean, std: of each channel, of pixels scaled to 0..1.
            cache: decode all images once into memory-mapped arrays of `image_size`.
            streaming: read from the hub while training; needs trainer.max_steps.
            strict: stop at an unreadable image; False: leave it out and count it.
            crop: smallest share of the area of a random resized crop, in (0, 1]; None: no random
                crop.
            crop_pct: share of the image that the central evaluation crop keeps, in (0, 1].
            hflip, erase: probability of a horizontal flip and of random erasing, in [0, 1].
            auto_augment: a policy of timm, for example "rand-m9-mstd0.5-inc1".
            mixup, cutmix, smoothing: alpha of timm's Mixup and CutMix, >= 0; label smoothing, in
                [0, 1]; 0: off.
            probes: accuracy of frozen features: linear (the whole training split), ten_shot (10
                images a class).
            attacks, attack_radius: accuracy under fgsm, pgd; by how much each pixel of 0..255 may
                change, in (0, 255].
            licence, size: terms and number of rows, for the reader.
        """
        self.name, self.embedded, self.num_classes, self.image_size = (
            name,
            embedded,
            num_classes,
            image_size,
        )
        self.channels, self.cache, self.streaming, self.strict = channels, cache, streaming, strict
        self.hub, self.revision, self.config, self.source = hub, revision, config, source
        self.splits, self.columns = dict(splits), dict(columns)
        self._augmentation = Augmentation(
            crop, crop_pct, hflip, auto_augment, erase, mixup, cutmix, smoothing
        )
        self.probes, self.attacks, self.attack_radius = list(probes), list(attacks), attack_radius
        self.mean, self.std = mean[:channels], std[:channels]
        self._as_arrays = cache or embedded is not None
        self.unreadable: list[str] = []
        self._datasets: dict[str, Any] = {}

    def prepare(self) -> None:
        """Load the data; see `Task.prepare`."""
        if self._datasets:
            return
        if self.embedded is not None and self.source is None:
            data = load_embedded(self.embedded)
            self.fingerprint, self.description = data.fingerprint, data.description
            check_labels(data.labels, None, self.num_classes, data.description)
            pixels = np.stack(
                [pixels_of(Image.fromarray(p.squeeze()), self.image_size) for p in data.pixels]
            )
            for role, index in data.parts.items():
                self._datasets[role] = Arrays(
                    pixels[index], data.labels[index], self._transform(role)
                )
            return
        loaded = load_source(
            self.source, self.hub, self.revision, self.config, self.splits, self.streaming
        )
        self.fingerprint, self.description = loaded.fingerprint, loaded.description
        self._as_arrays = self.cache and not self.streaming
        for role, rows in loaded.splits.items():
            self._datasets[role] = self._build(role, rows, f"{loaded.description}, split {role}")
        refuse_unreadable(self.unreadable if self.strict else [])

    def _build(self, role: str, rows: Any, where: str) -> Dataset[Any]:
        import datasets

        image, label = self.columns["image"], self.columns["label"]
        check_columns(rows.column_names or [], self.columns, where)
        names = getattr(rows.features[label], "names", None) if rows.features else None
        rows = rows.cast_column(image, datasets.Image(decode=False))
        transform = self._transform(role)
        if self.streaming:
            return Stream(rows, self.columns, self.channels, transform, role == "train")
        labels = np.asarray(rows[label], dtype=np.int64)
        check_labels(labels, names, self.num_classes, where)
        bad = unreadable_files(rows[image]) if self.source is not None and not self.cache else {}
        if self.cache:
            folder, key = cache_folder() / "images", f"{self.fingerprint} {role}"
            images, broken = decode_all(rows, image, self.image_size, self.channels, folder, key)
            bad = {index: f"{where}, row {index}" for index in broken}
        self.unreadable.extend(bad.values())
        good = [index for index in range(len(labels)) if index not in bad]
        if self.cache:
            return Arrays(images[good] if bad else images, labels[good], transform)
        return Rows(
            rows.select(good) if bad else rows, labels[good], image, self.channels, transform
        )

    def _transform(self, role: str) -> Transform | None:
        """Return timm's transform; None where whole batches need no more than normalising."""
        train = role == "train"
        if self._as_arrays and not (train and self._augmentation.by_image):
            return None
        shape = (self.channels, self.image_size, self.image_size)
        return self._augmentation.transform(shape, self.mean, self.std, train)

    @property
    def in_memory(self) -> bool:
        """Return whether training reads whole batches of ready pixels; transforms are worth loader processes."""
        return isinstance(dataset := self._datasets["train"], Arrays) and dataset.transform is None

    def blank(self) -> Tensor:
        """Return one image."""
        return torch.empty(1, self.channels, self.image_size, self.image_size, device="meta")

    def backbone_arguments(self) -> dict[str, Any]:
        """Return what a timm model has to fit."""
        return {
            "num_classes": self.num_classes,
            "in_chans": self.channels,
            "img_size": self.image_size,
        }

    def dataset(self, split: Literal["train", "val", "test"]) -> Dataset[Any] | None:
        """Return a split."""
        return self._datasets.get(split)

    def collate(self, samples: Sequence[Any]) -> Batch:
        """Join samples to {image, label, unreadable}; whole batches pass through."""
        if len(samples) == 1 and isinstance(samples[0], tuple) and samples[0][0].ndim == 4:
            return {"image": samples[0][0], "label": samples[0][1], "unreadable": []}
        good = [sample for sample in samples if not isinstance(sample, Unreadable)]
        bad = [sample.name for sample in samples if isinstance(sample, Unreadable)]
        empty = torch.empty(0, self.channels, self.image_size, self.image_size)
        images = torch.stack([image for image, _ in good]) if good else empty
        return {
            "image": images,
            "label": torch.tensor([label for _, label in good]),
            "unreadable": bad,
        }

    def augment(self, batch: Batch, seed: int) -> Batch:
        """Apply Mixup or CutMix to a training batch; labels become shares of classes."""
        if not self._augmentation.mixes or len(batch["label"]) < 2:
            return batch
        images, labels = self._augmentation.mix(
            self.inputs(batch), batch["label"], self.num_classes, seed
        )
        return {**batch, "image": images, "label": labels}

    def inputs(self, batch: Batch) -> Tensor:
        """Return normalised images [B, channels, height, width]; bytes are normalised here, on the device."""
        if batch["unreadable"]:
            self.unreadable.extend(batch["unreadable"])
            batch["unreadable"].clear()
            refuse_unreadable(self.unreadable if self.strict else [])
        image = batch["image"]
        if image.dtype != torch.uint8:
            return image
        mean, std = (torch.tensor(values, device=image.device) for values in (self.mean, self.std))
        return ((image.float() / 255 - mean) / std).permute(0, 3, 1, 2)

    def loss(self, output: Tensor, batch: Batch) -> Tensor:
        """Return the cross-entropy, with label smoothing where labels are classes."""
        labels = batch["label"]
        return F.cross_entropy(
            output,
            labels,
            label_smoothing=0.0 if labels.is_floating_point() else self._augmentation.smoothing,
        )

    def metrics(self) -> MetricCollection:
        """Return top-1, top-5 (more than 5 classes) and expected calibration error (15 bins)."""
        metrics = {"top1": MulticlassAccuracy(self.num_classes, average="micro")}
        if self.num_classes > 5:
            metrics["top5"] = MulticlassAccuracy(self.num_classes, average="micro", top_k=5)
        return MetricCollection(
            {**metrics, "calibration_error": MulticlassCalibrationError(self.num_classes)}
        )

    def update(self, metrics: MetricCollection, output: Tensor, batch: Batch) -> None:
        """Add a batch."""
        metrics.update(output.float().softmax(dim=-1), batch["label"])

    def beyond(self, model: nn.Module) -> dict[str, float]:
        """Probe frozen features, and attack."""
        mean, std = torch.tensor(self.mean), torch.tensor(self.std)
        attacks = [Attack(kind, self.attack_radius / 255, mean, std) for kind in self.attacks]
        return frozen(model, partial(self._plain, model), self.probes, attacks)

    def _plain(self, model: nn.Module, split: str) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield images and labels of a split, without augmentation."""
        device, dataset = next(model.parameters()).device, copy.copy(self._datasets[split])
        dataset.transform = self._transform("test")
        for batch in DataLoader(dataset, batch_size=BATCH, collate_fn=self.collate):
            yield self.inputs(batch).to(device), batch["label"].to(device)

    def shown(self, batch: Batch) -> list[str]:
        """Return the images as the model sees them."""
        return [as_uri(image, self.mean, self.std) for image in self.inputs(batch)]

    def size(self, batch: Batch) -> int:
        """Return the number of images."""
        return len(batch["label"])
