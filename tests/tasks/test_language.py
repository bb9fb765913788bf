"""Language modelling: what is read, how it is cut and scored, and runs from the command line."""

from __future__ import annotations

import argparse
import gzip
import math
from itertools import islice
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import datasets
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from moesuite import compose
from moesuite.config.schema import Data
from moesuite.errors import UserError
from moesuite.experiments.run_report import rows
from moesuite.leaderboard.ingest.entry import entry_of
from moesuite.leaderboard.ranking.board import boards
from moesuite.profile import profile
from moesuite.tasks.language.packed import Packed, Sliding, windows
from moesuite.tasks.language.spans import Spans
from moesuite.tasks.language.stream import StreamedTokens, first_documents
from moesuite.tasks.language.task import IGNORED, Language
from moesuite.tasks.text.corpus import Text, read_stdlib
from moesuite.tasks.text.tokenizer import build_tokenizer, tokens_of
from moesuite.train.build import build_task
from moesuite.train.dataloaders import train_loader
from tests.helpers import run

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
    path.write_text(TEXT)
    task = Language(**{"name": "t", "source": str(path), "length": 16, **options})
    task.prepare()
    return task


@given(st.integers(8, 40), st.data(), st.integers(0, 300))
def test_every_target_is_scored_once(length: int, data: st.DataObject, more: int) -> None:
    stride, total = data.draw(st.integers(1, length)), length + more
    scored: list[int] = []
    for begin, fresh in windows(length, stride, total):
        assert 0 <= begin <= total - length and 1 <= fresh <= length
        scored += range(begin + length - fresh, begin + length)
    assert scored == list(range(total))


def test_windows_by_hand() -> None:
    # 10 targets in windows of 4 by 3: 0-3, then 4-6 with one before, 7-9; 11 targets: the last
    # window brings one
    assert list(windows(4, 3, 10)) == [(0, 4), (3, 3), (6, 3)]
    assert list(windows(4, 3, 11))[-1] == (7, 1)


def test_training_sequences_follow_from_their_keys() -> None:
    data = Packed(np.arange(100, dtype=np.uint8), length=8)
    assert len(data) == 12
    tokens, scored, _ = data[3, 5]
    assert tokens.tolist() == list(range(29, 38)) and scored == 8  # 3 · 8 + 5
    assert data[11, 7][0].tolist() == list(range(91, 100))  # the last one ends with the text
    assert data[3][0].tolist() == list(range(24, 33))


def test_perplexity_and_bits_per_byte_are_those_of_every_token(tmp_path: Path) -> None:
    """Against one pass over the split by hand, with a model that only looks at the present token."""
    task = language(tmp_path, tokenizer="character")
    test = task.dataset("test")
    assert isinstance(test, Sliding)
    size = task.backbone_arguments()["vocab_size"]
    table = torch.randn(size, size, generator=torch.Generator().manual_seed(0))
    metrics = task.metrics()
    for index in range(0, len(test), 3):
        batch = task.collate([test[i] for i in range(index, min(index + 3, len(test)))])
        task.update(metrics, SimpleNamespace(logits=table[batch["input_ids"]]), batch)
    tokens = torch.from_numpy(test.tokens.astype(np.int64))
    nats = F.cross_entropy(table[tokens[:-1]], tokens[1:], reduction="sum").item()
    found = metrics.compute()
    assert found["perplexity"].item() == pytest.approx(math.exp(nats / (len(tokens) - 1)))
    # 5 % of the text at its end; ï and ç are two bytes each
    length = len(TEXT.encode())
    part = TEXT.encode()[round(length * 0.9) + round(length * 0.05) :] + b"\n"
    per_token = len(part) / len(tokens)
    assert per_token > 1
    assert found["bits_per_byte"].item() == pytest.approx(
        nats / (len(tokens) - 1) / math.log(2) / per_token, rel=1e-3
    )


def test_masked_tokens_by_shares(tmp_path: Path) -> None:
    task = language(tmp_path, objective="masked", length=256)
    train = task.dataset("train")
    assert isinstance(train, Packed) and not task.causal and task.primary.name == "perplexity"
    batch = task.collate([train[0, seed] for seed in range(200)])
    hidden = batch["labels"] != IGNORED
    assert 0.14 < hidden.float().mean() < 0.16
    kept = hidden & (batch["input_ids"] == batch["labels"])
    masked = batch["input_ids"] == 256
    assert bool((masked <= hidden).all()) and 0.79 < masked.sum() / hidden.sum() < 0.81
    assert 0.09 < kept.sum() / hidden.sum() < 0.12
    again = task.collate([train[0, seed] for seed in range(200)])
    assert torch.equal(batch["input_ids"], again["input_ids"])


