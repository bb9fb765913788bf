"""Data sets of texts read from a folder, as the tasks declare them."""

from __future__ import annotations

from pathlib import Path

from moesuite.tasks.embeddings.pairs import Reading, read_examples
from moesuite.tasks.embeddings.sets import TextSets

STS = {"STS12": {"hub": "mteb/sts12-sts", "splits": "test"}, "STSBenchmark": {"hub": "m/stsb"}}
TREC = {"TREC": {"hub": "x/TREC-QC", "label": "label_coarse"}}


def read(kind: str, folder: Path, source: str, names: list[str] | None = None) -> Reading:
    sets: dict[str, dict[str, str]] = STS if kind == "similarity" else TREC
    data = TextSets({} if kind == "search" else sets, names, str(folder / source))
    return read_examples(kind, data, close=4.0)
