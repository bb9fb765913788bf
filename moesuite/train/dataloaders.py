"""Batches in an order that depends on the data seed and the epoch only, and that an interrupted run takes up again."""

from __future__ import annotations

import copy
import math
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import torch
from torch.utils.data import DataLoader, IterableDataset, Sampler

from moesuite.config.sections import Data
from moesuite.errors import UserError
from moesuite.task import Task

SEEDS = 2**31 - 1


class EpochSampler(Sampler[tuple[int, int]]):
    """A seeded shuffle per epoch, shared out among ranks; yields (index, seed of the example's augmentation).

    Args:
        length: examples.
        seed: of the order.
        rank, world: this process among all; every rank gets equally many examples.

    Attributes:
        resumed: (epoch, examples of this rank to leave out in it), where a run goes on in the
            middle of an epoch.
    """

    def __init__(self, length: int, seed: int, rank: int = 0, world: int = 1) -> None:
        self.length, self.seed, self.rank, self.world = length, seed, rank, world
        self.epoch = 0
        self.resumed = (0, 0)

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of an epoch; Lightning calls this."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.length // self.world

    def __iter__(self) -> Iterator[tuple[int, int]]:
        generator = torch.Generator().manual_seed((self.seed * 1_000_003 + self.epoch) % SEEDS)
        order = torch.randperm(self.length, generator=generator)
        seeds = torch.randint(SEEDS, (self.length,), generator=generator)
        start = (
            self.resumed[1] if self.epoch == self.resumed[0] else 0
        )  # not once: Lightning starts some epochs twice
        mine = slice(self.rank + start * self.world, len(self) * self.world, self.world)
        yield from zip(order[mine].tolist(), seeds[mine].tolist(), strict=True)


class ResumableLoader(DataLoader[Any]):
    """A loader whose state is the number of batches that training has finished in this epoch.

    Lightning saves it with every checkpoint; `finished` tells that number, because the loader
    itself runs ahead of training. It is restored by `resume`: Lightning restores loaders only if
    nothing has asked it for the number of steps before, and the learning-rate schedule has.
    """

    finished: Callable[[], int]

    def state_dict(self) -> dict[str, int]:
        """Return where training stands."""
        assert isinstance(self.sampler, EpochSampler)
        return {"epoch": self.sampler.epoch, "batches": self.finished() % max(1, len(self))}

    def resume(self, checkpoint: Path) -> None:
        """Go on where a checkpoint stands."""
        loops = torch.load(checkpoint, map_location="cpu", weights_only=False, mmap=True)["loops"]
        for state in loops["fit_loop"]["state_dict"].get("combined_loader", []):
            self.load_state_dict(state)

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Leave out the batches that were finished before."""
        assert isinstance(self.sampler, EpochSampler) and self.batch_size is not None
        self.sampler.resumed = (state["epoch"], state["batches"] * self.batch_size)


def train_loader(
    task: Task,
    data: Data,
    finished: Callable[[], int],
    rank: int = 0,
    world: int = 1,
    pin: bool = False,
) -> DataLoader[Any]:
    """Return the training batches of a task.

    Raises:
        UserError: if the training split is smaller than one batch per process.
    """
    dataset = task.dataset("train")
    assert dataset is not None
    common = _common(task, data, pin)
    if isinstance(dataset, IterableDataset):
        # one process whatever `data.workers` says: the order of examples depends on how many share
        # the shards
        common |= {"num_workers": 1, "persistent_workers": True}
        return DataLoader(
            _own_share(dataset, data.seed, rank, world), batch_size=data.batch_size, **common
        )
    length = len(dataset)  # type: ignore[arg-type]
    if length // world < 1:
        raise UserError(
            f"{task.name}: {length} training examples for {world} processes; type trainer.devices=1"
        )
    sampler = EpochSampler(length, data.seed, rank, world)
    loader = ResumableLoader(
        dataset,
        batch_size=data.batch_size,
        sampler=sampler,
        drop_last=length // world > data.batch_size,
        **common,
    )
    loader.finished = finished
    return loader


def total_steps(trainer: Any, task: Task, data: Data) -> int:
    """Return the optimizer steps after which a trainer will stop; -1 where that is not known (a limit of time)."""
    if trainer.max_epochs == 0:
        return 0
    dataset = task.dataset("train")
    if dataset is None or isinstance(dataset, IterableDataset) or trainer.max_epochs in (None, -1):
        return trainer.max_steps
    share = len(dataset) // trainer.world_size  # type: ignore[arg-type]
    batches = max(1, share // data.batch_size)  # the last, smaller one is left out
    limit = trainer.limit_train_batches
    batches = min(batches, limit) if isinstance(limit, int) else int(batches * limit)
    steps = math.ceil(batches / trainer.accumulate_grad_batches) * trainer.max_epochs
    return steps if trainer.max_steps == -1 else min(steps, trainer.max_steps)


def eval_loader(
    task: Task,
    data: Data,
    split: Literal["train", "val", "test"],
    rank: int = 0,
    world: int = 1,
    pin: bool = False,
) -> DataLoader[Any]:
    """Return a split in its own order, each example once among all processes; without a "val", the test split."""
    dataset = task.dataset(split) or task.dataset("test")
    if dataset is None:
        raise UserError(
            f"{task.name}: no test split was found; name it, for example task.splits.test=validation"
        )
    common = _common(task, data, pin)
    if isinstance(dataset, IterableDataset):
        return DataLoader(
            _own_share(dataset, data.seed, rank, world), batch_size=data.eval_batch_size, **common
        )
    own = range(rank, len(dataset), world)  # type: ignore[arg-type]
    return DataLoader(dataset, batch_size=data.eval_batch_size, sampler=list(own), **common)


def _own_share(stream: Any, seed: int, rank: int, world: int) -> IterableDataset[Any]:
    """Return the part of a stream (of `rows`) that belongs to this process, in the order of `seed`."""
    import datasets.distributed

    own = copy.copy(stream)  # the task may be another run's too
    own.seed, own.rows = (
        seed,
        datasets.distributed.split_dataset_by_node(stream.rows, rank=rank, world_size=world),
    )
    return own


def _common(task: Task, data: Data, pin: bool) -> dict[str, Any]:
    workers = data.workers
    if workers is None:
        workers = (
            0
            if task.in_memory
            else len(os.sched_getaffinity(0))
            if hasattr(os, "sched_getaffinity")
            else 4
        )
    return {
        "collate_fn": task.collate,
        "num_workers": workers,
        "persistent_workers": workers > 0,
        "pin_memory": pin,
        # the loader draws a seed for its processes: from here, not from the model's random state
        "generator": torch.Generator().manual_seed(data.seed),
    }
