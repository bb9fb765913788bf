"""The contract of a task family: data, head, loss, metrics. A family never mentions a router."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence, Sized
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar, Literal

from torch import Tensor, nn
from torch.utils.data import Dataset
from torchmetrics import MetricCollection

from moesuite.config.options import as_path as as_path
from moesuite.discovery.loading import load_family
from moesuite.discovery.signature import call_arguments
from moesuite.discovery.user_code import own_class as own_class
from moesuite.discovery.user_code import own_file as own_file
from moesuite.errors import UserError as UserError
from moesuite.errors import unknown as unknown
from moesuite.preview import Example as Example
from moesuite.preview import Lazy as Lazy
from moesuite.preview import Preview as Preview
from moesuite.preview import as_example
from moesuite.preview import joined as joined
from moesuite.progress import Lines as Lines
from moesuite.progress import track as track
from moesuite.records.metrics import MetricSpec as MetricSpec
from moesuite.records.record import Lookahead as Lookahead
from moesuite.records.store import atomic as atomic
from moesuite.sources.cache import cache_folder as cache_folder
from moesuite.sources.cache import cached as cached
from moesuite.sources.cache import changed as changed
from moesuite.sources.cache import load_rows as load_rows
from moesuite.sources.columns import Column as Column
from moesuite.sources.columns import match_columns as match_columns
from moesuite.sources.columns import note_of as note_of
from moesuite.sources.source import HubSource as HubSource
from moesuite.sources.source import Readable as Readable
from moesuite.sources.source import Source as Source

Batch = Mapping[str, Any]
Predict = Callable[[Batch], Any]  # batch -> output of the model in evaluation
Columns = Mapping[str, Any]  # by name: a tensor [N] or [N, K], or a sequence of N plain values
ROLES: tuple[Literal["train", "val", "test"], ...] = ("train", "val", "test")
Key = int | tuple[int, int]  # an example's index; in training with the seed of its augmentation


class Task(ABC):
    """A data set of a family.

    The parameters of `__init__` are the options of its YAML and of `task.<option>=`; each needs a
    default that is a plain value, or a group of options (see `moesuite.discovery.signature`), and a
    line in the docstring's `Args:`, which `--help` shows.

    Attributes:
        name: name of the task on the command line.
        primary: metric that ranks.
        protocol: version of the family; raise it with any change of data, heads, losses, metrics.
        specs: other metrics that it may report; an undeclared one has no bounds, larger is better.
        causal: whether outputs predict later inputs, so that a router must not look ahead.
        causal_decoder: the same for the decoder's outputs alone, in an encoder-decoder.
        reads_routing: whether outputs in evaluation are router weights instead of hidden states.
        observes_routing: whether batches hold for `update` what routing did with their tokens, if
            there are MoE layers: `dispatched` and `combined`, see `moesuite.nn.stats.masses`.
        fingerprint: of the data that was read; set by `prepare`.
        description: the data in one line; set by `prepare`.
        notes: what a reader has to know about the data, a sentence each; set by `prepare`.
        own_files: file of each class from outside the package that it uses, by option.
        unreadable: names of the unreadable examples that were left out.
        previewing: whether the data is shown without training; set before `prepare`.
        problems: what training refuses of data that can be shown, a sentence each; if `previewing`.
        previewed: options with which the data is shown, to report unreadable examples for example.
        unit: what `contents` yields.
    """

    name: str
    primary: MetricSpec
    protocol: ClassVar[int] = 1
    specs: Mapping[str, MetricSpec] = MappingProxyType({})
    causal: bool = False
    causal_decoder: bool = False
    reads_routing: bool = False
    observes_routing: bool = False
    fingerprint: str
    description: str
    notes: Sequence[str] = ()
    own_files: Mapping[str, Path] = {}
    unreadable: list[str]
    previewing: bool = False
    problems: Sequence[str] = ()
    previewed: ClassVar[Mapping[str, Any]] = MappingProxyType({})
    unit: str = "examples"

    @classmethod
    def from_options(cls, **options: Any) -> Task:
        """Build a task from flat options, as in its YAML; types and ranges are not checked."""
        return cls(**call_arguments(cls.__init__, options))

    def spec(self, metric: str) -> MetricSpec:
        """Return the declaration of a metric: direction and range."""
        if metric == self.primary.name:
            return self.primary
        return self.specs.get(metric) or MetricSpec(name=metric, direction="max")

    def split_sizes(self) -> dict[str, int]:
        """Return the number of examples of each split of known length, in "test" of scored ones."""
        splits: dict[str, Any] = {role: self.dataset(role) for role in ROLES}
        return {role: len(data) for role, data in splits.items() if isinstance(data, Sized)}

    @abstractmethod
    def prepare(self) -> None:
        """Load the data.

        Raises:
            UserError: for a source that is missing, empty, or of the wrong schema.
        """

    @abstractmethod
    def backbone_arguments(self) -> dict[str, Any]:
        """Return the arguments that the data sets for a backbone: classes, channels, image size."""

    @abstractmethod
    def blank(self) -> dict[str, Tensor] | Tensor:
        """Return inputs of an example of the usual size on the meta device, without data."""

    @abstractmethod
    def dataset(self, split: Literal["train", "val", "test"]) -> Dataset[Any] | None:
        """Return a split, `Key` -> sample, or None if the task lacks it (only "val")."""

    @abstractmethod
    def collate(self, samples: Sequence[Any]) -> Batch:
        """Join samples to a batch."""

    @property
    @abstractmethod
    def in_memory(self) -> bool:
        """Whether examples are ready in memory, so that loader processes would only cost time."""

    @property
    def example_split(self) -> Literal["train", "test"]:
        """The split for cost measurements; training only where evaluation has other inputs."""
        return "test"

    def augment(self, batch: Batch, seed: int) -> Batch:
        """Change a training batch as a whole (Mixup), by `seed` alone, not global random state."""
        return batch

    @abstractmethod
    def inputs(self, batch: Batch) -> dict[str, Tensor] | Tensor:
        """Return the inputs of the backbone: a tensor, or keyword arguments."""

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
        """Return the content of an example of `dataset`, to find duplicates across splits."""
        inputs = self.inputs(self.collate([sample]))
        tensors = inputs.values() if isinstance(inputs, dict) else [inputs]
        return b"".join(tensor.numpy(force=True).tobytes() for tensor in tensors)

    def contents(self, split: Literal["train", "val", "test"]) -> Iterator[bytes] | None:
        """Return the contents of the examples of a split, only of scored ones in "val" and "test".

        They tell how many examples stand in the training split, too. Override it where the raw
        content is at hand, so that nothing is decoded, tokenised or drawn.

        Returns:
            None for a stream, or a split that the task lacks.
        """
        data: Any = self.dataset(split)
        if not hasattr(data, "__len__"):
            return None
        samples = (data[index] for index in range(len(data)))
        return (
            self.content(sample)
            for sample in samples
            if split == "train" or self.scored(self.collate([sample]))
        )

    def scored(self, batch: Batch) -> int:
        """Return the number of scored examples in a batch; others may help to score them."""
        return self.size(batch)

    def examples(self, metric: str, total: int) -> int:
        """Return the number of examples behind a metric, of `total` scored ones."""
        return total

    def predictions(self, output: Any, batch: Batch) -> Columns | None:
        """Return the predictions of a batch for a file: `id` (texts), `target`, `prediction`, ...

        Ids are the same in every run; the primary metric follows from the rows of a split. Columns
        are those of `moesuite.train.results.predictions`. None: the family has none by example.
        """
        return None

    def complete_predictions(self, columns: Columns) -> Columns:
        """Return the predictions of a whole split, where those of a batch depend on others."""
        return columns

    def beyond(self, model: nn.Module) -> dict[str, float]:
        """Return metrics that need the model itself in evaluation; may take gradients."""
        return {}

    def shown(self, batch: Batch) -> Sequence[str | list[str]]:
        """Return each example of a batch for a reader: a data URI of an image, or token texts."""
        return []

    def preview(self, split: Literal["train", "val", "test"]) -> Preview:
        """Return what a reader wants to see of a split: by default its examples as `shown`."""
        dataset: Any = self.dataset(split)
        if not hasattr(dataset, "__len__"):
            return Preview(iter(()))

        def example(index: int) -> Example:
            return as_example(self.shown(self.collate([dataset[index]])))

        return Preview(Lazy(len(dataset), example))

    def lookahead(self, predict: Predict, batch: Batch) -> Lookahead | None:
        """Measure whether outputs depend on later inputs, or return None if none are predicted."""
        return None

    def whole(self, predict: Predict, folder: Path) -> dict[str, float] | None:
        """Return all metrics if another program scores the model, or None to score in batches.

        Args:
            predict: batch -> output.
            folder: folder for files of that program.
        """
        return None


def task_class(family: str) -> type[Task]:
    """Import a task family: `vision` of the package, or `module:Class`."""
    return load_family(family)
