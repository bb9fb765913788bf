"""Published figures of all-MiniLM-L6-v2, and mteb on local copies."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from moesuite import compose
from moesuite.errors import UserError
from tests.helpers import run
from tests.tasks.local_data import BYTES, TINY_BERT, parquet, sentences

PUBLISHED = {
    "STSBenchmark": 0.8203,
    "STS12": 0.7237,
    "STS16": 0.7899,
}  # of all-MiniLM-L6-v2, by MTEB


@pytest.mark.slow
@pytest.mark.parametrize(
    ("task", "names"), [("sts", [*PUBLISHED]), ("mteb", ["STSBenchmark", "STS16"])]
)
def test_published_figures(
    task: str, names: list[str], real_data: Path, minilm: list[str], tmp_path: Path
) -> None:
    """As MTEB publishes them; STS12 by mteb takes minutes, it was run once by hand."""
    words = [
        f"task.source={real_data / 'sts'}",
        f"task.names=[{','.join(names)}]",
        *minilm,
        "router=dense",
    ]
    record = run(tmp_path, f"task={task}", *words, "measure=false", "trainer.max_epochs=0")
    assert {name: round(record.quality[name].value, 4) for name in names} == {
        n: PUBLISHED[n] for n in names
    }
    mean = np.mean([PUBLISHED[name] for name in names])
    assert record.quality[record.primary].value == pytest.approx(mean, abs=1e-4)
    if task == "mteb":  # in its own form too
        (file,) = (tmp_path / "runs").rglob("STS16.json")
        written = json.loads(file.read_text(encoding="utf-8"))
        assert written["task_name"] == "STS16"
        assert written["scores"]["test"][0]["main_score"] == pytest.approx(0.7899, abs=5e-5)


@pytest.mark.slow
def test_a_wrapped_encoder_goes_the_same_way(
    real_data: Path, minilm: list[str], tmp_path: Path
) -> None:
    """Experts that copy the MLP, with weights that sum to 1, keep the figure to 4 digits."""
    words = [
        f"task.source={real_data / 'sts'}",
        "task.names=[STS16]",
        *minilm,
        "router=token_choice",
        "num_experts=4",
    ]
    words += ["router.k=2", "slots_per_token=2", "renormalise=true"]
    record = run(tmp_path, "task=sts", *words, "measure=false", "trainer.max_epochs=0")
    assert round(record.quality["STS16"].value, 4) == 0.7899 and len(record.health) == 3


@pytest.mark.slow
def test_mteb_runs_a_local_copy(tmp_path: Path) -> None:
    pairs = {
        "sentence1": sentences(12),
        "sentence2": sentences(12, 5),
        "score": [float(n % 6) for n in range(12)],
    }
    parquet(tmp_path / "data" / "biosses-sts", test=pairs)
    words = [
        f"task.source={tmp_path / 'data'}",
        "task.names=[BIOSSES]",
        *TINY_BERT,
        "measure=false",
        "task.length=32",
    ]
    record = run(tmp_path, "task=mteb", *words, "trainer.max_epochs=0")
    assert record.status == "ok" and set(record.quality) == {"main_score", "BIOSSES"}
    assert {name: quality.n for name, quality in record.quality.items()} == {
        "main_score": 12,
        "BIOSSES": 12,
    }
    assert (
        record.splits == {"test": 12}
        and len(list((tmp_path / "runs").rglob("mteb/BIOSSES.json"))) == 1
    )
    with pytest.raises(UserError, match="no training split; type trainer.max_epochs=0"):
        run(tmp_path, "task=mteb", *words, "trainer.max_epochs=1")


def test_the_tasks_of_the_usmoe_paper_exist() -> None:
    import mteb

    names = compose("task=mteb_usmoe").task["names"]
    assert len(names) == 19 and len({mteb.get_task(name).metadata.name for name in names}) == 19
    assert compose("task=mteb", "task.names=MTEB(eng, v2)").task["names"] == "MTEB(eng, v2)"


@pytest.mark.slow
def test_a_text_classification_run_on_real_data(real_data: Path, tmp_path: Path) -> None:
    words = [
        f"task.source={real_data / 'classification'}",
        "task.names=[TREC]",
        *TINY_BERT,
        *BYTES,
        "measure=false",
    ]
    record = run(tmp_path, "task=text_classification", *words, "trainer.max_steps=3")
    assert (
        record.quality["TREC"].n == 500
        and record.quality["accuracy"].value == record.quality["TREC"].value > 0.3
    )
