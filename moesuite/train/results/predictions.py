"""Predictions on the test split, one row an example, in `<run>/predictions.parquet`.

Rows are of the evaluation that ranks, without a capacity limit; the primary metric of the record
follows from them. `id` names an example in every run on the same data: two files join on it.
All columns by family:

    id              example: path of an image below the source, or row of its split; in a split of
                    several data sets or parts <name>/<row>
    target          what is right: index of the class, the answer or the alternative; a similarity;
                    the id of the document (search)
    prediction      the model's answer, in the same units; the cosine for a similarity
    right           whether it counts as right, for families with such a notion
    scores          image: probability of each class; understanding: logit of each class or log
                    likelihood of each alternative; preferences: utility of each alternative
    answer          understanding: the predicted class or alternative in words
    group           understanding: examples of one question; embeddings: data set
    token_f1, token_exact_match       understanding: credit of the answer (ReCoRD)
    rank, ndcg@10, mrr, recall@1, recall@10    search: place of the right document, and its scores
    expert          preferences: the expert's score of each alternative
    position, tokens, bytes, nats     language, of which a row is a window: its first scored token,
                    number of scored tokens, their bytes at the mean of the split, and their sum of
                    losses; instead of target and prediction, `right` counts tokens predicted right

Two runs, example by example, by the exact McNemar test:

    first, second = (pandas.read_parquet(path).set_index("id") for path in paths)
    both = first.join(second, rsuffix="_second", validate="1:1")
    only_first = int((both.right & ~both.right_second).sum())
    only_second = int((both.right_second & ~both.right).sum())
    scipy.stats.binomtest(only_first, only_first + only_second).pvalue
"""

from __future__ import annotations

import re
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from moesuite.errors import UserError
from moesuite.records.store import atomic
from moesuite.task import Batch, Columns, Task

ID = "id"


class Predictions:
    """Collects the predictions of a task, batch by batch; on several devices of a share each."""

    def __init__(self, task: Task) -> None:
        self.task = task
        self._batches: list[Columns] = []

    def add(self, output: Any, batch: Batch) -> bool:
        """Add a batch; return False if the family has no predictions.

        Raises:
            UserError: for columns of different lengths, or without ids.
        """
        columns = self.task.predictions(output, batch)
        if columns is None:
            return False
        lengths = {name: len(values) for name, values in columns.items()}
        if ID not in lengths or len({*lengths.values()}) != 1:
            raise UserError(
                f"{self.task.name}: predictions of {lengths} rows; expected id and other columns"
                " of equal length"
            )
        self._batches.append(
            {
                name: values.cpu() if isinstance(values, Tensor) else values
                for name, values in columns.items()
            }
        )
        return True

    def gathered(self, rank: int = 0, world: int = 1) -> Columns | None:
        """Return the columns of the whole split on rank 0; elsewhere, or if there are none, None.

        Every process has to call it.
        """
        batches = self._batches
        if world > 1:
            shards: list[Any] | None = [None] * world if rank == 0 else None
            torch.distributed.gather_object(batches, shards)
            batches = list(chain.from_iterable(shards or []))
        if not batches:
            return None
        parts = {name: [batch[name] for batch in batches] for name in batches[0]}
        return self.task.complete_predictions(
            {name: _joined(values) for name, values in parts.items()}
        )


def _joined(parts: list[Any]) -> Any:
    if isinstance(parts[0], Tensor):
        return torch.cat(parts)
    return list(chain.from_iterable(parts))


def write_predictions(path: Path, rows: Predictions | None, rank: int = 0, world: int = 1) -> bool:
    """Write the rows in the order of their ids, or remove those of an earlier run.

    Every process has to call it; rank 0 writes.

    Args:
        path: of the parquet file.
        rows: None if no predictions are asked for.
        rank: of this process.
        world: number of processes.

    Returns:
        Whether there is a file now.
    """
    columns = None if rows is None else rows.gathered(rank, world)
    if rank != 0:
        return columns is not None
    if columns is not None:
        import pyarrow.parquet

        with atomic(path) as part:
            pyarrow.parquet.write_table(_table(columns), part)
        return True
    path.unlink(missing_ok=True)
    if rows is not None:
        print(f"predictions=true: {rows.task.name} gives none by example", file=sys.stderr)
    return False


def _table(columns: Columns) -> Any:
    """Return the arrow table of columns: tensors [N] and [N, K], and sequences of plain values."""
    import pyarrow

    ids = columns[ID]
    order = sorted(range(len(ids)), key=lambda row: _natural(ids[row]))
    arrays = {name: _array(values) for name, values in columns.items() if name != ID}
    table = pyarrow.table({ID: pyarrow.array(list(ids), pyarrow.string()), **arrays}).take(order)
    unique = pyarrow.array(list(_numbered(table[ID].to_pylist())), pyarrow.string())
    return table.set_column(0, ID, unique)


def _array(values: Tensor | Sequence[Any]) -> Any:
    import pyarrow

    if not isinstance(values, Tensor):
        return pyarrow.array(values)
    if values.ndim == 1:
        return pyarrow.array(values.numpy())
    flat = pyarrow.array(values.flatten().numpy())
    return pyarrow.FixedSizeListArray.from_arrays(flat, values.shape[1])


def _natural(name: str) -> str:
    """Return a key that sorts "2" before "10"."""
    return re.sub(r"\d+", lambda number: number[0].zfill(20), name)


def _numbered(ids: Sequence[str]) -> Iterator[str]:
    """Yield ids, a repeated one, as of equal images of a stream, with its number: "x", "x#2"."""
    seen: Counter[str] = Counter()
    for name in ids:
        seen[name] += 1
        yield name if seen[name] == 1 else f"{name}#{seen[name]}"
