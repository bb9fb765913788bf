"""Small local copies of data sets in the hub's schemas, and the words of models that fit them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from datasets import Dataset

TINY_BERT = [
    "backbone=bert_mini",
    *(
        f"backbone.kwargs.{key}"
        for key in (
            "hidden_size=32",
            "intermediate_size=64",
            "num_hidden_layers=2",
            "num_attention_heads=2",
        )
    ),
]
BYTES = ["task.tokenizer=byte", "task.length=24"]


def parquet(folder: Path, **splits: dict[str, list[Any]]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for split, columns in splits.items():
        Dataset.from_dict(columns).to_parquet(str(folder / f"{split}.parquet"))
    return folder


def sentences(count: int, start: int = 0) -> list[str]:
    return [f"text number {number} of many" for number in range(start, start + count)]


def search_folder(folder: Path) -> Path:
    return parquet(
        folder,
        train={"query": sentences(40), "document": [f"answer {n}" for n in range(40)]},
        test={"query": sentences(20, 50), "document": [f"answer {n}" for n in range(50, 70)]},
    )


def dialogue(folder: Path, schema: str) -> Path:
    folder.mkdir()
    for split in ("train", "test"):
        lines = []
        for number in range(12):
            ask, good, bad = f"question {split} {number}", "yes, it is " * (number % 3 + 1), "no"
            if schema == "hh":
                lines.append(
                    {
                        "chosen": f"\n\nHuman: {ask}\n\nAssistant: {good}",
                        "rejected": f"\n\nHuman: {ask}\n\nAssistant: {bad}",
                    }
                )
            else:
                user = {"role": "user", "content": ask}
                answer = [[user, {"role": "assistant", "content": text}] for text in (good, bad)]
                lines.append(
                    {"prompt": ask, "chosen": answer[0], "rejected": answer[1], "score_chosen": 8.0}
                )
        lines.append({**lines[0], "rejected": lines[0]["chosen"]})  # no preference
        name = f"{split}_prefs.jsonl" if schema == "ultrafeedback" else f"{split}.jsonl"
        (folder / name).write_text(
            "".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8"
        )
    return folder


FEW = ("expert_choice",)  # the slow run takes every router
TINY_VIT = tuple(f"backbone.kwargs.{key}" for key in ("embed_dim=16", "depth=2", "num_heads=2"))
