"""Several domains: what they are known by, and a score for each."""

from __future__ import annotations

import math
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from moesuite.leaderboard.gate.plausible import check_plausible
from moesuite.records.metrics import LANGUAGE
from moesuite.tasks.language.packed import Sliding
from moesuite.tasks.language.task import Language
from moesuite.tasks.text.corpus import Text, TextSource, read_text
from moesuite.tasks.text.tokenizer import tokens_of
from tests.helpers import run
from tests.tasks.language.texts import SMALL, TEXT


def text_of(folder: Path, **files: str) -> Text:
    """Write files named <name>.txt, `__` for a folder, and read them."""
    for name, content in files.items():
        path = folder / f"{name.replace('__', '/')}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")
    return read_text(TextSource(source=str(folder)))


def test_a_fingerprint_is_of_contents_roles_and_domains(tmp_path: Path) -> None:
    a, b, c = "to be\n" * 9, "or not\n" * 9, "that is\n" * 9
    texts = {
        "splits": text_of(tmp_path / "1", train=a, valid=b, test=c),
        "others": text_of(tmp_path / "2", train=a, valid=c, test=b),
        "no test": text_of(tmp_path / "3", train=a, valid=b),
        "domains": text_of(tmp_path / "4", act=a, bit=b),
        "renamed": text_of(tmp_path / "5", act=a, cut=b),
        "joined": text_of(tmp_path / "6", act_1=a, act_2=b),
    }
    assert len({text.fingerprint for text in texts.values()}) == len(texts)
    again = text_of(tmp_path / "7", my__train=a, my__dev=b, my__test=c)
    assert again.fingerprint == texts["splits"].fingerprint


def test_contents_of_equal_size_and_date_are_another_text(tmp_path: Path) -> None:
    text = text_of(tmp_path, a="to be\n" * 100)
    path = tmp_path / "a.txt"
    before = tokens_of(text, "byte")
    stat = path.stat()
    path.write_text("be to\n" * 100, encoding="utf-8")  # the same file, size and date
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    changed = read_text(TextSource(source=str(tmp_path)))
    after = tokens_of(changed, "byte")
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (stat.st_size, stat.st_mtime_ns)
    assert changed.fingerprint != text.fingerprint
    assert bytes(before.splits["train"][:6]) == b"to be\n"
    assert bytes(after.splits["train"][:6]) == b"be to\n"


def test_each_domain_is_scored_by_itself(tmp_path: Path) -> None:
    """Against one pass over each by hand; the model looks at the present token only."""
    text_of(tmp_path, play=TEXT, code="x = [1, 2]; y = x\n" * 60)
    task = Language.from_options(name="t", source=str(tmp_path), length=16, stride=16)
    task.prepare()
    test = task.dataset("test")
    assert isinstance(test, Sliding) and list(test.parts) == [0, 1]
    table = torch.randn(256, 256, generator=torch.Generator().manual_seed(0))
    metrics = task.metrics()
    for index in range(0, len(test), 3):
        batch = task.collate([test[i] for i in range(index, min(index + 3, len(test)))])
        task.update(metrics, SimpleNamespace(logits=table[batch["input_ids"]]), batch)
    nats, targets = [], []
    for part in test.parts.values():
        tokens = torch.from_numpy(part.astype(np.int64))
        nats.append(F.cross_entropy(table[tokens[:-1]], tokens[1:], reduction="sum").item())
        targets.append(len(tokens) - 1)
    bits = [total / count / math.log(2) for total, count in zip(nats, targets, strict=True)]
    found = {name: value.item() for name, value in metrics.compute().items()}
    assert found == pytest.approx(
        {
            "bits_per_byte/code": bits[0],
            "bits_per_byte/play": bits[1],
            "bits_per_byte": sum(nats) / sum(targets) / math.log(2),
            "perplexity": math.exp(sum(nats) / sum(targets)),
        }
    )
    # no window goes from one domain to the other; each counts its own windows
    counts = [task.examples(f"bits_per_byte/{name}", len(test)) for name in ("code", "play")]
    assert counts == [math.ceil(count / 16) for count in targets]
    assert sum(counts) == len(test) == task.examples("bits_per_byte", len(test))
    # 1,079 bytes but the last line end: 971 of training, 54 each of validation and test, and
    # the line end again
    assert bytes(test.parts[0]).decode() == ("x = [1, 2]; y = x\n" * 60)[-55:]


@pytest.mark.parametrize("objective", ["causal", "masked", "span_corruption"])
def test_a_domain_is_scored_by_the_metric_that_ranks(objective: str, tmp_path: Path) -> None:
    text_of(tmp_path, play=TEXT, code="x = [1, 2]; y = x\n" * 60)
    options = {"source": str(tmp_path), "length": 16, "metric": "perplexity"}
    task = Language.from_options(name="t", objective=objective, **options)
    task.prepare()
    spec = task.spec("perplexity/code")
    assert (spec.name, spec.direction, spec.least) == ("perplexity/code", "min", 1)
    assert task.spec("bits_per_byte") == LANGUAGE["bits_per_byte"]
    test: Any = task.dataset("test")
    metrics, size = task.metrics(), task.backbone_arguments()["vocab_size"]
    batch = task.collate([test[0], test[1], test[len(test) - 1]])
    assert batch["domain"].tolist() == [0, 0, 1]
    # all tokens are equally likely
    first = task.collate([test[0]])
    uniform = SimpleNamespace(logits=torch.zeros(*first["labels"].shape, size))
    task.update(metrics, uniform, first)
    found = {name: value.item() for name, value in metrics.compute().items()}
    bits = found.pop("bits_per_byte", None)
    assert bits == (pytest.approx(8) if objective == "causal" else None)
    # of the other domain nothing was scored
    assert found == pytest.approx({"perplexity": size, "perplexity/code": size})


def test_windows_of_domains_are_shown_and_named(tmp_path: Path) -> None:
    text_of(tmp_path, play=TEXT, code="x = [1, 2]; y = x\n" * 60)
    task = Language.from_options(name="t", source=str(tmp_path), length=16, stride=16)
    task.prepare()
    figures = task.preview("test").figures
    # (54 + 445 bytes, and a line end each)
    assert figures["tokens"] == figures["tokens of code"] + figures["tokens of play"] == 501
    test: Any = task.dataset("test")
    batch = task.collate([test[index] for index in range(len(test))])
    logits = torch.zeros(*batch["labels"].shape, 256)
    columns = task.predictions(SimpleNamespace(logits=logits), batch)
    # 54 and 445 targets in windows of 16
    assert columns["id"] == [f"code/{n}" for n in range(4)] + [f"play/{n}" for n in range(28)]
    assert list(columns["position"])[:5] == [1, 17, 33, 49, 1]


def test_the_record_of_a_run_has_a_score_of_each_domain(tmp_path: Path) -> None:
    folder = tmp_path / "my texts"
    text_of(folder, play=TEXT, code="x = [1, 2]; y = x\n" * 200)
    record = run(tmp_path, "task=enwik8", f"task.source={folder}", *SMALL, "router=switch")
    scores = {name: quality.n for name, quality in record.quality.items()}
    names = ("bits_per_byte/code", "bits_per_byte/play")
    assert scores.keys() == {"bits_per_byte", "perplexity", *names}
    assert sum(scores[name] for name in names) == scores["bits_per_byte"] == record.splits["test"]
    assert record.metrics[names[0]].direction == "min"
    check_plausible(record)
