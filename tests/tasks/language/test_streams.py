"""Streamed text: in one piece, and shared out among processes."""

from __future__ import annotations

import gzip
from itertools import islice
from pathlib import Path
from typing import Any

import datasets
import pytest

from moesuite import compose
from moesuite.config.sections import Data
from moesuite.errors import UserError
from moesuite.tasks.language.reading import read_sequences
from moesuite.tasks.language.stream import StreamedTokens, first_documents
from moesuite.tasks.options import Tokens
from moesuite.tasks.text.corpus import TextSource
from moesuite.tasks.text.tokenizer import build_tokenizer
from moesuite.train.build import build_task
from moesuite.train.dataloaders import train_loader
from tests.helpers import run
from tests.tasks.language.texts import SMALL


@pytest.mark.slow
def test_a_streamed_text(real_data: Path, tmp_path: Path) -> None:
    words = [
        "task=wikitext2",
        f"task.source={real_data / 'wikitext2'}",
        "task.streaming=true",
        "task.tokenizer=byte",
    ]
    words += [
        *SMALL,
        "task.stride=32",
        "task.eval_documents=60",
        "router=switch",
        "task.metric=bits_per_byte",
    ]
    with pytest.raises(UserError, match=r"e\.g\. trainer.max_steps"):
        run(tmp_path, *words, "trainer.max_steps=-1")
    record = run(tmp_path, *words, "trainer.max_steps=3")
    assert (
        record.status == "ok"
        and record.steps == 3
        and 5 < record.quality["bits_per_byte"].value < 9
    )
    with pytest.raises(UserError, match="learns its vocabulary from the whole text"):
        run(tmp_path, *words, "task.tokenizer=word")


def test_streamed_sequences_hold_the_text_in_one_piece() -> None:
    rows = datasets.Dataset.from_dict({"text": ["to be", "or not", "to be"]}).to_iterable_dataset()
    stream = StreamedTokens(rows, "text", build_tokenizer("byte", []), length=8)
    tokens = [list(sample[0]) for sample in stream]
    # 19 bytes with line ends: two sequences of 8 and the token after each, which begins the next
    # one
    assert [len(sequence) for sequence in tokens] == [9, 9] and tokens[0][-1] == tokens[1][0]
    assert tokens == [list(sample[0]) for sample in stream]
    text, per_token = first_documents(rows, "text", build_tokenizer("byte", []), 2)
    assert bytes(text) == b"to be\nor not\n" and per_token == 1


@pytest.mark.parametrize(
    ("name", "opened"), [("c4-{}.00000-of-00001.json", open), ("{}.jsonl.gz", gzip.open)]
)
def test_tables_on_disk_are_streamed(name: str, opened: Any, tmp_path: Path) -> None:
    for split in ("train", "validation"):
        with opened(tmp_path / name.format(split), "wt") as file:
            file.write('{"text": "to be"}\n{"text": "or not"}\n' * 20)
    read = read_sequences(
        TextSource(source=str(tmp_path), streaming=True), Tokens(tokenizer="byte", length=8), 8
    )
    train: Any = read.splits["train"]
    # 260 bytes with line ends: a sequence for each 8 but the last, which has no token after it
    assert len(list(train)) == 32 and read.bytes_per_token == 1


def test_a_broken_row_of_a_stream_is_told(tmp_path: Path) -> None:
    for name in ("train.jsonl", "test.jsonl"):
        (tmp_path / name).write_text('{"text": "to be"}\n' * 9 + '{"text": "or', encoding="utf-8")
    with pytest.raises(UserError, match=r"^the stream is unreadable: .*task.streaming=false"):
        read_sequences(TextSource(source=str(tmp_path), streaming=True), Tokens("byte", 8), 8)


@pytest.mark.slow
def test_a_stream_is_shared_out_among_processes(real_data: Path) -> None:
    words = [
        f"task.source={real_data / 'wikitext2'}",
        "task.streaming=true",
        "task.tokenizer=byte",
        "task.length=64",
    ]
    task = build_task(compose("task=wikitext2", *words).task)
    loaders = [train_loader(task, Data(batch_size=4), lambda: 0, rank, world=2) for rank in (0, 1)]
    first, second = (
        {row.numpy().tobytes() for batch in islice(loader, 5) for row in batch["input_ids"]}
        for loader in loaders
    )
    assert len(first) == len(second) == 20 and not first & second
