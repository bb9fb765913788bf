"""Embeddings of single examples, and what follows from those of a whole split, as columns."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

import torch
from jaxtyping import Int
from torch import Tensor

from moesuite.task import Columns
from moesuite.tasks.embeddings.pairs import Example, Reading
from moesuite.tasks.embeddings.scores import SEARCH, Embedded, places, probed, searches

FIELDS = tuple(Embedded.__dataclass_fields__)


def embedded_rows(numbers: Int[Tensor, " N"], embedded: Embedded) -> Columns:
    """Return the embeddings of a batch of examples of the test split, by their numbers there."""
    return {"id": [str(number) for number in numbers.tolist()], **vars(embedded)}


def scored_rows(kind: str, columns: Columns, reading: Reading) -> Columns:
    """Return the columns of a kind of evaluation from the embeddings of the whole test split."""
    embedded = Embedded(*(columns[name] for name in FIELDS))
    all_ids = list(_ids(reading.roles["test"], reading.names))
    ids = [all_ids[int(number)] for number in columns["id"]]
    if kind == "search":
        return _search(embedded, ids)
    groups = [reading.names[group] for group in embedded.group.tolist()]
    if kind == "classification":
        return _probe(embedded, ids, groups)
    cosine = (embedded.first * embedded.second).sum(dim=1)
    return {"id": ids, "target": embedded.target, "prediction": cosine, "group": groups}


def _ids(examples: Sequence[Example], names: Sequence[str]) -> Iterator[str]:
    """Yield the row of each example in its split, after the name of its data set."""
    rows: Counter[tuple[int, bool]] = Counter()
    for example in examples:
        split = example.group, example.scored
        yield f"{names[example.group]}/{rows[split]}" if names else str(rows[split])
        rows[split] += 1


def _search(embedded: Embedded, ids: list[str]) -> Columns:
    similarity = embedded.first @ embedded.second.T
    nearest = similarity.argmax(dim=1)
    higher, tied = places(embedded)
    rank = torch.from_numpy(higher + (tied + 1) / 2)  # the mean place of what is tied
    return {
        "id": ids,
        "target": ids,
        "prediction": [ids[document] for document in nearest.tolist()],
        "right": rank == 1,
        "rank": rank,
        **dict(zip(SEARCH, torch.from_numpy(searches(embedded)).T, strict=True)),
    }


def _probe(embedded: Embedded, ids: list[str], groups: list[str]) -> Columns:
    rows: list[int] = []
    classes: list[int] = []
    for name in dict.fromkeys(groups):
        members = torch.tensor([group == name for group in groups])
        part = Embedded(*(getattr(embedded, field)[members] for field in FIELDS))
        rows += torch.nonzero(members & embedded.scored).flatten().tolist()
        classes += probed(part).tolist()
    target = embedded.target[rows].int()
    return {
        "id": [ids[row] for row in rows],
        "target": target,
        "prediction": classes,
        "right": target == torch.tensor(classes),
        "group": [groups[row] for row in rows],
    }
