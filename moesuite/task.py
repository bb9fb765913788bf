"""The contract of a task family: data, head, loss, metrics. A family never mentions a router."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence, Sized
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar, Literal

from torch import Tensor, nn
from torch.utils.data import Dataset
from torchmetrics import MetricCollection

from moesuite.data.cache import cache_folder as cache_folder
from moesuite.data.cache import cached as cached
from moesuite.data.cache import changed as changed
from moesuite.data.cache import load_rows as load_rows
from moesuite.data.source import HubSource as HubSource
from moesuite.data.source import Source as Source
from moesuite.data.source import load_source as load_source
from moesuite.discovery.names import load_family
from moesuite.discovery.signature import call_arguments
from moesuite.discovery.user_code import own_class as own_class
from moesuite.discovery.user_code import own_file as own_file
from moesuite.errors import UserError as UserError
from moesuite.errors import unknown as unknown
from moesuite.records.metrics import MetricSpec as MetricSpec
from moesuite.records.record import Lookahead as Lookahead
from moesuite.records.store import atomic as atomic

Batch = Mapping[str, Any]
Predict = Callable[[Batch], Any]  # batch -> output of the model in evaluation
ROLES: tuple[Literal["train", "val", "test"], ...] = ("train", "val", "test")
Key = int | tuple[int, int]  # an example's index; in training with the seed of its augmentation


class Task(ABC):
    """One data set of a family. Its `__init__` parameters are the options of its YAML and of `task.<option>=`.

    Attributes:
        name: of the task on the command line.
        primary: the metric that ranks.
        protocol: version of the family, raised by whoever changes data order, heads, losses or
            metrics.
        specs: the other metrics that it may report. One that is not declared is better when larger,
            without bounds.
        causal: whether outputs are predictions of later inputs, so that a router must not look
            ahead.
        causal_decoder: the same of the decoder's outputs alone, in an encoder-decoder.
        reads_routing: whether outputs in evaluation are the routers' weights instead of hidden
            states.
        fingerprint, description: of the data that was read; set by `prepare`.
        own_files: the file of each class from outside the package that it uses, by the option that
            names it.
        unreadable: names of examples that could not be read and were left out.
    """

    name: str
    primary: MetricSpec
    protocol: ClassVar[int] = 1
    specs: Mapping[str, MetricSpec] = MappingProxyType({})
    causal: bool = False
    causal_decoder: bool = False
    reads_routing: bool = False
    fingerprint: str
    description: str
    own_files: Mapping[str, Path] = {}
    unreadable: list[str]

    @classmethod
    def from_options(cls, **options: Any) -> Task:
        """Build a task from flat options, as they stand in its YAML; types and ranges are not checked."""
        return cls(**call_arguments(cls.__init__, options))

    def spec(self, metric: str) -> MetricSpec:
        """Return the declaration of a metric: direction and range."""
        if metric == self.primary.name:
            return self.primary
        return self.specs.get(metric) or MetricSpec(name=metric, direction="max")

    def split_sizes(self) -> dict[str, int]:
        """Return the number of examples of each split whose length is known; of "test", of those that are scored."""
        splits: dict[str, Any] = {role: self.dataset(role) for role in ROLES}
        return {role: len(data) for role, data in splits.items() if isinstance(data, Sized)}

    @abstractmethod
    def prepare(self) -> None:
        """Load the data. Raises `UserError` for a source that is missing, empty, or of the wrong schema."""

    @abstractmethod
    def backbone_arguments(self) -> dict[str, Any]:
        """Return what a backbone has to fit: classes, channels, image size."""

    @abstractmethod
    def blank(self) -> dict[str, Tensor] | Tensor:
        """Return inputs of one example of the usual size, on the meta device, without loading data."""

    @abstractmethod
    def dataset(self, split: Literal["train", "val", "test"]) -> Dataset[Any] | None:
        """Return a split, by `Key` -> sample; None where the task has no such split (only "val")."""

    @abstractmethod
    def collate(self, samples: Sequence[Any]) -> Batch:
        """Join samples to a batch."""

    @property
    @abstractmethod
    def in_memory(self) -> bool:
        """Return whether examples are ready in memory, so that loader processes would only cost."""

    @property
    def example_split(self) -> Literal["train", "test"]:
        """Return the split that costs are measured on: of training only where evaluation has other inputs."""
        return "test"

    def augment(self, batch: Batch, seed: int) -> Batch:
        """Change a training batch as a whole (Mixup); depends on `seed` only, never on global random state."""
        return batch

    @abstractmethod
    def inputs(self, batch: Batch) -> dict[str, Tensor] | Tensor:
        """Return what the backbone is called with: a tensor, or keyword arguments."""

    @abstractmethod
    def loss(self, output: Any, batch: Batch) -> Tensor:
        """Return the scalar training loss."""

    @abstractmethod
    def metrics(self) -> MetricCollection:
        """Return fresh metrics, the primary one among them."""

    @abstractmethod
    def update(self, metrics: MetricCollection, output: Any, batch: Batch) -> None:
        """Add a batch to the metrics."""

    @abstractmethod
    def size(self, batch: Batch) -> int:
        """Return the number of examples in a batch."""

    def content(self, sample: Any) -> bytes:
        """Return what an example of `dataset` shows, so that the same one in two splits is found."""
        inputs = self.inputs(self.collate([sample]))
        tensors = inputs.values() if isinstance(inputs, dict) else [inputs]
        return b"".join(tensor.numpy(force=True).tobytes() for tensor in tensors)

    def scored(self, batch: Batch) -> int:
        """Return the number of examples in a batch that metrics are a mean of; others may help to score them."""
        return self.size(batch)

    def examples(self, metric: str, total: int) -> int:
        """Return the number of examples behind a metric, of `total` that were scored."""
        return total

    def beyond(self, model: nn.Module) -> dict[str, float]:
        """Return metrics that need the model itself, in evaluation, and not its outputs only; may take gradients."""
        return {}

    def shown(self, batch: Batch) -> Sequence[str | list[str]]:
        """Return what a reader sees of each example of a batch: an image as a data URI, or one word for each token."""
        return []

    def lookahead(self, predict: Predict, batch: Batch) -> Lookahead | None:
        """Measure whether outputs depend on later inputs; None for tasks that do not predict these."""
        return None

    def whole(self, predict: Predict, folder: Path) -> dict[str, float] | None:
        """Return all metrics, where another program scores the model as a whole; None: batches of "test" are scored.

        Args:
            predict: batch -> output.
            folder: for files of that program.
        """
        return None


def task_class(family: str) -> type[Task]:
    """Import a task family: `vision` of the package, or `module:Class`."""
    return load_family(family)
