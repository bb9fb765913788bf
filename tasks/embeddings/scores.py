"""What embeddings are worth: how well they find, how well they order, how well a line separates them.

Each function takes vectors [N, D] of unit length; similarity is their cosine.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torchmetrics import Metric

Scores = dict[str, float]
CUTOFF = 10
PROBE_STEPS = 1000  # of L-BFGS at most


@dataclass(frozen=True)
class Embedded:
    """Embedded examples, in any order.

    Attributes:
        first, second: vectors [N, D] of the examples' texts; the same where they have one.
        target, group, scored: [N], as in `Example`.
    """

    first: Tensor
    second: Tensor
    target: Tensor
    group: Tensor
    scored: Tensor


def search(found: Embedded) -> Scores:
    """Each first text is a query, its own second text the answer among all: nDCG, mean reciprocal rank, recall."""
    from torchmetrics.functional.retrieval import (
        retrieval_normalized_dcg,
        retrieval_recall,
        retrieval_reciprocal_rank,
    )

    similarity = (
        found.first @ found.second.T + 2
    )  # torchmetrics takes what is not positive for not found
    rows: list[list[float]] = []
    for row, scores in enumerate(similarity):
        answer = torch.zeros(len(scores), dtype=torch.long)
        answer[row] = 1
        rows.append(
            [
                float(retrieval_normalized_dcg(scores, answer, top_k=CUTOFF)),
                float(retrieval_reciprocal_rank(scores, answer)),
                float(retrieval_recall(scores, answer, top_k=1)),
                float(retrieval_recall(scores, answer, top_k=CUTOFF)),
            ]
        )
    names = (f"ndcg@{CUTOFF}", "mrr", "recall@1", f"recall@{CUTOFF}")
    return dict(zip(names, np.mean(rows, axis=0).tolist(), strict=True))


def spearman(found: Embedded) -> float:
    """Return the rank correlation of cosine and score."""
    from scipy.stats import spearmanr

    cosine = (found.first * found.second).sum(dim=1)
    return float(spearmanr(cosine.numpy(), found.target.numpy()).statistic)


def probe(found: Embedded) -> float:
    """Return the accuracy of logistic regression, fitted on the examples that are not scored."""
    from sklearn.linear_model import LogisticRegression

    x, y, scored = (
        found.first.double().numpy(),
        found.target.numpy().astype(int),
        found.scored.numpy(),
    )
    model = LogisticRegression(max_iter=PROBE_STEPS).fit(x[~scored], y[~scored])
    return float(model.score(x[scored], y[scored]))


def by_set(
    name: str, score: Callable[[Embedded], float], sets: list[str]
) -> Callable[[Embedded], Scores]:
    """Return a function that scores every data set by itself, and their mean under `name`."""

    def scores(found: Embedded) -> Scores:
        each = {}
        for group, own in enumerate(sets):
            rows = found.group == group
            each[own] = score(
                Embedded(*(getattr(found, key)[rows] for key in Embedded.__dataclass_fields__))
            )
        return {name: float(np.mean(list(each.values()))), **each}

    return scores


class Collected(Metric):
    """Keeps the embeddings of a whole split, of all processes, and scores them together."""

    first: list[Tensor]
    second: list[Tensor]
    target: list[Tensor]
    group: list[Tensor]
    scored: list[Tensor]

    def __init__(self, score: Callable[[Embedded], Scores]) -> None:
        super().__init__()
        self.score = score
        for key in Embedded.__dataclass_fields__:
            self.add_state(key, default=[], dist_reduce_fx="cat")

    def update(self, found: Embedded) -> None:
        """Add the examples of a batch."""
        for key in Embedded.__dataclass_fields__:
            getattr(self, key).append(getattr(found, key))

    def compute(self) -> dict[str, Tensor]:
        """Return all scores by name."""
        parts = (getattr(self, key) for key in Embedded.__dataclass_fields__)
        whole = Embedded(
            *(torch.cat(part).cpu() if isinstance(part, list) else part.cpu() for part in parts)
        )
        return {
            name: torch.tensor(value, dtype=torch.float64)
            for name, value in self.score(whole).items()
        }


def bm25(queries: Sequence[str], documents: Sequence[str]) -> float:
    """Return the nDCG of BM25 (Lucene's form), where the answer to each query is its own document: the control."""
    # where JAX is installed bm25s starts it on import, which takes three quarters of a GPU's memory
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    import bm25s

    retriever = bm25s.BM25()
    retriever.index(bm25s.tokenize(list(documents), show_progress=False), show_progress=False)
    wanted = bm25s.tokenize(list(queries), show_progress=False)
    count = min(CUTOFF, len(documents))
    found = retriever.retrieve(wanted, k=count, show_progress=False, backend_selection="numpy")
    hits = (found.documents == np.arange(len(queries))[:, None]) & (found.scores > 0)
    return float((hits / np.log2(np.arange(hits.shape[1]) + 2)).sum(axis=1).mean())
