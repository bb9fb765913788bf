"""What a data set of the family provides: a world is drawn from a seed, and its optimum is known.

A world itself has no state: options go in, and all that is hidden in it (clusters, teachers, facts)
is drawn by `splits` from the seed. What its optimum is stands with the examples.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import numpy as np
import torch
from annotated_types import Ge
from jaxtyping import Float
from torch import Tensor
from torch.utils.data import Dataset
from torchmetrics import Metric, MetricCollection

from moesuite.task import Batch, Key

ROLES = ("train", "val", "test")
Draw = Callable[[Tensor], Mapping[str, Tensor]]
Splits = Mapping[str, Dataset[Any]]  # by role: train, val, test
Mass = Float[Tensor, "L G T E"]  # of each MoE layer, summed over the slots of an expert


@dataclass(frozen=True)
class Sampling:
    """What is drawn.

    Attributes:
        world: seed of all that is hidden in the data and of all examples, >= 0; worlds of different
            seeds are draws of one task.
        train: sequences to train on, >= 1.
        val: sequences of the validation split, >= 1.
        test: sequences of the test split, >= 1.
        length: tokens of a sequence, >= 1.
        width: numbers of a token that is a vector, >= 1.
    """

    world: Annotated[int, Ge(0)] = 0
    train: Annotated[int, Ge(1)] = 3200
    val: Annotated[int, Ge(1)] = 64
    test: Annotated[int, Ge(1)] = 256
    length: Annotated[int, Ge(1)] = 64
    width: Annotated[int, Ge(1)] = 16


class Stored(Dataset[Mapping[str, Tensor]]):
    """Examples in memory, by column [N, ...]; a batch is read at once."""

    def __init__(self, **columns: Tensor) -> None:
        self.columns = columns

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())))

    def __getitem__(self, key: Key) -> Mapping[str, Tensor]:
        """Return an example; its seed of an augmentation is not needed."""
        index = key if isinstance(key, int) else key[0]
        return {name: column[index] for name, column in self.columns.items()}

    def __getitems__(self, keys: Sequence[Key]) -> Mapping[str, Tensor]:
        """Return a batch, which needs no collating; torch's loaders ask for it."""
        indices = torch.tensor([key if isinstance(key, int) else key[0] for key in keys])
        return {name: column[indices] for name, column in self.columns.items()}


class Fresh(Dataset[Mapping[str, Tensor]]):
    """Examples that are drawn when asked for, of uniform numbers that depend on the key alone.

    In training a key holds a seed of its own for each example and epoch, the same for all routers,
    whether or not a run was interrupted; elsewhere it is the index.

    Args:
        world: seed of the world.
        role: of the split.
        length: examples of the split, or of an epoch.
        numbers: uniform numbers of an example.
        draw: numbers in [0, 1) [B, numbers] -> columns [B, ...].
    """

    def __init__(self, world: int, role: str, length: int, numbers: int, draw: Draw) -> None:
        self.world = world
        self.role = ROLES.index(role)
        self.length = length
        self.numbers = numbers
        self.draw = draw

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, key: Key) -> Mapping[str, Tensor]:
        """Return an example."""
        return {name: column[0] for name, column in self.__getitems__([key]).items()}

    def __getitems__(self, keys: Sequence[Key]) -> Mapping[str, Tensor]:
        """Return a batch, which needs no collating; torch's loaders ask for it."""
        drawn = np.stack([self._numbers(key) for key in keys])
        return self.draw(torch.from_numpy(drawn))

    def _numbers(self, key: Key) -> np.ndarray:
        """Return the numbers of an example; a training example without a seed is only shown."""
        parts = (key,) if isinstance(key, int) else key
        return np.random.default_rng((self.world, self.role, *parts)).random(self.numbers)


def fresh(sampling: Sampling, seed: int, numbers: int, draw: Draw) -> Splits:
    """Return splits of fresh examples; see `Fresh`."""
    return {role: Fresh(seed, role, getattr(sampling, role), numbers, draw) for role in ROLES}


@dataclass(frozen=True)
class World(ABC):
    """A data set: how it is drawn, learned and scored.

    Attributes:
        sampling: what is drawn.
        causal: whether outputs predict later inputs.
        observes_routing: whether `observe` wants the routing of each batch in evaluation.
    """

    sampling: Sampling
    causal: ClassVar[bool] = False
    observes_routing: ClassVar[bool] = False

    @property
    @abstractmethod
    def description(self) -> str:
        """What is drawn, in one line, without the seed."""

    @abstractmethod
    def backbone_arguments(self) -> dict[str, Any]:
        """Return the arguments that the data sets for a backbone; see `Task`."""

    @abstractmethod
    def blank(self) -> dict[str, Tensor] | Tensor:
        """Return the inputs of one example on the meta device."""

    @abstractmethod
    def splits(self, seed: int) -> Splits:
        """Draw the world of a seed, by a generator of its own."""

    def inputs(self, batch: Batch) -> dict[str, Tensor] | Tensor:
        """Return the inputs of the backbone."""
        tokens: Tensor = batch["tokens"]
        return tokens

    @abstractmethod
    def loss(self, output: Any, batch: Batch) -> Tensor:
        """Return the scalar training loss."""

    @abstractmethod
    def metrics(self) -> dict[str, Metric]:
        """Return fresh metrics by any name; what they compute is a mapping by name in records."""

    @abstractmethod
    def update(self, metrics: MetricCollection, output: Any, batch: Batch) -> None:
        """Add a batch to the metrics of the output."""

    def observe(
        self, metrics: MetricCollection, dispatched: Mass, combined: Mass, batch: Batch
    ) -> None:
        """Add the routing of a batch to the metrics of routing; see `Task`."""
        raise NotImplementedError(f"{type(self).__name__} wants the routing: define observe")

    @abstractmethod
    def shown(self, batch: Batch) -> list[list[str]]:
        """Return a name for each token of each sequence, by what is hidden in it."""


def generator(seed: int) -> torch.Generator:
    """Return the source of all random numbers of a world."""
    return torch.Generator().manual_seed(seed)
