"""Scores of GLUE and SuperGLUE against scikit-learn and by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from moesuite.tasks.understanding import answers
from moesuite.tasks.understanding.answers import Question, credit, scores


def question(answer: float = 0.0, **changed: Any) -> Question:
    return Question(
        **{
            "prompt": "",
            "pairs": (("",),),
            "alternatives": ("a", "b"),
            "answer": answer,
            "words": "a",
            **changed,
        }
    )


def test_metrics_are_those_of_scikit_learn() -> None:
    from sklearn.metrics import f1_score, matthews_corrcoef

    draw = np.random.default_rng(0)
    right, given = draw.integers(0, 2, 50).astype(float), draw.integers(0, 2, 50).astype(float)
    asked = [question(answer) for answer in right]
    found = scores(given, asked, ["accuracy", "f1", "f1_macro", "matthews"])
    assert found["accuracy"] == (right == given).mean() and found["f1"] == pytest.approx(
        f1_score(right, given)
    )
    assert found["f1_macro"] == pytest.approx(f1_score(right, given, average="macro"))
    assert found["matthews"] == pytest.approx(matthews_corrcoef(right, given))
    assert found["score"] == pytest.approx(
        np.mean([value for name, value in found.items() if name != "score"])
    )


def test_correlations_of_scores() -> None:
    asked = [question(answer) for answer in (0.0, 1.0, 2.0, 4.0)]
    found = scores(np.array([0.0, 1.0, 8.0, 9.0]), asked, ["pearson", "spearman"])
    assert found["spearman"] == 1 and found["pearson"] == pytest.approx(
        np.corrcoef([0, 1, 8, 9], [0, 1, 2, 4])[0, 1]
    )
    assert scores(np.ones(4), asked, ["pearson", "spearman"])["score"] == 0  # and not NaN


def test_metrics_of_groups_parts_and_words_by_hand() -> None:
    asked = [question(1.0, group="x"), question(0.0, group="x"), question(1.0, group="y", part=1)]
    given = np.array([1.0, 1.0, 1.0])
    assert scores(given, asked, ["exact_match"]) == {"exact_match": 0.5}
    assert scores(given, asked, ["accuracy"]) == {"accuracy": 0.5}
    assert scores(given, asked, ["accuracy_mismatched"]) == {"accuracy_mismatched": 1.0}
    counted = [
        answers.count(name, asked)
        for name in ("exact_match", "accuracy", "accuracy_mismatched", "f1")
    ]
    assert counted == [2, 2, 1, 3]
    assert credit("The old, city", ["an Old town", "house"]) == (0.5, 0.0)
    assert credit("the Pope!", ["Pope", "a man"]) == (1.0, 1.0)
    one = question(0.0, credits=((1.0, 1.0), (0.5, 0.0)))
    assert scores(np.array([1.0]), [one], ["token_f1", "token_exact_match"])["score"] == 0.25
