"""Tables of texts in the formats that people have."""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from datasets import Dataset

Rows = Sequence[Mapping[str, Any]]


def pairs(start: int, count: int, top: float = 5.0) -> list[dict[str, Any]]:
    """Return pairs whose scores go down from the top."""
    numbers = range(start, start + count)
    return [
        {"sentence1": f"a {n}", "sentence2": f"b {n}", "score": top - (n - start)} for n in numbers
    ]


def texts(start: int, *labels: Any, name: str = "label") -> list[dict[str, Any]]:
    return [{"text": f"text {start + row}", name: label} for row, label in enumerate(labels)]


def write(file: Path, rows: Rows) -> None:
    """Write rows in the format of a file's name."""
    file.parent.mkdir(parents=True, exist_ok=True)
    table = Dataset.from_list([dict(row) for row in rows])
    match file.name.split(".")[1]:
        case "csv" | "tsv" as suffix:
            sep = "," if suffix == "csv" else "\t"
            text = table.to_pandas().to_csv(index=False, sep=sep)
            file.write_bytes(
                gzip.compress(text.encode()) if file.suffix == ".gz" else text.encode()
            )
        case "jsonl":
            file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        case "json":
            file.write_text(json.dumps(list(rows)), encoding="utf-8")
        case "parquet":
            table.to_parquet(str(file))


def renamed(rows: Rows, *names: str) -> list[dict[str, Any]]:
    return [dict(zip(names, row.values(), strict=True)) for row in rows]
