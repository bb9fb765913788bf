"""Future: the next symbol is independent of all before it, so that only a look ahead predicts it.

    x_1, ..., x_{T+1} ~ uniform{1..V}, independent, drawn anew for every example of every epoch
    predict x_{t+1} from x_1, ..., x_t

No causal model is better than 1 / V for each symbol: its cross-entropy, a mean over all data, is at
least the entropy log2 V, and a dense model that has learned to guess is there. Nothing can be
memorised. What is below is stolen from the future,

    stolen = max(0, log2 V - cross-entropy in bits),

by a router whose choice or mixture for a token depends on later ones: whether an expert chose it
tells how it ranks among all. Routers that look ahead need `allow_noncausal=true`. Positions are
rotary (LLaMA): with learned ones expert choice soon prefers positions to symbols and tells nothing.
Short sequences tell more, as one token is more of the competition.

The test has an error of sampling: `stolen_bits_half` is half of the 95 % interval of
log2 V - cross-entropy over sequences.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import torch
import torchmetrics
from annotated_types import Ge
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F
from torchmetrics import Metric, MetricCollection

from moesuite.task import Batch
from moesuite.tasks.diagnostics.world import Splits, World, fresh


@dataclass(frozen=True)
class Symbols:
    """What is to be guessed.

    Attributes:
        symbols: number V of equally likely symbols, >= 2.
    """

    symbols: Annotated[int, Ge(2)] = 8


class Stolen(torchmetrics.Metric):
    """Bits by which predictions are better than the entropy of what they predict.

    Args:
        symbols: number of equally likely symbols.
    """

    gain: Tensor
    square: Tensor
    total: Tensor

    def __init__(self, symbols: int) -> None:
        super().__init__()
        self.symbols = symbols
        for state in ("gain", "square"):
            self.add_state(state, torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("total", torch.zeros((), dtype=torch.long), dist_reduce_fx="sum")

    def update(self, logits: Float[Tensor, "B T V"], target: Int[Tensor, "B T"]) -> None:
        """Add sequences; those are independent, their tokens are not."""
        surprise = F.cross_entropy(logits.double().mT, target, reduction="none") / math.log(2)
        gains = math.log2(self.symbols) - surprise.mean(dim=1)
        self.gain += gains.sum()
        self.square += gains.square().sum()
        self.total += len(gains)

    def compute(self) -> dict[str, Tensor]:
        """Return stolen bits for each symbol, and half of the 95 % interval before the cut at 0."""
        mean = self.gain / self.total
        variance = (self.square / self.total - mean.square()).clamp(min=0)
        return {
            "stolen_bits": mean.clamp(min=0),
            "stolen_bits_half": 1.96 * (variance / self.total).sqrt(),
        }


@dataclass(frozen=True)
class Future(World):
    """Symbols that nothing before them predicts."""

    future: Symbols
    causal: ClassVar[bool] = True

    @property
    def description(self) -> str:
        """Number of symbols and their entropy."""
        symbols = self.future.symbols
        return (
            f"sequences of {self.sampling.length + 1} of {symbols} equally likely symbols, fresh "
            f"in every step; entropy {math.log2(symbols):.3f} bits"
        )

    def backbone_arguments(self) -> dict[str, Any]:
        """Return head, vocabulary and length, by Hugging Face's names."""
        return {
            "head": "causal",
            "vocab_size": self.future.symbols,
            "max_position_embeddings": self.sampling.length,
        }

    def blank(self) -> dict[str, Tensor]:
        """Return one sequence."""
        return {"input_ids": torch.zeros(1, self.sampling.length, dtype=torch.long, device="meta")}

    def splits(self, seed: int) -> Splits:
        """Draw each example when it is asked for."""

        def draw(numbers: Float[Tensor, "B N"]) -> dict[str, Tensor]:
            return {"symbols": (self.future.symbols * numbers).long()}

        return fresh(self.sampling, seed, self.sampling.length + 1, draw)

    def inputs(self, batch: Batch) -> dict[str, Tensor]:
        """Return all symbols but the last."""
        return {"input_ids": batch["symbols"][:, :-1]}

    def loss(self, output: Any, batch: Batch) -> Tensor:
        """Return the cross-entropy of all symbols but the first."""
        return F.cross_entropy(output.logits.float().mT, batch["symbols"][:, 1:])

    def metrics(self) -> dict[str, Metric]:
        """Return the stolen bits."""
        return {"stolen": Stolen(self.future.symbols)}

    def update(self, metrics: MetricCollection, output: Any, batch: Batch) -> None:
        """Add a batch."""
        metrics["stolen"].update(output.logits.float(), batch["symbols"][:, 1:])

    def shown(self, batch: Batch) -> list[list[str]]:
        """Return the symbols that the model sees."""
        return [[str(symbol) for symbol in row[:-1]] for row in batch["symbols"].tolist()]
