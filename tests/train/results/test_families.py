"""The primary metric of every family follows from its predictions."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pandas
import pytest
from scipy.stats import spearmanr

from moesuite import compose, fit
from moesuite.records.record import RunRecord
from moesuite.records.store import RunFiles
from tests.tasks.glue import BYTES, T5, understanding_folder
from tests.tasks.local_data import TINY_BERT, dialogue, parquet, search_folder, sentences

QUICK = (
    "trainer.max_steps=2",
    "measure=false",
    "logger=none",
    "trainer.enable_progress_bar=false",
    "data.batch_size=4",
    "router=expert_choice",
    "num_experts=2",
)


def predicted(folder: Path, *words: str) -> tuple[RunRecord, pandas.DataFrame]:
    """Return the record of a short run, and its predictions by id."""
    record, path = fit(compose(*QUICK, *words, f"records={folder / 'runs'}", "predictions=true"))
    rows = pandas.read_parquet(RunFiles(path).predictions)
    assert rows.id.is_unique and next(iter(rows.columns)) == "id"
    return record, rows.set_index("id")


def primary(record: RunRecord) -> float:
    return record.quality[record.primary].value


def right(rows: pandas.DataFrame) -> float:
    assert ((rows.target == rows.prediction) == rows.right).all()
    return float(rows.right.mean())


def correlation(rows: pandas.DataFrame) -> float:
    """Return Pearson's correlation and Spearman's, averaged."""
    pearson = np.corrcoef(rows.prediction, rows.target)[0, 1]
    return float(pearson + spearmanr(rows.prediction, rows.target).statistic) / 2


def of_groups(rows: pandas.DataFrame) -> float:
    """Return the mean of F1 and the share of questions whose every answer is right (MultiRC)."""
    hits = int(((rows.prediction == 1) & (rows.target == 1)).sum())
    f1 = 2 * hits / max(1, int((rows.prediction == 1).sum() + (rows.target == 1).sum()))
    return (f1 + float(rows.right.groupby(rows.group).all().mean())) / 2


def of_parts(rows: pandas.DataFrame) -> float:
    assert rows.part.value_counts().to_dict() == {
        "validation_matched": 6,
        "validation_mismatched": 6,
    }
    return float(rows.right.groupby(rows.part).mean().mean())


def credit(rows: pandas.DataFrame) -> float:
    return float(rows.token_f1.mean() + rows.token_exact_match.mean()) / 2


UNDERSTANDING = {
    ("glue", "sst2"): right,
    ("glue", "stsb"): correlation,
    ("glue", "mnli"): of_parts,
    ("superglue", "copa"): right,
    ("superglue", "multirc"): of_groups,
    ("superglue", "record"): credit,
}


QUICKLY = {("mnli", "classification"), ("stsb", "text_to_text"), ("record", "classification")}
SETS = [
    pytest.param(*key, form, marks=[] if (key[1], form) in QUICKLY else pytest.mark.slow)
    for key in UNDERSTANDING
    for form in ("classification", "text_to_text")
]


@pytest.mark.slow
@pytest.mark.parametrize(("suite", "name", "objective"), SETS)
def test_understanding(suite: str, name: str, objective: str, tmp_path: Path) -> None:
    source = understanding_folder(tmp_path / "data", suite, name)
    backbone = TINY_BERT if objective == "classification" else ["backbone=t5_mini", *T5]
    record, rows = predicted(
        tmp_path,
        f"task={suite}",
        f"task.subset={name}",
        f"task.source={source}",
        f"task.objective={objective}",
        *BYTES,
        *backbone,
        "allow_noncausal=true",
    )
    figure = UNDERSTANDING[suite, name](rows)
    if name == "stsb" and np.ptp(rows.prediction) == 0:
        figure = 0.0  # constant answers correlate with nothing
    assert figure == pytest.approx(primary(record), abs=1e-6)
    if name != "stsb":
        assert [len(scores) for scores in rows.scores] == [len(rows.scores.iloc[0])] * len(
            rows
        ) and len(rows.answer) == len(rows)
        best = np.array([np.argmax(scores) for scores in rows.scores])
        assert (best == rows.prediction).all()


def test_search(tmp_path: Path) -> None:
    folder = search_folder(tmp_path / "data")
    record, rows = predicted(
        tmp_path, "task=stdlib_search", f"task.source={folder}", *BYTES, *TINY_BERT
    )
    assert rows["ndcg@10"].mean() == pytest.approx(primary(record), abs=1e-6)
    assert (rows.target == rows.index).all() and list(rows.index) == [str(n) for n in range(20)]
    assert (rows.right == (rows["rank"] == 1)).all()
    assert set(rows.prediction) <= set(rows.index)
    gain = np.where(rows["rank"] <= 10, 1 / np.log2(rows["rank"] + 1), 0)  # no ties here
    assert gain.mean() == pytest.approx(primary(record), abs=1e-6)
    assert (1 / rows["rank"]).mean() == pytest.approx(record.quality["mrr"].value, abs=1e-6)


def test_similarity(tmp_path: Path) -> None:
    """Longer texts first: ids are rows of the file, whatever the order of evaluation."""
    scores = [5.0, 0.0, 2.5, 4.5, 1.0, 3.0]
    columns = {
        "sentence1": ["x" * (7 - number) + sentences(6)[number] for number in range(6)],
        "sentence2": sentences(6, 20),
        "score": scores,
    }
    folder = parquet(tmp_path / "data", train=columns, test={**columns, "sentence2": sentences(6)})
    record, rows = predicted(
        tmp_path,
        "task=sts",
        "task.names=[STSBenchmark]",
        f"task.source={folder}",
        *BYTES,
        *TINY_BERT,
    )
    assert list(rows.index) == [f"STSBenchmark/{number}" for number in range(6)]
    assert list(rows.target) == scores and set(rows.group) == {"STSBenchmark"}
    assert spearmanr(rows.prediction, rows.target).statistic == pytest.approx(
        primary(record), abs=1e-6
    )


def test_a_probe_predicts_the_scored_texts_alone(tmp_path: Path) -> None:
    for name, shift in (("TREC", 0), ("Banking77", 1)):
        parquet(
            tmp_path / "data" / name,
            train={
                "text": sentences(30, 100 * shift),
                "label": [(n + shift) % 3 for n in range(30)],
            },
            test={"text": sentences(5, 400 + shift), "label": [0, 1, 2, 0, 1]},
        )
    record, rows = predicted(
        tmp_path,
        "task=text_classification",
        "task.names=[TREC,Banking77]",
        f"task.source={tmp_path / 'data'}",
        "data.eval_batch_size=64",
        *BYTES,
        *TINY_BERT,
    )
    assert set(rows.index) == {f"{name}/{n}" for name in ("TREC", "Banking77") for n in range(5)}
    assert ((rows.target == rows.prediction) == rows.right).all()
    assert list(rows.target[rows.group == "TREC"]) == [0, 1, 2, 0, 1]
    assert rows.right.groupby(rows.group).mean().mean() == pytest.approx(primary(record), abs=1e-6)


TEXT = "\n".join(f"line {number}: to be or not to be" for number in range(60))
OBJECTIVES = {
    "causal": [
        "task.stride=5",
        *(f"backbone.kwargs.{key}" for key in ("n_embd=32", "n_layer=2", "n_head=2")),
    ],
    "masked": TINY_BERT,
    "span_corruption": ["backbone=t5_mini", *T5],
}


@pytest.mark.slow
@pytest.mark.parametrize("objective", ["causal", "masked", "span_corruption"])
def test_language(objective: str, tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text(TEXT, encoding="utf-8")
    record, rows = predicted(
        tmp_path,
        "task=stdlib",
        f"task.source={tmp_path / 'text.txt'}",
        f"task.objective={objective}",
        "task.length=16",
        *OBJECTIVES[objective],
        "allow_noncausal=true",
    )
    mean = rows.nats.sum() / rows.tokens.sum()
    assert math.exp(mean) == pytest.approx(record.quality["perplexity"].value, rel=1e-6)
    assert (rows.right <= rows.tokens).all() and len(rows) == record.quality["perplexity"].n
    if objective == "causal":  # of 1 byte each; the first window scores 16 tokens, others 5
        bits = rows.nats.sum() / math.log(2) / rows.bytes.sum()
        assert bits == pytest.approx(primary(record), rel=1e-6)
        assert (rows.bytes == rows.tokens).all() and list(rows.tokens[:3]) == [16, 5, 5]
        assert list(rows.position[:3]) == [1, 17, 22]


@pytest.mark.slow
def test_texts_that_were_preferred(tmp_path: Path) -> None:
    folder = dialogue(tmp_path / "texts", "hh")
    record, rows = predicted(
        tmp_path,
        "task=preferences_text",
        f"task.source={folder}",
        "task.tokenizer=byte",
        "task.length=64",
        *TINY_BERT,
    )
    assert right(rows) == pytest.approx(primary(record), abs=1e-6)
    assert len(rows) == 12 and (rows.target == 0).all()  # the chosen text stands first
    assert all(list(scores) == [1, 0] for scores in rows.expert)


@pytest.mark.slow
@pytest.mark.parametrize("head", ["comparison", "comparison_free"])
def test_moves_of_backgammon(head: str, tmp_path: Path) -> None:
    """Two moves of the same score are both right."""
    record, rows = predicted(
        tmp_path,
        "task=backgammon",
        "task.positions=60",
        "task.test_positions=12",
        "task.test_plies=0",
        f"task.head={head}",
        "backbone.kwargs.hidden_size=16",
        "backbone.kwargs.intermediate_size=32",
    )
    assert rows.right.mean() == pytest.approx(primary(record), abs=1e-6)
    regret = [max(row.expert) - row.expert[row.prediction] for row in rows.itertuples()]
    assert [loss == 0 for loss in regret] == list(rows.right)
    assert np.mean(regret) == pytest.approx(record.quality["score_loss"].value, abs=1e-6)
    assert [int(np.argmax(row.scores)) for row in rows.itertuples()] == list(rows.prediction)
