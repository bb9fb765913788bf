"""A text and small models for it."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from moesuite.tasks.language.task import Language

TEXT = "\n".join(f"line {number}: to be or not to be, naïve façade" for number in range(200))
BOOK = f"task.source={argparse.__file__}"  # 100 kB of the standard library
SMALL = (
    "backbone.kwargs.n_embd=32",
    "backbone.kwargs.n_layer=2",
    "backbone.kwargs.n_head=2",
    "task.length=32",
)


def language(tmp_path: Path, **options: Any) -> Language:
    path = tmp_path / "text.txt"
    path.write_text(TEXT, encoding="utf-8")
    task = Language.from_options(**{"name": "t", "source": str(path), "length": 16, **options})
    task.prepare()
    return task
