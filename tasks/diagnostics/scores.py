"""Scores against a known optimum, and of routing against what is hidden in the data."""

from __future__ import annotations

import warnings

import torch
import torchmetrics
from jaxtyping import Float, Int
from torch import Tensor


class Excess(torchmetrics.Metric):
    """Squared distance to the optimum f*(x) = E[y | x], relative to that of the output 0.

        excess = Σ |f(x) - f*(x)|² / Σ |f*(x)|²

    For squared error the expected loss of f is that of f* plus E|f(x) - f*(x)|², so that this is
    what f loses to the optimum, free of the noise of y: never below 0, and 0 at the optimum alone;
    1 is what an output of 0 for every token loses.

    Args:
        name: of the figure.
    """

    error: Tensor
    power: Tensor

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name
        for state in ("error", "power"):
            self.add_state(state, torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, output: Float[Tensor, "*N D"], optimum: Float[Tensor, "*N D"]) -> None:
        """Add tokens."""
        self.error += (output.double() - optimum.double()).square().sum()
        self.power += optimum.double().square().sum()

    def compute(self) -> dict[str, Tensor]:
        """Return the figure, or nothing of no tokens."""
        return {self.name: self.error / self.power} if self.power > 0 else {}


class OfRouting(torchmetrics.Metric):
    """A metric of routing: nothing for a model without MoE layers, which is never observed."""

    @property
    def update_called(self) -> bool:
        """True: that nothing was observed is no mistake that deserves a warning."""
        return True


class Specialisation(OfRouting):
    """How experts divide the tokens among them, against the clusters that the tokens are from.

    A token belongs to the expert of its largest combine weight; tokens that no expert serves are a
    group of their own. `nmi` is the normalised mutual information (arithmetic mean), 0 to 1; `ari`
    the adjusted Rand index, 0 by chance, 1 for the same partition. See torchmetrics.

    Args:
        suffix: of the names of its figures.
    """

    clusters: list[Tensor]
    experts: list[Tensor]

    def __init__(self, suffix: str = "") -> None:
        super().__init__()
        self.suffix = suffix
        for state in ("clusters", "experts"):
            self.add_state(state, [], dist_reduce_fx="cat")

    def update(self, combined: Float[Tensor, "*N E"], clusters: Int[Tensor, "*N"]) -> None:
        """Add tokens: the combine weights of one layer, and the cluster of each."""
        expert = torch.where(is_served(combined) > 0, combined.argmax(dim=-1), combined.shape[-1])
        self.experts.append(expert.flatten())
        self.clusters.append(clusters.flatten())

    def compute(self) -> dict[str, Tensor]:
        """Return both figures, or nothing of no tokens."""
        from torchmetrics.functional.clustering import (
            adjusted_rand_score,
            normalized_mutual_info_score,
        )

        if len(self.experts) == 0:
            return {}
        pair = torch.cat(list(self.experts)), torch.cat(list(self.clusters))
        with warnings.catch_warnings():  # torchmetrics builds a sparse table of counts
            warnings.filterwarnings("ignore", message="Sparse invariant checks")
            return {
                f"nmi{self.suffix}": normalized_mutual_info_score(*pair),
                f"ari{self.suffix}": adjusted_rand_score(*pair),
            }


class Share(OfRouting):
    """Mean of a figure of tokens, weighted.

    Args:
        name: of the mean.
    """

    sum: Tensor
    weight: Tensor

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name
        for state in ("sum", "weight"):
            self.add_state(state, torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")

    def update(
        self, values: Float[Tensor, "*N"], weights: Float[Tensor, "*N"] | None = None
    ) -> None:
        """Add tokens, of weight 1 if nothing else is said."""
        weights = torch.ones_like(values) if weights is None else weights
        self.sum += (values * weights).double().sum()
        self.weight += weights.double().sum()

    def compute(self) -> dict[str, Tensor]:
        """Return the mean, or nothing of no tokens."""
        return {self.name: self.sum / self.weight} if self.weight > 0 else {}


def is_served(combined: Float[Tensor, "*N E"]) -> Float[Tensor, "*N"]:
    """Return 1 for tokens that have a combine weight which is not 0, else 0."""
    return (combined.abs().sum(dim=-1) > 0).float()
