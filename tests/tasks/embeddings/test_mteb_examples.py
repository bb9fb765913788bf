"""Numbers of examples that tasks of mteb score, by hand."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from datasets import Dataset

from moesuite.tasks.embeddings.mteb_examples import scored_examples
from moesuite.tasks.embeddings.pairs import Example, Reading


def rows(**columns: list[Any]) -> Dataset:
    return Dataset.from_dict(columns)


TEN = rows(text=[str(number) for number in range(10)])
SEARCH = {"queries": rows(id=["a", "b", "c"]), "relevant_docs": {"a": {"x": 1}, "c": {"y": 1}}}


def task(dataset: Any, splits: list[str] | None = None, **attributes: Any) -> Any:
    values = {"dataset": dataset, "hf_subsets": ["default"], "eval_splits": splits or ["test"]}
    return SimpleNamespace(**(values | attributes))


@pytest.mark.parametrize(
    ("loaded", "count"),
    [
        (task({"test": rows(sentence1=["a", "b"], sentence2=["c", "d"])}), 2),
        (task({"default": {"test": TEN}}, input_column_name="text"), 10),
        # of two splits and two languages, each counts
        (task({"en": {"test": TEN, "dev": TEN}, "de": {"test": TEN, "dev": TEN}},
              ["dev", "test"], hf_subsets=["en", "de"]), 40),
        # a language that is not in the data is a pair of columns of all rows
        (task({"test": TEN}, hf_subsets=["en-de", "de-en"]), 20),
        (task({"default": {"test": SEARCH}}), 2),  # queries with a relevant document
        # rows of lists: pairs in one row, clusterings of a few texts each
        (task({"test": rows(sentence1=[["a", "b", "c"]])}, input1_column_name="sentence1"), 3),
        (task({"test": rows(sentences=[["a"], ["b", "c"]])}, input_column_name="sentences"), 3),
        (task({"test": TEN}, max_document_to_embed=4), 4),
        (task({"test": TEN}, max_document_to_embed=40), 10),
        (task({"test": TEN}, max_fraction_of_documents_to_embed=0.39), 3),
        (SimpleNamespace(tasks=[task({"test": TEN}), task({"default": {"test": SEARCH}})]), 12),
    ],
)  # fmt: skip
def test_each_scored_example_counts_once(loaded: Any, count: int) -> None:
    assert scored_examples(loaded) == count


def test_the_mean_of_all_is_over_the_examples_of_all() -> None:
    examples = {"test": [Example(("a",), 0.0)]}  # what costs are measured on
    reading = Reading(examples, ["STS12", "STS16"], "sha256:0", "", {"STS12": 3108, "STS16": 1186})
    assert [reading.scored(name) for name in ("STS12", "STS16", "main_score")] == [3108, 1186, 4294]
