"""Planted experts: tokens of hidden clusters, each with its own random teacher.

    m ~ π,  π_m ∝ m^-imbalance                       the cluster of a token
    x = separation · c_m + z,  z ~ N(0, I_D)         |c_m| = 1, orthogonal if M <= D
    y = T_m(z) + noise · ε,  ε ~ N(0, I_D)
    T_m(z) = B_m (relu(A_m z) - E relu(A_m z))       of mean 0, and mean square 1 a coordinate

The optimum under squared error is E[y | x]. Gaussians of one covariance have a posterior that is
linear inside of a softmax,

    f*(x) = Σ_m p(m | x) T_m(x - separation · c_m)
    p(m | x) = softmax_m(log π_m + separation · c_m·x)

so that the optimum is itself a mixture of experts of one hidden layer with a linear gate (Jacobs,
Jordan, Nowlan, Hinton, "Adaptive Mixtures of Local Experts", 1991), and its loss is noise² plus the
doubt about m. Reported is the loss beyond it; see `Excess`. The oracle router sends x to the most
likely cluster: where clusters hardly overlap it reaches 0 with experts that are the teachers.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import torch
from annotated_types import Ge, Gt, Le
from jaxtyping import Float, Int
from torch import Generator, Tensor
from torch.nn import functional as F
from torchmetrics import Metric, MetricCollection

from moesuite.task import Batch
from moesuite.tasks.diagnostics.scores import Excess, Specialisation
from moesuite.tasks.diagnostics.world import Mass, Splits, Stored, World, generator


@dataclass(frozen=True)
class Mixture:
    """Clusters of tokens.

    Attributes:
        clusters: number of them, >= 1; need not be that of the experts.
        imbalance: exponent of Zipf's law of their sizes, >= 0; 0: all alike.
        separation: distance of each from the origin, in standard deviations, > 0.
        noise: standard deviation of the noise of targets, >= 0; a target's own is 1.
        units: hidden units of a teacher, >= 1.
        shift: of drift, in [0, 1]: how far sizes move from those of training to the reverse order.
    """

    clusters: Annotated[int, Ge(1)] = 8
    imbalance: Annotated[float, Ge(0)] = 0.0
    separation: Annotated[float, Gt(0)] = 4.0
    noise: Annotated[float, Ge(0)] = 0.1
    units: Annotated[int, Ge(1)] = 8
    shift: Annotated[float, Ge(0), Le(1)] = 1.0

    @property
    def shares(self) -> Float[Tensor, " M"]:
        """Probability of each cluster, the largest first."""
        sizes = torch.arange(1, self.clusters + 1, dtype=torch.float).pow(-self.imbalance)
        return sizes / sizes.sum()

    @property
    def shifted(self) -> Float[Tensor, " M"]:
        """Probability of each cluster after the shift."""
        return torch.lerp(self.shares, self.shares.flip(0), self.shift)


@dataclass(frozen=True)
class Teachers:
    """Random networks T(z) = down · relu(up · z) - centre, of mean 0 and mean square 1 for z ~ N.

    Attributes:
        up: rows of length 1.
        down: scaled.
        centre: mean of down · relu(up · z).
    """

    up: Float[Tensor, "M H D"]
    down: Float[Tensor, "M O H"]
    centre: Float[Tensor, "M O"]

    @classmethod
    def draw(cls, number: int, width: int, units: int, source: Generator) -> Teachers:
        """Draw teachers; the mean and covariance of their hidden units are known.

        For |a| = |b| = 1 and an angle θ between them, E relu(a·z) = 1 / √(2π) and
        E relu(a·z) relu(b·z) = (sin θ + (π - θ) cos θ) / 2π (Cho and Saul, 2009).
        """
        up = F.normalize(torch.randn(number, units, width, generator=source), dim=-1)
        down = torch.randn(number, width, units, generator=source)
        cosine = (up @ up.mT).clamp(-1, 1)
        angle = cosine.acos()
        second = (angle.sin() + (math.pi - angle) * cosine) / (2 * math.pi)
        covariance = second - 1 / (2 * math.pi)
        power = (down @ covariance * down).sum(dim=(1, 2), keepdim=True) / width
        down = down / power.sqrt()
        return cls(up, down, down.sum(dim=-1) / math.sqrt(2 * math.pi))

    def __call__(self, number: int, z: Float[Tensor, "*N D"]) -> Float[Tensor, "*N O"]:
        """Return the output of one teacher."""
        hidden = F.relu(z @ self.up[number].T)
        return hidden @ self.down[number].T - self.centre[number]


@dataclass(frozen=True)
class Clusters:
    """What is hidden: the centre of each cluster, separation included, and its teacher.

    Clusters beyond the number of teachers have none: their targets are 0.
    """

    centres: Float[Tensor, "M D"]
    teachers: Teachers

    @classmethod
    def draw(cls, mixture: Mixture, width: int, source: Generator) -> Clusters:
        """Draw centres and teachers."""
        centres = mixture.separation * directions(mixture.clusters, width, source)
        return cls(centres, Teachers.draw(mixture.clusters, width, mixture.units, source))

    def tokens(
        self, clusters: Int[Tensor, "N T"], source: Generator
    ) -> tuple[Float[Tensor, "N T D"], Float[Tensor, "N T D"]]:
        """Draw tokens of given clusters; return them, and what their teachers say."""
        z = torch.randn(*clusters.shape, self.centres.shape[1], generator=source)
        taught = torch.zeros_like(z)
        for m in range(len(self.teachers.up)):
            taught[clusters == m] = self.teachers(m, z[clusters == m])
        return self.centres[clusters] + z, taught

    def optimum(
        self, x: Float[Tensor, "*N D"], shares: Float[Tensor, " M"]
    ) -> Float[Tensor, "*N D"]:
        """Return E[y | x] in a mixture with these shares."""
        halves = self.centres.square().sum(dim=1) / 2  # alike, so that the softmax ignores them
        posterior = (shares.log() - halves + x @ self.centres.T).softmax(dim=-1)
        best = torch.zeros_like(x)
        for m, centre in enumerate(self.centres[: len(self.teachers.up)]):
            best += posterior[..., m, None] * self.teachers(m, x - centre)
        return best


def directions(number: int, width: int, source: Generator) -> Float[Tensor, "M D"]:
    """Draw vectors of length 1, orthogonal if there are no more than their width."""
    raw = torch.randn(number, width, generator=source)
    return F.normalize(torch.linalg.qr(raw.T).Q.T if number <= width else raw, dim=-1)


def drawn(
    hidden: Clusters, shares: Float[Tensor, " M"], shape: tuple[int, int], noise: float, source: Any
) -> dict[str, Tensor]:
    """Draw sequences whose clusters have these shares: tokens, target, optimum, cluster."""
    clusters = torch.multinomial(shares, math.prod(shape), True, generator=source).view(shape)
    x, taught = hidden.tokens(clusters, source)
    target = taught + noise * torch.randn(taught.shape, generator=source)
    return {
        "tokens": x,
        "target": target,
        "optimum": hidden.optimum(x, shares),
        "cluster": clusters,
    }


@dataclass(frozen=True)
class OfVectors(World):
    """A world whose tokens are vectors, each with a vector to be predicted."""

    def backbone_arguments(self) -> dict[str, Any]:
        """Return the width of a token."""
        return {"width": self.sampling.width}

    def blank(self) -> Tensor:
        """Return one sequence."""
        return torch.empty(1, self.sampling.length, self.sampling.width, device="meta")

    def loss(self, output: Tensor, batch: Batch) -> Tensor:
        """Return the mean squared error."""
        return F.mse_loss(output.float(), batch["target"])


@dataclass(frozen=True)
class Planted(OfVectors):
    """Tokens of hidden clusters, each with its own teacher."""

    mixture: Mixture
    observes_routing: ClassVar[bool] = True

    @property
    def description(self) -> str:
        """Number and sizes of the clusters."""
        sizes = ", ".join(f"{share:.2f}" for share in self.mixture.shares)
        return f"{self.mixture.clusters} clusters with a teacher each, of shares {sizes}"

    def splits(self, seed: int) -> Splits:
        """Draw clusters, teachers and tokens."""
        source = generator(seed)
        hidden = Clusters.draw(self.mixture, self.sampling.width, source)
        sizes = {role: getattr(self.sampling, role) for role in ("train", "val", "test")}
        shares, noise = self.mixture.shares, self.mixture.noise
        return {
            role: Stored(**drawn(hidden, shares, (size, self.sampling.length), noise, source))
            for role, size in sizes.items()
        }

    def metrics(self) -> dict[str, Metric]:
        """Return the loss beyond the optimum's, and the agreement of routing with clusters."""
        return {"excess": Excess("excess_loss"), "routing": Specialisation()}

    def update(self, metrics: MetricCollection, output: Tensor, batch: Batch) -> None:
        """Add a batch."""
        metrics["excess"].update(output, batch["optimum"])

    def observe(
        self, metrics: MetricCollection, dispatched: Mass, combined: Mass, batch: Batch
    ) -> None:
        """Add the routing of the last MoE layer."""
        metrics["routing"].update(combined[-1], batch["cluster"])

    def shown(self, batch: Batch) -> list[list[str]]:
        """Return the cluster of each token."""
        return cluster_names(batch["cluster"])


def cluster_names(clusters: Int[Tensor, "N T"]) -> list[list[str]]:
    """Return the clusters of tokens for a reader."""
    return [[f"c{m}" for m in row] for row in clusters.tolist()]
