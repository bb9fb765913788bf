"""A finished run goes on by hand: `load_run`, and predictions that are asked for later."""

from __future__ import annotations

import inspect
import shutil
from pathlib import Path

import pandas
import pytest

import moesuite
from moesuite import UserError, compose, fit, load_run
from moesuite.nn.moe import moe_layers
from moesuite.nn.stats import RoutingWeights
from moesuite.records.store import RunFiles, read_record, write_record
from moesuite.train.fit import recorded
from moesuite.train.results.loaded_run import LoadedRun
from tests.helpers import TINY_RUN
from tests.tasks.local_data import BYTES, TINY_BERT, search_folder


@pytest.fixture(scope="module")
def run_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the record of a short run, which drops tokens under its capacity."""
    folder = tmp_path_factory.mktemp("run")
    return fit(compose(*TINY_RUN, f"records={folder}", "slots_per_token=0.5"))[1]


@pytest.fixture
def copied(run_path: Path, tmp_path: Path) -> Path:
    """Return a copy of the record and its files."""
    shutil.copytree(RunFiles(run_path).records, tmp_path / "runs")
    return tmp_path / "runs" / run_path.relative_to(RunFiles(run_path).records)


def top1(run: LoadedRun) -> float:
    right = total = 0
    for batch in run.loader("test"):
        right += int((run.predict(batch).argmax(dim=1) == batch["label"]).sum())
        total += run.task.size(batch)
    return right / total


def test_the_accuracy_by_hand_is_the_record_s(run_path: Path) -> None:
    run = load_run(run_path)
    assert isinstance(run, LoadedRun) and run.record.id == run_path.stem
    assert top1(run) == pytest.approx(run.record.quality["top1"].value, abs=1e-6)
    assert not run.model.training and next(moe_layers(run.model))[1].router.drops
    assert len(run.loader("train").dataset) == run.record.splits["train"]  # type: ignore[arg-type]
    with pytest.raises(UserError, match="no split 'nope'; expected one of train, val, test"):
        inspect.unwrap(LoadedRun.loader)(run, "nope")  # type: ignore[arg-type]
    assert run.config.trainer["max_steps"] == 2 and moesuite.load_run is load_run


def test_a_record_its_path_and_its_folder_are_the_same_run(run_path: Path) -> None:
    whole = load_run(run_path)
    for same in (whole.record, str(run_path), RunFiles(run_path).folder):
        run = load_run(same)
        assert run.record == whole.record and run.task is whole.task


@pytest.mark.slow
@pytest.mark.parametrize(
    "words",
    [
        ("trainer.max_epochs=0", "router=soft"),
        ("trainer.precision=bf16-mixed",),
        ("trainer.max_steps=4", "trainer.val_check_interval=3"),  # ends after the last validation
    ],
)
def test_runs_without_training_in_mixed_precision_and_between_validations(
    words: tuple[str, ...], tmp_path: Path
) -> None:
    path = fit(compose(*TINY_RUN, f"records={tmp_path}", *words))[1]
    run = load_run(path)
    assert top1(run) == pytest.approx(run.record.quality["top1"].value, abs=1e-6)


@pytest.mark.slow
def test_routing_weights_are_the_output_where_the_task_reads_them(tmp_path: Path) -> None:
    words = (
        "task=stdlib_search",
        f"task.source={search_folder(tmp_path / 'data')}",
        "task.representation=routing",
        "measure=false",
        "logger=none",
        "trainer.max_epochs=0",
        f"records={tmp_path / 'runs'}",
    )
    run = load_run(fit(compose(*words, *BYTES, *TINY_BERT))[1])
    metrics = run.task.metrics()
    for batch in run.loader():
        output = run.predict(batch)
        assert isinstance(output, RoutingWeights)
        run.task.update(metrics, output, batch)
    assert float(metrics.compute()["mrr"]) == pytest.approx(run.record.quality["mrr"].value)


def rewrite(path: Path, **changes: object) -> None:
    write_record(path, read_record(path).model_copy(update=changes), overwrite=True)


def test_what_cannot_be_loaded_is_told_in_one_line(copied: Path) -> None:
    with pytest.raises(UserError, match="path of a record or a RunRecord; this is a dict"):
        inspect.unwrap(load_run)({"id": "x"})  # type: ignore[arg-type]
    files = RunFiles(copied)
    for wrong in (copied.with_name("other.json"), files.folder.with_name("other")):
        with pytest.raises(UserError, match=r"other.*: no such record; expected <records>/<task>"):
            load_run(wrong)
    (copied.parent / "none.json").write_text("{}", encoding="utf-8")
    with pytest.raises(UserError, match=r"none\.json: not a run record"):
        load_run(copied.parent / "none.json")
    rewrite(copied, steps=3)
    with pytest.raises(UserError, match=r"last\.ckpt: of step 2, the run ended at 3; run its"):
        load_run(copied)
    rewrite(copied, steps=2, data_fingerprint="sha256:0")
    with pytest.raises(UserError, match=r"its data is sha256:0, here it is sha256:\w+ \(scikit"):
        load_run(copied)
    config = read_record(copied).config
    rewrite(copied, config={**config, "task": {**config["task"], "source": "./gone"}})
    with pytest.raises(UserError, match=r"source=\./gone, is not here .*load_run\(record, source="):
        load_run(copied)
    rewrite(copied, status="failed")
    with pytest.raises(UserError, match="its status is failed; expected a finished run"):
        load_run(copied)


def test_a_run_without_a_checkpoint_says_how_to_keep_one(copied: Path) -> None:
    RunFiles(copied).checkpoint.unlink()
    with pytest.raises(UserError, match=r"no such file; .* trainer.enable_checkpointing=true"):
        load_run(copied)


def asked_again(path: Path, *words: str) -> RunFiles:
    """Ask a finished run for predictions, and return its files."""
    records = RunFiles(path).records
    config = compose(
        *TINY_RUN, f"records={records}", "slots_per_token=0.5", "predictions=true", *words
    )
    done = recorded(config)
    assert done is not None and done[1] == path
    return RunFiles(path)


def test_predictions_of_a_finished_run_are_made_from_its_checkpoint(
    copied: Path, tmp_path: Path
) -> None:
    """They are those of a run that was asked for them from the start."""
    before = copied.read_bytes()
    rows = pandas.read_parquet(asked_again(copied).predictions)
    assert copied.read_bytes() == before
    words = (f"records={tmp_path / 'second'}", "slots_per_token=0.5", "predictions=true")
    whole = pandas.read_parquet(RunFiles(fit(compose(*TINY_RUN, *words))[1]).predictions)
    assert list(rows.id) == list(whole.id) and (rows.prediction == whole.prediction).all()
    written = RunFiles(copied).predictions.stat().st_mtime_ns
    assert asked_again(copied).predictions.stat().st_mtime_ns == written  # not made again


def test_without_a_checkpoint_it_is_said_in_one_line(
    copied: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    RunFiles(copied).checkpoint.unlink()
    assert not asked_again(copied).predictions.exists()
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("recorded without predictions; force=true runs it again (")
    assert "last.ckpt: no such file" in line