@given(st.integers(8, 100), st.floats(0.05, 0.9), st.floats(1, 5), st.integers(0, 5))
def test_corrupted_spans_hold_every_token_once(
    length: int, share: float, mean: float, seed: int
) -> None:
    spans = Spans(length, share, mean, vocabulary=1000)
    tokens = np.arange(length)
    inputs, targets = spans.corrupt(tokens, seed)
    assert (
        len(inputs) == length - spans.hidden + spans.spans + 1
        and len(targets) == spans.hidden + spans.spans + 1
    )
    assert inputs[-1] == targets[-1] == 1000 and spans.shifted(targets).tolist() == [
        1001,
        *targets[:-1],
    ]
    # put the targets' spans in the place of their sentinels
    whole: list[int] = []
    for token in inputs[:-1]:
        begin = targets.tolist().index(token) + 1 if token >= 1002 else None
        end = next(
            (i for i, t in enumerate(targets) if begin is not None and i >= begin and t >= 1000),
            None,
        )
        whole += [token] if begin is None else targets[begin:end].tolist()
    assert whole == tokens.tolist()


def test_tokenizers(tmp_path: Path) -> None:
    train = [b"b a\na b", b"b"]
    words = build_tokenizer("word", train)
    # <eos> 3, b 3, a 2, <unk> 0: the most frequent first, ties by name
    assert words.size == 4 and words.encode(b"b c a").tolist() == [1, 3, 2, 0]
    characters = build_tokenizer("character", train)
    assert characters.encode(b"ab\xc3\xaf").tolist()[2] == characters.size - 1  # ï was never seen
    assert build_tokenizer("byte", train).encode(b"\xc3").tolist() == [0xC3, 10]
    with pytest.raises(UserError, match="type task.tokenizer=path/to/it"):
        build_tokenizer(str(tmp_path), train)


def test_the_standard_library_is_split_by_module() -> None:
    corpus = read_stdlib()
    sizes = {role: sum(map(len, texts)) for role, texts in corpus.read().items()}
    total = sum(sizes.values())
    assert total > 5e6 and all(0.045 < sizes[role] / total < 0.052 for role in ("val", "test"))
    documents = [set(texts) for texts in corpus.read().values()]
    whole = [{text for text in texts if len(text) > 200} for texts in documents]
    assert not (whole[0] & whole[1] or whole[0] & whole[2] or whole[1] & whole[2])
    assert read_stdlib().fingerprint == corpus.fingerprint


def test_cached_tokens_are_found_without_reading_and_belong_to_one_split() -> None:
    reads = []

    def text(test: bytes, how: str) -> Text:
        def read() -> dict[str, list[bytes]]:
            reads.append(how)
            return {"train": [b"to be"], "test": [test]}

        return Text("sha256:1", "a text", how, read)

    first = tokens_of(text(b"or not", "halves"), "byte")
    again = tokens_of(text(b"or not", "halves"), "byte")
    assert bytes(again.splits["test"]) == bytes(
        first.splits["test"]
    ) == b"or not\n" and again.size == {
        "train": 6,
        "test": 7,
    }
    assert bytes(tokens_of(text(b"not to be", "thirds"), "byte").splits["test"]) == b"not to be\n"
    assert reads == ["halves", "thirds"]
    assert (
        tokens_of(text(b"or not", "halves"), "character").vocabulary == 7
    )  # t, o, b, e, space, line end, <unk>


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
    with pytest.raises(UserError, match=r"type for example trainer.max_steps"):
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


