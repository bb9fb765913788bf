"""Composition: two of F functions applied in turn, seen in some pairs only, tested in the others.

    x = (z, code_a, code'_b)               z ~ N(0, I) of D / 2 numbers, codes of length √(D / 4)
    u = z + T_a(z),  v = u + T_b(u)        T_1 … T_F: random networks, see planted experts
    y = v - z + blur · ε                   what the first half of the output adds to z

A token says which functions are meant. Pairs with (b - a) mod F < seen are trained on: each
function is seen in either place, with `seen` partners. Half of the test sequences are of such
pairs, half of all others.

The optimum is v - z, of seen and unseen pairs alike, as nothing else is hidden. Two layers with
residuals represent it if experts are functions: expert a of the first adds T_a(z) to z, expert b of
the second T_b(u) to u; the oracle routes the first by a and the second by b. Experts that are pairs
fit what is seen, and say nothing of other pairs: trained under that oracle routing, experts lose
about 0.1 on unseen pairs, and about 1 where each layer is routed by the other one's function.

`excess_loss` is of unseen pairs, `excess_seen` of seen ones; `nmi_first` and `nmi_second` tell
whether the experts of the first layer are the functions a, and those of the last the functions b.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from annotated_types import Ge
from jaxtyping import Float, Int
from torch import Generator, Tensor
from torch.nn import functional as F
from torchmetrics import Metric, MetricCollection

from moesuite.task import Batch, UserError
from moesuite.tasks.diagnostics.planted import OfVectors, Teachers, directions
from moesuite.tasks.diagnostics.scores import Excess, Specialisation
from moesuite.tasks.diagnostics.world import Mass, Splits, Stored, generator


@dataclass(frozen=True)
class Functions:
    """What is composed.

    Attributes:
        functions: number of them, >= 2.
        seen: partners of each function in training, >= 1, fewer than functions.
        function_units: hidden units of a function, >= 1.
        blur: standard deviation of the noise of targets, >= 0.
    """

    functions: Annotated[int, Ge(2)] = 8
    seen: Annotated[int, Ge(1)] = 4
    function_units: Annotated[int, Ge(1)] = 8
    blur: Annotated[float, Ge(0)] = 0.1


@dataclass(frozen=True)
class Codes:
    """What is hidden: the functions, and the codes that name them in either place."""

    teachers: Teachers
    first: Float[Tensor, "F Q"]
    second: Float[Tensor, "F Q"]

    def composed(
        self, z: Float[Tensor, "*N H"], first: Int[Tensor, "*N"], second: Int[Tensor, "*N"]
    ) -> Float[Tensor, "*N H"]:
        """Return (1 + T_b)(1 + T_a) z - z."""
        v = z
        for chosen in (first, second):
            added = torch.zeros_like(z)
            for number in range(len(self.first)):
                added[chosen == number] = self.teachers(number, v[chosen == number])
            v = v + added
        return v - z


@dataclass(frozen=True)
class Composition(OfVectors):
    """Two functions in turn, in pairs that were seen and in pairs that were not."""

    composed: Functions
    observes_routing: ClassVar[bool] = True

    @property
    def description(self) -> str:
        """Number of pairs."""
        count, seen = self.composed.functions, self.composed.seen
        return f"two of {count} functions in turn, {count * seen} of {count**2} pairs seen"

    @property
    def quarter(self) -> int:
        """Numbers of a code, half of a function's; raises `UserError` for an impossible option."""
        width, count, seen = self.sampling.width, self.composed.functions, self.composed.seen
        if width % 4 or seen >= count:
            raise UserError(
                f"task.width={width} task.functions={count} task.seen={seen}: expected a width "
                "that 4 divides, and fewer seen partners than functions, "
                "e.g. task.width=32 task.functions=8 task.seen=4"
            )
        return width // 4

    def hidden(self, source: Generator) -> Codes:
        """Draw functions and codes."""
        number, quarter = self.composed.functions, self.quarter
        teachers = Teachers.draw(number, 2 * quarter, self.composed.function_units, source)
        first, second = (math.sqrt(quarter) * directions(number, quarter, source) for _ in range(2))
        return Codes(teachers, first, second)

    def splits(self, seed: int) -> Splits:
        """Draw functions and tokens."""
        source = generator(seed)
        hidden = self.hidden(source)
        splits = {}
        for role in ("train", "val", "test"):
            size = getattr(self.sampling, role)
            unseen = torch.arange(size) >= (size if role == "train" else size - size // 2)
            splits[role] = Stored(**self._drawn(hidden, unseen, source), unseen=unseen)
        return splits

    def _drawn(self, hidden: Codes, unseen: Tensor, source: Generator) -> dict[str, Tensor]:
        """Draw a sequence of seen or unseen pairs for each entry of `unseen` [N]."""
        shape = len(unseen), self.sampling.length
        count, seen, quarter = self.composed.functions, self.composed.seen, self.quarter
        first = torch.randint(count, shape, generator=source)
        apart = torch.where(
            unseen[:, None],
            torch.randint(seen, count, shape, generator=source),
            torch.randint(seen, shape, generator=source),
        )
        second = (first + apart) % count
        z = torch.randn(*shape, 2 * quarter, generator=source)
        parts = [z, hidden.first[first], hidden.second[second]]
        optimum = hidden.composed(z, first, second)
        noise = self.composed.blur * torch.randn(optimum.shape, generator=source)
        return {
            "tokens": torch.cat(parts, dim=-1),
            "target": optimum + noise,
            "optimum": optimum,
            "first": first,
            "second": second,
        }

    def loss(self, output: Tensor, batch: Batch) -> Tensor:
        """Return the mean squared error of what the first half adds."""
        return F.mse_loss(self._added(output, batch), batch["target"])

    def _added(self, output: Tensor, batch: Batch) -> Tensor:
        half = slice(2 * self.quarter)
        return output[..., half].float() - batch["tokens"][..., half]

    def metrics(self) -> dict[str, Metric]:
        """Return the loss of unseen and seen pairs, and what experts are."""
        return {
            "unseen": Excess("excess_loss"),
            "seen": Excess("excess_seen"),
            "first": Specialisation("_first"),
            "second": Specialisation("_second"),
        }

    def update(self, metrics: MetricCollection, output: Tensor, batch: Batch) -> None:
        """Add a batch."""
        added = self._added(output, batch)
        for name, rows in (("unseen", batch["unseen"]), ("seen", ~batch["unseen"])):
            metrics[name].update(added[rows], batch["optimum"][rows])

    def observe(
        self, metrics: MetricCollection, dispatched: Mass, combined: Mass, batch: Batch
    ) -> None:
        """Add the routing of the first and the last MoE layer."""
        metrics["first"].update(combined[0], batch["first"])
        metrics["second"].update(combined[-1], batch["second"])

    def shown(self, batch: Batch) -> list[list[str]]:
        """Return the pair of each token: 2 then 5 as 2-5."""
        rows = zip(batch["first"].tolist(), batch["second"].tolist(), strict=True)
        return [[f"{a}-{b}" for a, b in zip(*row, strict=True)] for row in rows]
