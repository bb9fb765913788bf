"""Needles: few tokens decide, most are distractors, and some of these look alike.

    kind of token    share                x
    needle k         needles / M          separation · c_k + mark · u + z
    look-alike k     lookalikes / M       separation · c_k - mark · u + z
    background j     the rest / J         length · d_j + z,  length² = separation² + mark²

with z ~ N(0, I_D) and orthogonal directions c_1 … c_M, u, d_1 … d_J of length 1, J = D - M - 1.
The target of a needle is that of its kind's teacher, T_k(z) + noise · ε as in planted experts; all
others have 0 + noise · ε. An output of 0 is therefore right for distractors, and it is what the
bare MLP layer gives for a token that no expert serves: dropping distractors costs nothing, and a
router that knows what matters spends its capacity on the needles.

The optimum is E[y | x] = Σ_k p(needle k | x) T_k(x - its centre): all centres have one length, so
that p is a softmax of linear scores here, too. The oracle serves needles by their kind's expert and
nothing else; with room for all of them it reaches 0 up to the doubt about look-alikes.

`needles_served` is the share of needles that some expert serves, `needle_work` the share of what
experts read that is of needles, and `nmi` the agreement of experts with kinds, among needles alone.
Soft routing serves every token by definition: what it reads of the needles is its `needle_work`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from annotated_types import Gt, Lt
from jaxtyping import Float
from torch import Generator, Tensor
from torchmetrics import Metric, MetricCollection

from moesuite.task import Batch, UserError
from moesuite.tasks.diagnostics.planted import (
    Clusters,
    Mixture,
    OfVectors,
    Teachers,
    directions,
    drawn,
)
from moesuite.tasks.diagnostics.scores import Excess, Share, Specialisation, is_served
from moesuite.tasks.diagnostics.world import Mass, Splits, Stored, generator


@dataclass(frozen=True)
class Haystack:
    """Tokens of needles; the number of their kinds is `clusters`.

    Attributes:
        needles: share of the tokens that decide, in (0, 1).
        lookalikes: share of the tokens that differ from needles in the mark alone, in (0, 1).
        mark: distance of needles, and of look-alikes on the other side, from between them, > 0.
    """

    needles: Annotated[float, Gt(0), Lt(1)] = 0.125
    lookalikes: Annotated[float, Gt(0), Lt(1)] = 0.1875
    mark: Annotated[float, Gt(0)] = 2.0


@dataclass(frozen=True)
class Needles(OfVectors):
    """A few tokens that matter among many that do not."""

    mixture: Mixture
    haystack: Haystack
    observes_routing: ClassVar[bool] = True

    @property
    def description(self) -> str:
        """Shares of the kinds of tokens."""
        shares = self.haystack.needles, self.haystack.lookalikes
        kinds = self.mixture.clusters
        return f"{shares[0]:.2%} needles of {kinds} kinds, {shares[1]:.2%} that look alike"

    @property
    def backgrounds(self) -> int:
        """Number J of clusters of other tokens; raises `UserError` if there is no room for any."""
        number = self.sampling.width - self.mixture.clusters - 1
        if number < 1 or self.haystack.needles + self.haystack.lookalikes >= 1:
            raise UserError(
                f"task.clusters={self.mixture.clusters} task.width={self.sampling.width} "
                f"task.needles={self.haystack.needles} task.lookalikes={self.haystack.lookalikes}: "
                "expected a width of at least clusters + 2, and shares that leave some to others, "
                "e.g. task.clusters=4 task.width=16 task.needles=0.125 task.lookalikes=0.2"
            )
        return number

    @property
    def shares(self) -> Float[Tensor, " C"]:
        """Probability of each needle, look-alike and background."""
        haystack, kinds = self.haystack, self.mixture.shares
        rest = torch.full((self.backgrounds,), 1 / self.backgrounds)
        others = 1 - haystack.needles - haystack.lookalikes
        return torch.cat([haystack.needles * kinds, haystack.lookalikes * kinds, others * rest])

    def hidden(self, source: Generator) -> Clusters:
        """Draw the centres of needles, look-alikes and backgrounds, and the needles' teachers."""
        kinds, mixture = self.mixture.clusters, self.mixture
        axes = directions(self.sampling.width, self.sampling.width, source)
        kind, mark = mixture.separation * axes[:kinds], self.haystack.mark * axes[kinds]
        others = axes[kinds + 1 :] * (mixture.separation**2 + self.haystack.mark**2) ** 0.5
        centres = torch.cat([kind + mark, kind - mark, others])
        teachers = Teachers.draw(kinds, self.sampling.width, mixture.units, source)
        return Clusters(centres, teachers)

    def splits(self, seed: int) -> Splits:
        """Draw centres, teachers and tokens."""
        source, shares = generator(seed), self.shares
        hidden = self.hidden(source)
        length, noise = self.sampling.length, self.mixture.noise
        sizes = {role: getattr(self.sampling, role) for role in ("train", "val", "test")}
        return {
            role: Stored(**drawn(hidden, shares, (size, length), noise, source))
            for role, size in sizes.items()
        }

    def metrics(self) -> dict[str, Metric]:
        """Return the loss, and what routing does with needles."""
        return {
            "excess": Excess("excess_loss"),
            "served": Share("needles_served"),
            "work": Share("needle_work"),
            "routing": Specialisation(),
        }

    def update(self, metrics: MetricCollection, output: Tensor, batch: Batch) -> None:
        """Add a batch."""
        metrics["excess"].update(output, batch["optimum"])

    def observe(
        self, metrics: MetricCollection, dispatched: Mass, combined: Mass, batch: Batch
    ) -> None:
        """Add the routing of the last MoE layer."""
        is_needle = batch["cluster"] < self.mixture.clusters
        of_needles = combined[-1][is_needle]
        metrics["served"].update(is_served(of_needles))
        metrics["work"].update(is_needle.float(), dispatched[-1].sum(dim=-1))
        metrics["routing"].update(of_needles, batch["cluster"][is_needle])

    def shown(self, batch: Batch) -> list[list[str]]:
        """Return what each token is: needle3, alike3, other5."""
        kinds = self.mixture.clusters
        names = [
            *(f"needle{k}" for k in range(kinds)),
            *(f"alike{k}" for k in range(kinds)),
            *(f"other{j}" for j in range(self.backgrounds)),
        ]
        return [[names[number] for number in row] for row in batch["cluster"].tolist()]
