"""Number of examples that a task of mteb scores: pairs, queries or texts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

# attributes of mteb's tasks that name a column of texts; a cell may hold a list of them
COLUMNS = ("input_column_name", "input1_column_name")


def scored_examples(task: Any) -> int:
    """Return the number of examples that a loaded task scores, over all its splits and languages.

    Of search they are queries, of clustering as many texts as are drawn.
    """
    if parts := getattr(task, "tasks", None):  # a task made of others
        return sum(map(scored_examples, parts))
    if hasattr(task, "convert_v1_dataset_format_to_v2"):
        task.convert_v1_dataset_format_to_v2(num_proc=None)
    return sum(_count(task, data) for data in _splits(task))


def _splits(task: Any) -> Iterator[Any]:
    for subset in task.hf_subsets or task.dataset:
        data = task.dataset.get(subset, task.dataset)
        yield from (data[split] for split in task.eval_splits)


def _count(task: Any, data: Any) -> int:
    if isinstance(data, Mapping):
        return len(data["relevant_docs"])
    named = (getattr(task, attribute, None) for attribute in COLUMNS)
    column = next((name for name in named if name in data.column_names), None)
    if column is not None and len(data) and isinstance(data[0][column], list):
        return sum(len(cell) for cell in data[column])
    limits = [len(data)]
    if most := getattr(task, "max_document_to_embed", None):
        limits.append(most)
    if share := getattr(task, "max_fraction_of_documents_to_embed", None):
        limits.append(int(share * len(data)))
    return min(limits)
