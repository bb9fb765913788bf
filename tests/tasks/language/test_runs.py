"""Runs on real text."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from moesuite import compose
from moesuite.errors import UserError
from moesuite.experiments.run_report import run_rows
from moesuite.leaderboard.ingest.entry import entry_of
from moesuite.leaderboard.ranking.board import boards
from moesuite.profile import profile
from moesuite.tasks.language.packed import Packed, Sliding
from moesuite.tasks.language.task import Language
from moesuite.train.build import build_task
from tests.helpers import run
from tests.tasks.language.texts import BOOK, SMALL, language


def test_gzip_stands_in_the_record(tmp_path: Path) -> None:
    task = language(tmp_path)
    test = task.dataset("test")
    assert isinstance(test, Sliding)
    text = bytes(test.tokens)
    assert (
        f"gzip -9 needs {8 * len(gzip.compress(text, 9)) / len(text):.3f} bits per byte"
        in task.description
    )


@pytest.mark.slow
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
    monkeypatch.setattr("moesuite.certify.lookahead.causal_routers", lambda: ["switch"])
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
def test_lookahead_is_measured(router: str, leaks: bool, tmp_path: Path) -> None:
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
    assert ("SEES LATER TOKENS" in dict(run_rows(record))) is leaks
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


@pytest.mark.slow
@pytest.mark.parametrize("backbone", ["gpt_mini", "llama_mini", "gpt2_small"])
def test_backbones_are_accounted(backbone: str) -> None:
    model, dense = profile(
        compose("task=stdlib", f"backbone={backbone}", "router=switch", "num_experts=4")
    )
    assert model.forward.activated.total == pytest.approx(dense.forward.activated.total, rel=0.02)
    assert model.parameters_total > 1.5 * dense.parameters_total and not model.uncounted


@pytest.mark.slow
def test_two_runs_are_the_same(tmp_path: Path) -> None:
    words = ("task=stdlib", BOOK, *SMALL, "task.stride=32", "force=true")
    assert run(tmp_path, *words).quality == run(tmp_path, *words).quality
