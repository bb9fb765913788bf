"""Diagnostics: generated tasks whose right answer is known, each measured against its optimum.

Data are drawn from `task.world`, by default the seed of the run: all routers of a seed see the same
world, and other seeds see others. Nothing is downloaded, and a run takes seconds on a CPU.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any, Literal

import torch
from torch import Tensor
from torch.utils.data import Dataset
from torchmetrics import MetricCollection

from moesuite.records.metrics import DIAGNOSTICS, OF_WORLD
from moesuite.task import Batch, Task
from moesuite.tasks.diagnostics.composition import Composition, Functions
from moesuite.tasks.diagnostics.drift import Drift
from moesuite.tasks.diagnostics.future import Future, Symbols
from moesuite.tasks.diagnostics.memory import Facts, Memory
from moesuite.tasks.diagnostics.needles import Haystack, Needles
from moesuite.tasks.diagnostics.paths import Graph, Paths
from moesuite.tasks.diagnostics.planted import Mixture, Planted
from moesuite.tasks.diagnostics.world import Sampling, Splits, Stored, World
from moesuite.tasks.options import About


class Diagnostics(Task):
    """Learn a world that is drawn from a seed, and whose optimum is known."""

    specs = DIAGNOSTICS

    def __init__(
        self,
        name: str = "diagnostics",
        kind: Literal[
            "planted", "drift", "needles", "composition", "memory", "paths", "future"
        ] = "planted",
        sampling: Sampling = Sampling(),
        mixture: Mixture = Mixture(),
        haystack: Haystack = Haystack(),
        composed: Functions = Functions(),
        memory: Facts = Facts(),
        graph: Graph = Graph(),
        future: Symbols = Symbols(),
        about: About = About(),
    ) -> None:
        """Declare a world.

        Args:
            name: name of the task.
            kind: planted (clusters of tokens, each with a teacher), drift (whose sizes change after
                training), needles (few tokens matter), composition (pairs of functions), memory
                (random facts), paths (of length 2, in random graphs) or future (symbols that
                nothing predicts).
            sampling: what is drawn.
            mixture: clusters of tokens, of planted, drift and needles.
            haystack: tokens that matter and others, of needles.
            composed: functions, of composition.
            memory: facts, of memory.
            graph: random graphs, of paths.
            future: symbols, of future.
            about: for the reader.
        """
        worlds: Mapping[str, Callable[[], World]] = {
            "planted": lambda: Planted(sampling, mixture),
            "drift": lambda: Drift(sampling, mixture),
            "needles": lambda: Needles(sampling, mixture, haystack),
            "composition": lambda: Composition(sampling, composed),
            "memory": lambda: Memory(sampling, memory),
            "paths": lambda: Paths(sampling, graph),
            "future": lambda: Future(sampling, future),
        }
        self.name = name
        self.kind = kind
        self.about = about
        self.world = worlds[kind]()
        self.primary = DIAGNOSTICS[OF_WORLD[kind]]
        self.causal = self.world.causal
        self.observes_routing = self.world.observes_routing
        self.unreadable = []
        self._splits: Splits = {}

    def prepare(self) -> None:
        """Draw the world of the seed; see `Task.prepare`."""
        if self._splits:
            return
        self._splits = self.world.splits(self.world.sampling.world)
        self.description = self.world.description
        # of all worlds of these options: one board ranks them, and the seed is in each record
        options = asdict(self.world)
        del options["sampling"]["world"]
        text = json.dumps({"kind": self.kind, **options}, sort_keys=True)
        self.fingerprint = f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"

    @property
    def in_memory(self) -> bool:
        """True: tokens are ready."""
        return True

    def backbone_arguments(self) -> dict[str, Any]:
        """Return what the world asks for."""
        return self.world.backbone_arguments()

    def blank(self) -> dict[str, Tensor] | Tensor:
        """Return one sequence."""
        return self.world.blank()

    def dataset(self, split: Literal["train", "val", "test"]) -> Dataset[Any] | None:
        """Return a split."""
        return self._splits[split]

    def collate(self, samples: Sequence[Any] | Batch) -> Batch:
        """Join samples; whole batches pass through."""
        if isinstance(samples, Mapping):
            return samples
        return {key: torch.stack([sample[key] for sample in samples]) for key in samples[0]}

    def inputs(self, batch: Batch) -> dict[str, Tensor] | Tensor:
        """Return the inputs of the backbone."""
        return self.world.inputs(batch)

    def loss(self, output: Any, batch: Batch) -> Tensor:
        """Return the loss of the world."""
        return self.world.loss(output, batch)

    def metrics(self) -> MetricCollection:
        """Return the metrics of output and routing."""
        return MetricCollection(dict(self.world.metrics()), compute_groups=False)

    def update(self, metrics: MetricCollection, output: Any, batch: Batch) -> None:
        """Add a batch, and its routing."""
        self.world.update(metrics, output, batch)
        if "combined" in batch:
            self.world.observe(metrics, batch["dispatched"], batch["combined"], batch)

    def shown(self, batch: Batch) -> list[list[str]]:
        """Return what is hidden in each token."""
        return self.world.shown(batch)

    def contents(self, split: Literal["train", "val", "test"]) -> Iterator[bytes] | None:
        """Return the inputs of each example; None of those that are drawn anew in each step."""
        data = self._splits[split]
        if not isinstance(data, Stored):
            return None
        inputs = self.world.inputs(data.columns)
        columns = list(inputs.values()) if isinstance(inputs, dict) else [inputs]
        rows = zip(*(column.numpy() for column in columns), strict=True)
        return (b"".join(each.tobytes() for each in row) for row in rows)

    def size(self, batch: Batch) -> int:
        """Return the number of sequences."""
        return len(next(iter(batch.values())))
