"""Drift: the mixture of clusters shifts between training and test; the teachers stay.

Tokens, targets and teachers are those of planted experts (see there) with Zipf's law of sizes. In
training cluster m has the share π_m; half of the test sequences have these, the other half

    π'_m = (1 - shift) · π_m + shift · π_(M+1-m)         the largest becomes the smallest

The optimum is f*(x) of the mixture that x is drawn from. The optimum of the old mixture differs
from that of the new one by the prior log π_m alone, which hardly matters where clusters hardly
overlap: a model that has found the teachers loses nothing to the shift. What it does lose is that
rare clusters were learned worse, and that an expert gets more tokens than its capacity allows.

`excess_loss` and `unserved` are of the new mixture, `excess_before` and `unserved_before` of the
old. A record has them once without a limit of capacity and once under that of training, so that the
difference between the two is what the limit costs: what a router recovers if it is lifted.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torchmetrics import Metric, MetricCollection

from moesuite.task import Batch
from moesuite.tasks.diagnostics.planted import Clusters, Mixture, OfVectors, cluster_names, drawn
from moesuite.tasks.diagnostics.scores import Excess, Share, is_served
from moesuite.tasks.diagnostics.world import Mass, Splits, Stored, generator


@dataclass(frozen=True)
class Drift(OfVectors):
    """Clusters whose sizes change after training."""

    mixture: Mixture
    observes_routing: ClassVar[bool] = True

    @property
    def description(self) -> str:
        """Sizes of the clusters before and after."""
        before, after = (
            ", ".join(f"{share:.2f}" for share in shares)
            for shares in (self.mixture.shares, self.mixture.shifted)
        )
        return f"clusters with a teacher each, of shares {before} in training, then {after}"

    def splits(self, seed: int) -> Splits:
        """Draw clusters, teachers and tokens; half of the evaluated sequences are shifted."""
        source, mixture = generator(seed), self.mixture
        hidden = Clusters.draw(mixture, self.sampling.width, source)
        splits = {}
        for role in ("train", "val", "test"):
            size = getattr(self.sampling, role)
            parts = [(mixture.shares, size)]
            if role != "train":
                parts = [(mixture.shares, size - size // 2), (mixture.shifted, size // 2)]
            columns = [
                drawn(hidden, shares, (number, self.sampling.length), mixture.noise, source)
                for shares, number in parts
            ]
            joined = {key: torch.cat([each[key] for each in columns]) for key in columns[0]}
            shifted = torch.arange(size) >= parts[0][1]
            splits[role] = Stored(**joined, shifted=shifted)
        return splits

    def metrics(self) -> dict[str, Metric]:
        """Return loss and unserved tokens of each mixture."""
        return {
            "after": Excess("excess_loss"),
            "before": Excess("excess_before"),
            "unserved_after": Share("unserved"),
            "unserved_before": Share("unserved_before"),
        }

    def update(self, metrics: MetricCollection, output: Tensor, batch: Batch) -> None:
        """Add a batch."""
        for name, rows in (("after", batch["shifted"]), ("before", ~batch["shifted"])):
            metrics[name].update(output[rows], batch["optimum"][rows])

    def observe(
        self, metrics: MetricCollection, dispatched: Mass, combined: Mass, batch: Batch
    ) -> None:
        """Add the routing of a batch."""
        for name, rows in (("after", batch["shifted"]), ("before", ~batch["shifted"])):
            metrics[f"unserved_{name}"].update(1 - is_served(combined[:, rows]))

    def shown(self, batch: Batch) -> list[list[str]]:
        """Return the cluster of each token."""
        return cluster_names(batch["cluster"])
