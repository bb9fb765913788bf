"""Dataloaders whose order depends on data seed and epoch only, and that resume within an epoch."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import torch
from torch.utils.data import DataLoader, IterableDataset, Sampler

from moesuite.compute.memory import examples_that_fit
from moesuite.config.sections import Data
from moesuite.errors import UserError
from moesuite.models.forward import first_tensor
from moesuite.task import Task

SEEDS = 2**31 - 1
UNKNOWN_CORES = 4  # workers where the system does not say how many cores a process may use


class EpochSampler(Sampler[tuple[int, int]]):
    """A seeded shuffle per epoch, sharded over ranks; yields (index, seed of its augmentation).

    Args:
        length: number of examples.
        seed: of the order.
        rank: of this process.
        world: number of processes; every rank gets the same number of examples.

    Attributes:
        resumed: (epoch, examples of this rank to skip in it) for a run that resumes within an
            epoch.
    """

    def __init__(self, length: int, seed: int, rank: int = 0, world: int = 1) -> None:
        self.length = length
        self.seed = seed
        self.rank = rank
        self.world = world
        self.epoch = 0
        self.resumed = (0, 0)

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of an epoch; called by Lightning."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.length // self.world

    def __iter__(self) -> Iterator[tuple[int, int]]:
        generator = torch.Generator().manual_seed((self.seed * 1_000_003 + self.epoch) % SEEDS)
        order = torch.randperm(self.length, generator=generator)
        seeds = torch.randint(SEEDS, (self.length,), generator=generator)
        # on every pass over this epoch, not on the first alone: Lightning starts some epochs twice
        start = self.resumed[1] if self.epoch == self.resumed[0] else 0
        shard = slice(self.rank + start * self.world, len(self) * self.world, self.world)
        yield from zip(order[shard].tolist(), seeds[shard].tolist(), strict=True)


class ResumableLoader(DataLoader[Any]):
    """A dataloader whose state is the number of batches that training has finished in this epoch.

    Lightning saves the state with every checkpoint. `finished` returns the number, because the
    loader itself prefetches beyond training. `resume` restores it: Lightning restores dataloaders
    only if nothing has asked it for the number of steps before, and the learning-rate schedule has.
    """

    finished: Callable[[], int]

    def state_dict(self) -> dict[str, int]:
        """Return epoch and finished batches."""
        assert isinstance(self.sampler, EpochSampler)
        return {"epoch": self.sampler.epoch, "batches": self.finished() % max(1, len(self))}

    def resume(self, checkpoint: Path) -> None:
        """Restore the state saved in a checkpoint of the run."""
        loops = torch.load(checkpoint, map_location="cpu", weights_only=False, mmap=True)["loops"]
        for state in loops["fit_loop"]["state_dict"].get("combined_loader", []):
            self.load_state_dict(state)

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Skip the batches that were finished before."""
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

    Args:
        task: with its data.
        data: batch size, workers and seed.
        finished: returns the number of batches that training has finished in this epoch.
        rank: of this process.
        world: number of processes.
        pin: copy batches to pinned memory.

    Raises:
        UserError: if the training split has fewer examples than there are processes.
    """
    dataset = task.dataset("train")
    assert dataset is not None
    options = _loader_options(task, data, pin)
    if isinstance(dataset, IterableDataset):
        # always one worker: the order of examples depends on how many share the shards of a stream
        options |= {"num_workers": 1, "persistent_workers": True}
        stream = _shard_of_stream(dataset, data.seed, rank, world)
        return DataLoader(stream, batch_size=data.batch_size, **options)
    length = len(dataset)  # type: ignore[arg-type]
    if length // world < 1:
        raise UserError(
            f"{task.name}: {length} training examples for {world} processes; expected at least one "
            "each; type trainer.devices=1"
        )
    loader = ResumableLoader(
        dataset,
        batch_size=data.batch_size,
        sampler=EpochSampler(length, data.seed, rank, world),
        drop_last=length // world > data.batch_size,
        **options,
    )
    loader.finished = finished
    return loader


def eval_loader(
    task: Task,
    data: Data,
    split: Literal["train", "val", "test"],
    rank: int = 0,
    world: int = 1,
    pin: bool = False,
) -> DataLoader[Any]:
    """Return a split in its own order, each example once over all processes.

    The test split stands in for a missing "val".

    Raises:
        UserError: if there is no test split.
    """
    dataset = task.dataset(split) or task.dataset("test")
    if dataset is None:
        raise UserError(
            f"{task.name}: no test split found; name it, e.g. task.splits.test=validation"
        )
    options = _loader_options(task, data, pin)
    if isinstance(dataset, IterableDataset):
        stream = _shard_of_stream(dataset, data.seed, rank, world)
        return DataLoader(stream, batch_size=data.eval_batch_size, **options)
    shard = list(range(rank, len(dataset), world))  # type: ignore[arg-type]
    return DataLoader(dataset, batch_size=data.eval_batch_size, sampler=shard, **options)


def example_batch(task: Task, data: Data, size: int) -> Any:
    """Return the first batch of readable test examples, for counting and measuring.

    Args:
        task: with its data.
        data: of the run.
        size: largest number of examples.

    Raises:
        UserError: if no example can be read.
    """
    changes = {"workers": 0, "eval_batch_size": min(data.batch_size, size)}
    for batch in eval_loader(task, data.model_copy(update=changes), task.example_split):
        task.inputs(batch)  # reports an unreadable image here, before training
        if task.size(batch):
            return batch
    raise UserError(f"{task.name}: the {task.example_split} split has no readable example")


def with_fitting_eval_batch(
    data: Data, task: Task, example: Any, activations: float, output: int, trainer: Any
) -> Data:
    """Return the data options with an evaluation batch that fits into memory.

    Assumes that all examples are as long as the task allows.

    Args:
        data: of the run.
        task: with its data.
        example: the batch that memory was measured with.
        activations: bytes that training keeps for one of its examples.
        output: bytes of the model's output for the whole batch.
        trainer: knows device and number of processes.
    """
    size = task.size(example)
    length = first_tensor(task.inputs(example)).numel() / size
    scale = max(1.0, first_tensor(task.blank()).numel() / length)
    device = trainer.strategy.root_device
    most = examples_that_fit(scale * activations, scale * output / size, device, trainer.world_size)
    return data.model_copy(update={"eval_batch_size": min(data.eval_batch_size, most)})


def _shard_of_stream(stream: Any, seed: int, rank: int, world: int) -> IterableDataset[Any]:
    """Return this process's shard of a stream (of `rows`), in the order of `seed`."""
    import datasets.distributed

    shard = copy.copy(stream)  # another run may share the task
    shard.seed = seed
    shard.rows = datasets.distributed.split_dataset_by_node(
        stream.rows, rank=rank, world_size=world
    )
    return shard


def _loader_options(task: Task, data: Data, pin: bool) -> dict[str, Any]:
    workers = _default_workers(task) if data.workers is None else data.workers
    return {
        "collate_fn": task.collate,
        "num_workers": workers,
        "persistent_workers": workers > 0,
        "pin_memory": pin,
        # the loader draws a seed for its workers: from here, not from the model's random state
        "generator": torch.Generator().manual_seed(data.seed),
    }


def _default_workers(task: Task) -> int:
    """Return no workers for data in memory, else one for each core of this process."""
    if task.in_memory:
        return 0
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return UNKNOWN_CORES
