"""Image classification: top-1, top-5 and calibration error. Transforms, RandAugment, Mixup and CutMix are timm's."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from hashlib import sha256
from typing import Annotated, Any, Literal

import numpy as np
import torch
from annotated_types import Ge, Gt, Le
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import Dataset
from torchmetrics import MetricCollection
from torchmetrics.classification import MulticlassAccuracy, MulticlassCalibrationError

from moesuite.task import Batch, Primary, Task, UserError, cache_folder, load_source
from moesuite.tasks._images import (
    Arrays,
    Rows,
    Stream,
    Transform,
    Unreadable,
    check_labels,
    decode_all,
    load_digits,
    seeded,
    unreadable_files,
)

Count = Annotated[int, Ge(1)]
Share = Annotated[float, Ge(0), Le(1)]


class Vision(Task):
    """Classify images."""

    primary = Primary("top1", "max")
    lower_is_better = frozenset({"calibration_error"})

    def __init__(
        self,
        name: str = "vision",
        embedded: Literal["digits"] | None = None,
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
        licence: str = "",
        size: str = "",
    ) -> None:
        """Declare a data set.

        Args:
            name: of the task.
            embedded: a data set of an installed package, used where no `source` is given.
            hub, revision, config, source: the data set on the hub; folder, parquet file or hub id to read instead.
            splits, columns: names of the split of each role (train, test, optionally val), and of image and label.
            num_classes: classes, >= 1; checked against the data.
            image_size, channels: height and width in pixels that the model sees, >= 1; 1 (grey) or 3 (RGB).
            mean, std: of each channel, of pixels scaled to 0..1.
            cache: decode all images once into memory-mapped arrays of `image_size`.
            streaming: read from the hub while training; needs trainer.max_steps.
            strict: stop at an unreadable image; False: leave it out and count it.
            crop: smallest share of the area of a random resized crop, in (0, 1]; None: no random crop.
            crop_pct: share of the image that the central evaluation crop keeps, in (0, 1].
            hflip, erase: probability of a horizontal flip and of random erasing, in [0, 1].
            auto_augment: a policy of timm, for example "rand-m9-mstd0.5-inc1".
            mixup, cutmix, smoothing: alpha of timm's Mixup and CutMix, >= 0; label smoothing, in [0, 1]; 0: off.
            licence, size: terms and number of rows, for the reader.
        """
        self.name, self.embedded, self.num_classes, self.image_size = name, embedded, num_classes, image_size
        self.channels, self.cache, self.streaming, self.strict = channels, cache, streaming, strict
        self.hub, self.revision, self.config, self.source = hub, revision, config, source
        self.splits, self.columns = dict(splits), dict(columns)
        self.crop, self.crop_pct, self.hflip, self.auto_augment, self.erase = crop, crop_pct, hflip, auto_augment, erase
        self.mixup, self.cutmix, self.smoothing = mixup, cutmix, smoothing
        self.mean, self.std = mean[:channels], std[:channels]
        self._as_arrays = cache or embedded is not None
        self.unreadable: list[str] = []
        self._datasets: dict[str, Dataset[Any]] = {}

    def prepare(self) -> None:
        """Load the data; see `Task.prepare`."""
        if self._datasets:
            return
        if self.embedded is not None and self.source is None:
            self._prepare_digits()
            return
        loaded = load_source(self.source, self.hub, self.revision, self.config, self.splits, self.streaming)
        self.fingerprint, self.description = loaded.fingerprint, loaded.description
        self._as_arrays = self.cache and not self.streaming
        for role, rows in loaded.splits.items():
            self._datasets[role] = self._build(role, rows, f"{loaded.description}, split {role}")
        self._refuse_unreadable()

    def _prepare_digits(self) -> None:
        pixels, labels, parts = load_digits()
        self.fingerprint = f"sha256:{sha256(pixels.tobytes() + labels.tobytes()).hexdigest()}"
        self.description = "scikit-learn digits, 80/20 split, stratified"
        check_labels(labels, None, self.num_classes, "scikit-learn's digits")
        for role, index in parts.items():
            self._datasets[role] = Arrays(pixels[index], labels[index], self._transform(role))

    def _build(self, role: str, rows: Any, where: str) -> Dataset[Any]:
        import datasets

        image, label = self.columns["image"], self.columns["label"]
        columns = rows.column_names or []
        if missing := [column for column in (image, label) if column not in columns]:
            raise UserError(
                f"{where} has no column {missing[0]!r}; its columns: {', '.join(columns)}; "
                f"type for example task.columns.image={columns[0] if columns else 'image'}"
            )
        names = getattr(rows.features[label], "names", None) if rows.features else None
        rows = rows.cast_column(image, datasets.Image(decode=False))
        transform = self._transform(role)
        if self.streaming:
            return Stream(rows, self.columns, self.channels, transform, role == "train")
        if len(rows) == 0:
            raise UserError(f"{where} is empty: no rows; allowed: at least one example per split")
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
        return Rows(rows.select(good) if bad else rows, labels[good], image, self.channels, transform)

    def _refuse_unreadable(self) -> None:
        if self.strict and self.unreadable:
            count = len(self.unreadable)
            raise UserError(
                f"{count} unreadable image{'s' * (count > 1)}: {', '.join(self.unreadable[:3])}; allowed: images that "
                "Pillow can decode; repair or remove them, or type task.strict=false to leave them out and count them"
            )

    def _transform(self, role: str) -> Transform | None:
        """Return timm's transform; None where whole batches need no more than normalising."""
        from timm.data import create_transform

        size = (self.channels, self.image_size, self.image_size)
        plain = partial(create_transform, size, mean=tuple(self.mean), std=tuple(self.std))
        augments = self.crop is not None or self.hflip or self.auto_augment is not None or self.erase
        if role != "train" or not augments:
            return None if self._as_arrays else plain(crop_pct=self.crop_pct)
        return plain(
            is_training=True,
            scale=(self.crop or 1.0, 1.0),
            ratio=(3 / 4, 4 / 3) if self.crop else (1.0, 1.0),
            hflip=self.hflip,
            auto_augment=self.auto_augment,
            re_prob=self.erase,
        )

    @property
    def in_memory(self) -> bool:
        """Return whether training reads whole batches of ready pixels; transforms are worth loader processes."""
        return isinstance(dataset := self._datasets["train"], Arrays) and dataset.transform is None

    def blank(self) -> Tensor:
        """Return one image."""
        return torch.empty(1, self.channels, self.image_size, self.image_size, device="meta")

    def backbone_arguments(self) -> dict[str, Any]:
        """Return what a timm model has to fit."""
        return {"num_classes": self.num_classes, "in_chans": self.channels, "img_size": self.image_size}

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
        return {"image": images, "label": torch.tensor([label for _, label in good]), "unreadable": bad}

    def augment(self, batch: Batch, seed: int) -> Batch:
        """Apply Mixup or CutMix to a training batch; labels become shares of classes."""
        if not (self.mixup or self.cutmix) or len(batch["label"]) < 2:
            return batch
        from timm.data import Mixup

        mix = Mixup(self.mixup, self.cutmix, label_smoothing=self.smoothing, num_classes=self.num_classes)
        even = len(batch["label"]) // 2 * 2  # timm mixes pairs
        with seeded(seed):
            images, labels = mix(self.inputs(batch)[:even].clone(), batch["label"][:even])
        return {**batch, "image": images, "label": labels}

    def inputs(self, batch: Batch) -> Tensor:
        """Return normalised images [B, channels, height, width]; bytes are normalised here, on the device."""
        if batch["unreadable"]:
            self.unreadable.extend(batch["unreadable"])
            batch["unreadable"].clear()
            self._refuse_unreadable()
        image = batch["image"]
        if image.dtype != torch.uint8:
            return image
        mean, std = (torch.tensor(values, device=image.device) for values in (self.mean, self.std))
        return ((image.float() / 255 - mean) / std).permute(0, 3, 1, 2)

    def loss(self, output: Tensor, batch: Batch) -> Tensor:
        """Return the cross-entropy, with label smoothing where labels are classes."""
        labels = batch["label"]
        return F.cross_entropy(output, labels, label_smoothing=0.0 if labels.is_floating_point() else self.smoothing)

    def metrics(self) -> MetricCollection:
        """Return top-1, top-5 (more than 5 classes) and expected calibration error (15 bins)."""
        metrics = {"top1": MulticlassAccuracy(self.num_classes, average="micro")}
        if self.num_classes > 5:
            metrics["top5"] = MulticlassAccuracy(self.num_classes, average="micro", top_k=5)
        return MetricCollection({**metrics, "calibration_error": MulticlassCalibrationError(self.num_classes)})

    def update(self, metrics: MetricCollection, output: Tensor, batch: Batch) -> None:
        """Add a batch."""
        metrics.update(output.float().softmax(dim=-1), batch["label"])

    def size(self, batch: Batch) -> int:
        """Return the number of images."""
        return len(batch["label"])
