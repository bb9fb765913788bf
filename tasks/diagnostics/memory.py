"""Memory: random facts, key -> value, more than a dense model of equal FLOPs can hold.

    k_i ~ N(0, I_D),  v_i ~ uniform{1..D},  i = 1..N        the facts
    x = k_i,  target v_i                                    in random groups of T facts

Trained and tested on the same facts, by design: they have no structure, so that nothing but memory
helps. The data hold N · log2 D bits. A model that gives v_i the probability p_i stores

    bits = max(0, Σ_i (log2 D + log2 p_i)),    stored = bits / (N · log2 D)

which is 0 for guessing and 1 at the optimum, every fact known for sure. One hidden unit for each
key is an oracle: relu(k_i·x - θ |k_i|²) is 0 for all other keys if they are nearly orthogonal.
A dense model stores about two bits per parameter when trained for as long as it takes (Allen-Zhu
and Li 2024, https://arxiv.org/abs/2404.05405), so that one of fewer than half as many parameters
as there are bits stays below 1. Experts add parameters at equal FLOPs: stored should grow with E
(Jelassi et al. 2024, https://arxiv.org/abs/2410.19034).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Any

import torch
import torchmetrics
from annotated_types import Ge
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F
from torchmetrics import Metric, MetricCollection

from moesuite.task import Batch, UserError
from moesuite.tasks.diagnostics.world import Splits, Stored, World, generator


@dataclass(frozen=True)
class Facts:
    """What is to be remembered.

    Attributes:
        facts: number of them, >= 2; a value has as many possibilities as a token has numbers.
    """

    facts: Annotated[int, Ge(2)] = 4096


class Recall(torchmetrics.Metric):
    """Information about the values that a model holds, and how many it names.

    Args:
        facts: number N of facts.
        values: number of possible values.
    """

    surprise: Tensor
    right: Tensor
    total: Tensor

    def __init__(self, facts: int, values: int) -> None:
        super().__init__()
        self.facts = facts
        self.values = values
        self.add_state("surprise", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")
        for state in ("right", "total"):
            self.add_state(state, torch.zeros((), dtype=torch.long), dist_reduce_fx="sum")

    def update(self, logits: Float[Tensor, "*N V"], values: Int[Tensor, "*N"]) -> None:
        """Add facts."""
        flat, target = logits.double().flatten(0, -2), values.flatten()
        self.surprise += F.cross_entropy(flat, target, reduction="sum") / math.log(2)
        self.right += (flat.argmax(dim=-1) == target).sum()
        self.total += target.numel()

    def compute(self) -> dict[str, Tensor]:
        """Return the share of the information that is stored, its bits, and the share recalled."""
        most = math.log2(self.values)
        stored = (1 - self.surprise / self.total / most).clamp(min=0)
        return {
            "stored": stored,
            "stored_bits": stored * self.facts * most,
            "recalled": self.right / self.total,
        }


@dataclass(frozen=True)
class Memory(World):
    """Random facts."""

    memory: Facts

    @property
    def description(self) -> str:
        """Number of facts and their bits."""
        bits = self.memory.facts * math.log2(self.sampling.width)
        return (
            f"{self.memory.facts} random facts of {self.sampling.width} possible values, "
            f"{bits:.0f} bits; trained and tested on the same facts, by design"
        )

    def backbone_arguments(self) -> dict[str, Any]:
        """Return the width of a token."""
        return {"width": self.sampling.width}

    def blank(self) -> Tensor:
        """Return one group of facts."""
        return torch.empty(1, self.sampling.length, self.sampling.width, device="meta")

    def splits(self, seed: int) -> Splits:
        """Draw the facts, and the groups that they stand in; each fact equally often."""
        source, width = generator(seed), self.sampling.width
        if width < 2:
            raise UserError(
                f"task.width={width}: expected at least 2, as a fact has so many possible values, "
                "e.g. task.width=32"
            )
        keys = torch.randn(self.memory.facts, width, generator=source)
        values = torch.randint(width, (self.memory.facts,), generator=source)
        splits = dict[str, Stored]()
        for role in ("train", "val", "test"):
            shape = getattr(self.sampling, role), self.sampling.length
            rounds = math.ceil(math.prod(shape) / self.memory.facts)
            order = [torch.randperm(self.memory.facts, generator=source) for _ in range(rounds)]
            fact = torch.cat(order)[: math.prod(shape)].view(shape)
            splits[role] = Stored(tokens=keys[fact], value=values[fact], fact=fact)
        return splits

    def loss(self, output: Tensor, batch: Batch) -> Tensor:
        """Return the cross-entropy of the values."""
        return F.cross_entropy(output.float().flatten(0, 1), batch["value"].flatten())

    def metrics(self) -> dict[str, Metric]:
        """Return the information that is stored."""
        return {"recall": Recall(self.memory.facts, self.sampling.width)}

    def update(self, metrics: MetricCollection, output: Tensor, batch: Batch) -> None:
        """Add a batch."""
        metrics["recall"].update(output, batch["value"])

    def shown(self, batch: Batch) -> list[list[str]]:
        """Return the number of each fact."""
        return [[f"f{fact}" for fact in row] for row in batch["fact"].tolist()]
