"""Paths: is there a path of length 2 between two nodes of a random graph?

    A_uv = A_vu ~ Bernoulli(p),  u < v <= n          the graph, fresh for every example
    (s, t) uniform,  s < t                           the question
    y = 1 if A_sv A_vt = 1 for some v, else 0

The n - 2 nodes between are independent, so that P(y = 0) = (1 - p²)^(n-2). Both answers are equally
likely for p = √(1 - 2^(-1/(n-2))). Graph and question determine the answer: the optimum is 1, and
guessing gives 1/2. The question is one token, and each pair of nodes is one, that says whether
there is an edge; which pair it is stands in its id, so that no order is needed.

The negative control of Jelassi et al. 2024 (https://arxiv.org/abs/2410.19034): what reaches the
token of the question about the n - 2 nodes must fit into its width, before any expert sees it.
Wider models do better; more experts of the same width should not. So no router is to be preferred
here, a dense model is as good, and an oracle router has nothing to know.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Any

import torch
import torchmetrics
from annotated_types import Ge
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F
from torchmetrics import Metric, MetricCollection

from moesuite.task import Batch
from moesuite.tasks.diagnostics.world import Splits, World, fresh


@dataclass(frozen=True)
class Graph:
    """A random graph.

    Attributes:
        nodes: number of them, >= 3.
    """

    nodes: Annotated[int, Ge(3)] = 6

    @property
    def pairs(self) -> int:
        """Number of pairs of nodes."""
        return self.nodes * (self.nodes - 1) // 2

    @property
    def edge_probability(self) -> float:
        """Probability of an edge with which both answers are equally likely."""
        return math.sqrt(1 - 2 ** (-1 / (self.nodes - 2)))


def has_path(
    edges: Bool[Tensor, "B P"], question: Int[Tensor, " B"], nodes: int
) -> Bool[Tensor, " B"]:
    """Return whether a path of length 2 joins the pair `question`; pairs are in order of rows."""
    first, second = torch.triu_indices(nodes, nodes, 1)
    adjacency = torch.zeros(len(edges), nodes, nodes, dtype=torch.bool)
    adjacency[:, first, second] = adjacency[:, second, first] = edges
    row = torch.arange(len(edges))
    return (adjacency[row, first[question]] & adjacency[row, second[question]]).any(dim=1)


@dataclass(frozen=True)
class Paths(World):
    """Paths of length 2."""

    graph: Graph

    @property
    def description(self) -> str:
        """Size of the graphs."""
        return (
            f"graphs of {self.graph.nodes} nodes with an edge between two with probability "
            f"{self.graph.edge_probability:.3f}, fresh in every step; half have the path"
        )

    def backbone_arguments(self) -> dict[str, Any]:
        """Return head, classes, vocabulary and length, by Hugging Face's names."""
        return {
            "head": "classification",
            "num_labels": 2,
            "vocab_size": 3 * self.graph.pairs,
            "max_position_embeddings": self.graph.pairs + 1,
        }

    def blank(self) -> dict[str, Tensor]:
        """Return one question and graph."""
        ids = torch.zeros(1, self.graph.pairs + 1, dtype=torch.long, device="meta")
        return {"input_ids": ids}

    def splits(self, seed: int) -> Splits:
        """Draw each graph when it is asked for."""
        pairs = self.graph.pairs

        def draw(numbers: Float[Tensor, "B N"]) -> dict[str, Tensor]:
            edges = numbers[:, :pairs] < self.graph.edge_probability
            question = (pairs * numbers[:, pairs]).long()
            ids = torch.cat(
                [2 * pairs + question[:, None], 2 * torch.arange(pairs) + edges.long()], dim=1
            )
            return {"ids": ids, "answer": has_path(edges, question, self.graph.nodes).long()}

        return fresh(self.sampling, seed, pairs + 1, draw)

    def inputs(self, batch: Batch) -> dict[str, Tensor]:
        """Return the question, then all pairs."""
        return {"input_ids": batch["ids"]}

    def loss(self, output: Any, batch: Batch) -> Tensor:
        """Return the cross-entropy of the answers."""
        return F.cross_entropy(output.logits.float(), batch["answer"])

    def metrics(self) -> dict[str, Metric]:
        """Return the share of right answers."""
        return {"accuracy": torchmetrics.classification.MulticlassAccuracy(2, average="micro")}

    def update(self, metrics: MetricCollection, output: Any, batch: Batch) -> None:
        """Add a batch."""
        metrics["accuracy"].update(output.logits, batch["answer"])

    def shown(self, batch: Batch) -> list[list[str]]:
        """Return the pair that is asked for, then edges as u-v and pairs without one as ·."""
        pairs = torch.triu_indices(self.graph.nodes, self.graph.nodes, 1).T.tolist()
        names = [f"{u}-{v}" for u, v in pairs]
        return [
            [names[row[0] - 2 * len(pairs)] + "?"]
            + [name if value % 2 else "·" for name, value in zip(names, row[1:], strict=True)]
            for row in batch["ids"].tolist()
        ]
