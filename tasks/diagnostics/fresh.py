"""Examples that are drawn when they are asked for: in training, no two epochs have the same."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from moesuite.task import Key
from moesuite.tasks.diagnostics.world import Sampling, Splits

ROLES = ("train", "val", "test")
Draw = Callable[[Tensor], Mapping[str, Tensor]]


class Fresh(Dataset[Mapping[str, Tensor]]):
    """Examples made of uniform numbers that depend on the key alone.

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
