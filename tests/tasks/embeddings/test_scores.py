"""Scores of search, similarity and probes, against scikit-learn and by hand."""

from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr
from sklearn.metrics import ndcg_score
from torch.nn import functional as F

from moesuite.tasks.embeddings import scores
from moesuite.tasks.embeddings.pairs import Example, Reading
from moesuite.tasks.embeddings.predictions import scored_rows
from moesuite.tasks.embeddings.task import Embeddings
from tests.tasks.local_data import search_folder


def embedded(count: int = 30, width: int = 8, classes: int = 3) -> scores.Embedded:
    generator = torch.Generator().manual_seed(0)
    first, second = (
        F.normalize(torch.randn(count, width, generator=generator), dim=1) for _ in range(2)
    )
    target = torch.randint(classes, (count,), generator=generator).double()
    return scores.Embedded(
        first, second, target, torch.arange(count) % 2, torch.arange(count) >= count // 2
    )


def test_search_is_that_of_scikit_learn_and_of_ranks() -> None:
    found = embedded()
    figures = scores.search(found)
    similarity = (found.first @ found.second.T).numpy()
    assert figures["ndcg@10"] == pytest.approx(ndcg_score(np.eye(30), similarity, k=10), abs=1e-6)
    ranks = (similarity >= similarity.diagonal()[:, None]).sum(axis=1)
    assert figures["mrr"] == pytest.approx((1 / ranks).mean(), abs=1e-6)
    assert figures["recall@1"] == pytest.approx((ranks == 1).mean(), abs=1e-6)
    assert figures["recall@10"] == pytest.approx((ranks <= 10).mean(), abs=1e-6)


def test_search_among_equal_documents_by_hand() -> None:
    # the answer shares places 1 and 2, or 2 and 3, with an equal document; the last is alone
    answers = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    first = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
    found = scores.Embedded(first, answers, torch.arange(3), torch.zeros(3), torch.ones(3).bool())
    figures = dict(zip(scores.SEARCH, scores.searches(found).T.tolist(), strict=True))
    second_place = 1 / math.log2(3)
    assert figures["ndcg@10"] == pytest.approx(
        [(1 + second_place) / 2, (second_place + 0.5) / 2, 1]
    )
    assert figures["mrr"] == pytest.approx([0.75, (1 / 2 + 1 / 3) / 2, 1])
    assert figures["recall@1"] == [0.5, 0, 1] and figures["recall@10"] == [1, 1, 1]
    columns = {"id": ["0", "1", "2"], **vars(found)}
    examples = [Example(("query", "document"), 0.0)] * 3
    rows = scored_rows("search", columns, Reading({"test": examples}, [], "", ""))
    assert rows["rank"].tolist() == [1.5, 2.5, 1] and rows["right"].tolist() == [False, False, True]


def test_similarity_and_probe_by_set() -> None:
    found = embedded()
    cosine, even = (found.first * found.second).sum(dim=1), torch.arange(30) % 2 == 0
    figures = scores.by_set("spearman", scores.spearman, ["a", "b"])(found)
    assert figures["a"] == pytest.approx(spearmanr(cosine[even], found.target[even]).statistic)
    assert figures["spearman"] == pytest.approx((figures["a"] + figures["b"]) / 2)
    # vectors that show their class are separated; the fitted rows are not counted
    shown = F.one_hot(found.target.long(), 3).float()
    clear = scores.Embedded(shown, shown, found.target, found.group, found.scored)
    assert scores.probe(clear) == 1.0
    wrong = scores.Embedded(
        shown,
        shown,
        torch.where(found.scored, (found.target + 1) % 3, found.target),
        *[found.group, found.scored],
    )
    assert scores.probe(wrong) == 0.0


def test_bm25_by_hand() -> None:
    # two queries share a word with their own document only, which stands first: 1 / log2(1 + 1);
    # the last one with none
    score = scores.bm25(
        ["red fox", "blue whale", "nothing here"], ["the fox runs", "a whale swims", "stones"]
    )
    assert score == pytest.approx(2 / 3, abs=1e-6)


def test_the_loss_by_hand(tmp_path: Path) -> None:
    task = Embeddings.from_options(source=str(search_folder(tmp_path)), temperature=0.5)
    # cosines of the first text with the two second ones: 1 and 0; of the other: 0 and 1; over 0.5:
    # logits 2 and 0
    hidden = torch.tensor([[[1.0, 0.0]], [[0.0, 1.0]], [[1.0, 0.0]], [[0.0, 1.0]]])
    batch = {
        "attention_mask": torch.ones(4, 1, dtype=torch.long),
        "target": torch.tensor([0.0, 1.0]),
        "group": torch.zeros(2),
        "scored": torch.ones(2, dtype=torch.bool),
    }
    output = SimpleNamespace(last_hidden_state=hidden)
    assert task.loss(output, batch).item() == pytest.approx(math.log(1 + math.exp(-2)))
    # of the same class, the other text is no negative: nothing is left to confuse
    assert task.loss(output, {**batch, "target": torch.tensor([1.0, 1.0])}).item() == 0
