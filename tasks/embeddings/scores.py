"""Scores of embeddings: search, rank correlation with similarity, and a linear probe.

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
SEARCH = (f"ndcg@{CUTOFF}", "mrr", "recall@1", f"recall@{CUTOFF}")
TIED = 1e-6  # cosines that differ by no more are rounded ones of equal texts
PROBE_STEPS = 1000  # of L-BFGS at most


@dataclass(frozen=True)
class Embedded:
    """Embedded examples, in any order.

    Attributes:
        first: vectors [N, D] of the first text of each example.
        second: vectors [N, D] of the second one, or again of the first where there is only one.
        target: [N], as in `Example`.
        group: [N], as in `Example`.
        scored: [N], as in `Example`.
    """

    first: Tensor
    second: Tensor
    target: Tensor
    group: Tensor
    scored: Tensor


def search(embedded: Embedded) -> Scores:
    """Return nDCG, mean reciprocal rank and recall of search."""
    return dict(zip(SEARCH, searches(embedded).mean(axis=0).tolist(), strict=True))


def searches(embedded: Embedded) -> np.ndarray:
    """Return the scores of each search [N, 4].

    Each first text is a query, and its second text the only answer among all second texts. Where
    others are as similar, as equal texts are, a score is its mean over all orders of the tied.
    """
    higher, tied = places(embedded)
    places_ = np.arange(1, len(higher) + 1)
    gains = np.stack(
        [
            (places_ <= CUTOFF) / np.log2(places_ + 1),
            1 / places_,
            places_ <= 1,
            places_ <= CUTOFF,
        ],
        axis=1,
    )
    sums = np.concatenate([np.zeros((1, len(SEARCH))), gains.cumsum(axis=0)])
    return (sums[higher + tied] - sums[higher]) / tied[:, None]


def places(embedded: Embedded) -> tuple[np.ndarray, np.ndarray]:
    """Return how many documents are more similar to each query [N] than its answer, and as much.

    The answer itself is among the latter, which is at least 1.
    """
    similarity = (embedded.first @ embedded.second.T).numpy()
    ahead = similarity - similarity.diagonal()[:, None]
    return (ahead > TIED).sum(axis=1), (np.abs(ahead) <= TIED).sum(axis=1)


def spearman(embedded: Embedded) -> float:
    """Return the rank correlation of cosine and score."""
    from scipy.stats import spearmanr

    cosine = (embedded.first * embedded.second).sum(dim=1)
    return float(spearmanr(cosine.numpy(), embedded.target.numpy()).statistic)


def probe(embedded: Embedded) -> float:
    """Return the accuracy of a probe."""
    targets = embedded.target[embedded.scored].numpy().astype(int)
    return float((probed(embedded) == targets).mean())


def probed(embedded: Embedded) -> np.ndarray:
    """Return the classes of the scored examples by logistic regression, fitted on the others."""
    from sklearn.linear_model import LogisticRegression

    x = embedded.first.double().numpy()
    y = embedded.target.numpy().astype(int)
    scored = embedded.scored.numpy()
    model = LogisticRegression(max_iter=PROBE_STEPS).fit(x[~scored], y[~scored])
    return np.asarray(model.predict(x[scored]))


def by_set(
    name: str, score: Callable[[Embedded], float], sets: list[str]
) -> Callable[[Embedded], Scores]:
    """Return a function that scores each data set, and their mean under `name`."""

    def scores(embedded: Embedded) -> Scores:
        each = {}
        for group, set_name in enumerate(sets):
            rows = embedded.group == group
            columns = (getattr(embedded, key)[rows] for key in Embedded.__dataclass_fields__)
            each[set_name] = score(Embedded(*columns))
        return {name: float(np.mean(list(each.values()))), **each}

    return scores


class Collected(Metric):
    """Collects the embeddings of a split from all processes, and scores them together."""

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

    def update(self, embedded: Embedded) -> None:
        """Add the examples of a batch."""
        for key in Embedded.__dataclass_fields__:
            getattr(self, key).append(getattr(embedded, key))

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
    """Return the nDCG of BM25 (Lucene's form), the control of search.

    The only answer to each query is its own document.
    """
    # where JAX is installed bm25s starts it on import, which takes three quarters of a GPU's memory
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    import bm25s

    retriever = bm25s.BM25()
    retriever.index(bm25s.tokenize(list(documents), show_progress=False), show_progress=False)
    wanted = bm25s.tokenize(list(queries), show_progress=False)
    count = min(CUTOFF, len(documents))
    results = retriever.retrieve(wanted, k=count, show_progress=False, backend_selection="numpy")
    hits = (results.documents == np.arange(len(queries))[:, None]) & (results.scores > 0)
    return float((hits / np.log2(np.arange(hits.shape[1]) + 2)).sum(axis=1).mean())