def test_gzip_stands_in_the_record(tmp_path: Path) -> None:
    task = language(tmp_path)
    test = task.dataset("test")
    assert isinstance(test, Sliding)
    text = bytes(test.tokens)
    assert (
        f"gzip -9 needs {8 * len(gzip.compress(text, 9)) / len(text):.3f} bits per byte"
        in task.description
    )


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["task.source=latin.txt"], "not UTF-8 at byte 3"),
        (["task.source=empty.txt"], "is empty"),
        (["task.source=short.txt"], "too few for one sequence of task.length=256"),
        (["task.source=tests_only"], "has no text to train on"),
        (["task.source=here.txt"], "does not exist"),
        (
            ["task.source=long.txt", "task.stride=300"],
            "task.stride=300: allowed is 1 to task.length=256",
        ),
        (["task.source=long.txt", "task.objective=causle"], "task.objective='causle'"),
        (["task.source=long.txt", "backbone=vit_mini"], "allowed: hf:<name>"),
        (
            ["task.source=long.txt", "backbone=gpt_mini", "task.objective=masked"],
            "cannot do task.objective=masked",
        ),
        (["task.source=long.txt", "router=expert_choice"], "is not causal"),
    ],
)
def test_bad_input(
    words: list[str], says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(
        "moesuite.train.build.causal_routers", lambda: ["switch"]
    )  # measured by tests/certify/test_certify.py
    Path("latin.txt").write_bytes(b"caf\xe9" * 1000)
    Path("empty.txt").write_text("\n")
    Path("short.txt").write_text("to be" * 100)
    Path("long.txt").write_text(TEXT)
    Path("tests_only").mkdir()
    Path("tests_only/test.txt").write_text(TEXT)
    with pytest.raises(UserError, match=says):
        run(tmp_path, "task=stdlib", *words)


def test_a_column_that_is_not_there(real_data: Path) -> None:
    with pytest.raises(UserError, match="no column 'txt'; its columns: text"):
        build_task(
            compose(
                "task=wikitext2", f"task.source={real_data / 'wikitext2'}", "task.column=txt"
            ).task
        )


def test_a_causal_run_on_real_text(tmp_path: Path) -> None:
    record = run(
        tmp_path,
        "task=stdlib",
        BOOK,
        *SMALL,
        "trainer.max_steps=30",
        "router=switch",
        "task.stride=32",
    )
    assert record.status == "ok" and record.primary == "bits_per_byte"
    found = record.quality["bits_per_byte"]
    assert found.direction == "min" and 3 < found.value < 7  # from 8 bits downwards
    assert record.quality["perplexity"].value == pytest.approx(2**found.value, rel=1e-3)
    assert [layer.layer for layer in record.health] == ["transformer.h.1.mlp"]


@pytest.mark.slow
def test_a_masked_run_on_real_text(tmp_path: Path) -> None:
    words = [
        "backbone=bert_mini",
        "backbone.kwargs.hidden_size=32",
        "backbone.kwargs.num_attention_heads=2",
    ]
    record = run(
        tmp_path,
        "task=stdlib",
        BOOK,
        "task.objective=masked",
        *words,
        "task.length=32",
        "router=expert_choice",
    )
    assert record.status == "ok" and set(record.quality) == {"perplexity"}


@pytest.mark.slow
def test_a_span_corruption_run_on_real_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("moesuite.train.build.causal_routers", lambda: ["switch"])
    words = [
        f"backbone.kwargs.{key}"
        for key in ("d_model=32", "d_ff=64", "num_layers=2", "num_heads=2", "d_kv=16")
    ]
    words += ["backbone=t5_mini", "task.objective=span_corruption", "task.length=32", "layers=all"]
    with pytest.raises(UserError, match="the decoder.*allowed"):
        run(tmp_path, "task=stdlib", BOOK, *words, "router=expert_choice")
    assert len(run(tmp_path, "task=stdlib", BOOK, *words, "router=switch").health) == 4
    words[-1] = "layers=[0,1]"  # of the encoder
    record = run(tmp_path, "task=stdlib", BOOK, *words, "router=expert_choice")
    assert (
        record.status == "ok" and set(record.quality) == {"perplexity"} and len(record.health) == 2
    )


@pytest.mark.parametrize(
    ("router", "leaks"), [("usmoe", True), ("expert_choice", True), ("switch", False)]
)
def test_what_is_seen_of_later_tokens_is_measured(router: str, leaks: bool, tmp_path: Path) -> None:
    record = run(
        tmp_path,
        "task=stdlib",
        BOOK,
        *SMALL,
        f"router={router}",
        "allow_noncausal=true",
        "task.stride=32",
    )
    assert (
        record.status == "ok"
        and record.config["allow_noncausal"] is True
        and record.lookahead is not None
    )
    assert (record.lookahead.outputs > 0.01) is leaks and (
        leaks or record.lookahead.bits == pytest.approx(0, abs=1e-5)
    )
    assert ("SEES LATER TOKENS" in dict(rows(record))) is leaks
    entry, facts = entry_of(record)
    (board,) = boards([entry], facts, {})
    assert ("sees later tokens" in board.rows[0].labels) is leaks
    assert board.direction == "min" and board.rows[0].mean == pytest.approx(
        record.quality["bits_per_byte"].value, rel=1e-5
    )


def test_wikitext2_by_words(real_data: Path) -> None:
    task = build_task(compose("task=wikitext2", f"task.source={real_data / 'wikitext2'}").task)
    assert isinstance(task, Language)
    data = {
        "train": task.dataset("train"),
        "val": task.dataset("val"),
        "test": task.dataset("test"),
    }
    tokens = {
        role: len(split.tokens)
        for role, split in data.items()
        if isinstance(split, Packed | Sliding)
    }
    # as published with the data: Merity et al. 2016, https://arxiv.org/abs/1609.07843, table 1,
    # line ends counted
    assert tokens == {"train": 2_088_628, "val": 217_646, "test": 245_569}
    assert task.backbone_arguments()["vocab_size"] == 33_278


@pytest.mark.parametrize("backbone", ["gpt_mini", "llama_mini", "gpt2_small"])
def test_backbones_are_accounted(backbone: str) -> None:
    model, dense = profile(
        compose("task=stdlib", f"backbone={backbone}", "router=switch", "num_experts=4")
    )
    assert model.forward.activated.total == pytest.approx(dense.forward.activated.total, rel=0.02)
    assert model.parameters_total > 1.5 * dense.parameters_total and not model.uncounted


def test_two_runs_are_the_same(tmp_path: Path) -> None:
    words = ("task=stdlib", BOOK, *SMALL, "task.stride=32", "force=true")
    assert run(tmp_path, *words).quality == run(tmp_path, *words).quality
