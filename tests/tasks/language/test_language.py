"""Language modelling: what is read, how it is cut and scored, and runs from the command line."""

from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.normalizers import Lowercase
from tokenizers.pre_tokenizers import Whitespace
from torch.nn import functional as F
from transformers import PreTrainedTokenizerFast

from moesuite import compose
from moesuite.errors import UserError
from moesuite.tasks.language.packed import IGNORED, Packed, Sliding, windows
from moesuite.tasks.language.spans import Spans
from moesuite.tasks.text.corpus import Text, TextSource, read_stdlib, read_text
from moesuite.tasks.text.tokenizer import build_tokenizer, tokens_of
from moesuite.train.build import build_task
from tests.helpers import run
from tests.tasks.language.texts import TEXT, language


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
    tokens, scored, *_ = data[3, 5]
    assert tokens.tolist() == list(range(29, 38)) and scored == 8  # 3 · 8 + 5
    assert data[11, 7][0].tolist() == list(range(91, 100))  # the last one ends with the text
    assert data[3][0].tolist() == list(range(24, 33))


def test_perplexity_and_bits_per_byte_are_those_of_every_token(tmp_path: Path) -> None:
    """Against one pass over the split by hand.

    The model looks at the present token only.
    """
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


def test_a_text_may_be_cut_within_a_character(tmp_path: Path) -> None:
    # 1,001 bytes: the first 901 end within é
    (tmp_path / "a.txt").write_text("é" * 500 + ".", encoding="utf-8")
    text = read_text(TextSource(source=str(tmp_path)))
    assert bytes(text.read()["train"][0]).endswith(b"\xc3")
    numbers = tokens_of(text, "character")
    assert numbers.symbol(int(numbers.splits["train"][-2])) == "\N{REPLACEMENT CHARACTER}"


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
            "task.stride=300: expected 1 to task.length=256",
        ),
        (["task.source=long.txt", "task.objective=causle"], "task.objective='causle'"),
        (["task.source=long.txt", "backbone=vit_mini"], "expected hf:<name>"),
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
        "moesuite.certify.lookahead.causal_routers", lambda: ["switch"]
    )  # measured by tests/certify/test_certify.py
    Path("latin.txt").write_bytes(b"caf\xe9" * 1000)
    Path("empty.txt").write_text("\n", encoding="utf-8")
    Path("short.txt").write_text("to be" * 100, encoding="utf-8")
    Path("long.txt").write_text(TEXT, encoding="utf-8")
    Path("tests_only").mkdir()
    Path("tests_only/test.txt").write_text(TEXT, encoding="utf-8")
    with pytest.raises(UserError, match=says):
        run(tmp_path, "task=stdlib", *words)


def test_a_missing_column_is_reported(real_data: Path) -> None:
    with pytest.raises(UserError, match="no column 'txt'; its columns: text"):
        build_task(
            compose(
                "task=wikitext2", f"task.source={real_data / 'wikitext2'}", "task.column=txt"
            ).task
        )


def test_tokens_follow_from_all_of_a_tokenizer(tmp_path: Path) -> None:
    """Edited in place to read small letters, with the same vocabulary, it is another one."""
    text = Text("sha256:0", "a text", "", lambda: {"train": [b"TO be"], "test": [b"be"]})
    words = Tokenizer(WordLevel({"to": 0, "be": 1, "?": 2}, "?"))
    words.pre_tokenizer = Whitespace()
    ids = []
    for lowers in (False, True):
        if lowers:
            words.normalizer = Lowercase()
        PreTrainedTokenizerFast(tokenizer_object=words).save_pretrained(tmp_path)
        ids.append(tokens_of(text, str(tmp_path)).splits["train"].tolist())
    assert ids == [[2, 1], [0, 1]]
