"""Verification: what is equal, within the tolerance of seeds, or different, by hand and by real runs."""

from __future__ import annotations

import json
import math
import shlex
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from moesuite import compose, fit
from moesuite.errors import UserError
from moesuite.records.certificate import Verified
from moesuite.records.record import RunRecord, record_id
from moesuite.records.store import RunFiles, read_record, record_path, write_record
from moesuite.records.verification import is_seed_of, judge
from moesuite.statistics.tolerance import differing, tolerance
from moesuite.verify.__main__ import main
from moesuite.verify.replay import command_problem
from tests.conftest import Command
from tests.helpers import MY_ROUTER, SHORT, wait_for
from tests.leaderboard.records import record_of

WORDS = (*SHORT, "router=soft", "num_experts=2")


def with_curve(record: RunRecord, loss: float) -> RunRecord:
    """Return a record of another training."""
    points = [point.model_copy(update={"loss": loss}) for point in record.curve]
    return record.model_copy(update={"curve": points})


def test_a_tolerance_by_hand() -> None:
    # s of (1, 2, 3) is 1, t(0.975; 2) = 4.3027, t(0.9875; 2) = 6.2053: t * sqrt(2) * 1
    assert tolerance([1.0, 2.0, 3.0], 1) == pytest.approx(4.302653 * math.sqrt(2), rel=1e-6)
    assert tolerance([1.0, 2.0, 3.0], 2) == pytest.approx(6.205347 * math.sqrt(2), rel=1e-6)
    assert tolerance([1.0, 2.0], 1) is None and tolerance([2.0] * 5, 1) == 0.0


def test_figures_that_differ_by_more_than_noise_the_largest_first() -> None:
    ours = {"a": 1.0, "b": 1.0, "c": 0.0, "d": 1.0}
    assert differing(ours, {"a": 1.00009, "b": 1.01, "c": 1e-7, "e": 1.0}) == ["d", "e", "b"]


def test_verdicts_by_hand() -> None:
    """Top1 of five seeds, 0.91 to 0.95 with the rerun's 0.93: s = 0.0158, t(0.975; 4) = 2.776, so 0.0621."""
    again = record_of("good", 0, 0.93)
    seeds = [record_of("good", seed, 0.90 + seed / 100) for seed in (1, 2, 4, 5)]
    assert judge(again, again, []).verdict == "equal"
    near, far = (with_curve(record_of("good", 0, value), 2.0) for value in (0.99, 0.995))
    verdict = judge(near, again, seeds)
    assert (
        verdict.verdict == "within"
        and verdict.seeds == 5
        and "no more than 5 seeds explain" in verdict.reason
    )
    assert verdict.metrics["top1"].tolerance == pytest.approx(
        2.776445 * math.sqrt(2) * math.sqrt(0.00025), rel=1e-5
    )
    assert judge(far, again, seeds).verdict == "different"
    assert "more than 5 seeds explain" in judge(far, again, seeds).reason
    few = judge(near, again, seeds[:1])
    assert (
        few.verdict == "different"
        and few.seeds == 0
        and "2 of 3 seeds give no tolerance" in few.reason
    )


def test_what_no_chance_explains_is_different() -> None:
    again = record_of("good", 0, 0.93)
    seeds = [record_of("good", seed, 0.90 + seed / 100) for seed in range(1, 6)]
    curve = [point.model_copy(update={"quality": 0.5}) for point in again.curve]
    lied = record_of("good", 0, 0.94).model_copy(update={"curve": curve})
    same_curve = judge(lied, again.model_copy(update={"curve": curve}), seeds)
    assert (same_curve.verdict, same_curve.reason) == (
        "different",
        "curve and routing agree, but not top1",
    )
    steps = judge(again.model_copy(update={"steps": 101}), again, seeds)
    assert steps.verdict == "different" and steps.reason.endswith(
        "decides differs: steps (recorded 101, again 100)"
    )
    assert judge(again.model_copy(update={"curve": curve}), again, seeds).reason.startswith(
        "metrics agree, but not the"
    )


def test_costs_that_no_routing_changes_are_equal_to_the_last_digits() -> None:
    """Of `record_of`, all costs but the padding that is executed are as expected; so is none of these, by noise."""
    again = record_of("good", 0, 0.93)
    seeds = [record_of("good", seed, 0.90 + seed / 100) for seed in range(1, 6)]
    near = with_curve(record_of("good", 0, 0.935), 2.0)
    assert again.compute is not None and judge(near, again, seeds).verdict == "within"

    def said(record: RunRecord, part: str, value: float) -> tuple[str, str]:
        assert record.compute is not None
        name, _, field = part.partition(" ")
        inner = getattr(record.compute, name)
        value = inner.model_copy(update={field: value}) if field else value
        verdict = judge(
            record.model_copy(update={"compute": record.compute.model_copy(update={name: value})}),
            again,
            seeds,
        )
        return verdict.verdict, verdict.reason

    start = "what the configuration alone decides differs: "
    assert said(near, "activated backbone", 1.00001e9) == (
        "different",
        f"{start}activated backbone (recorded 1000010000, again 1000000000)",
    )
    assert said(near, "training_step_flops", 0.0)[1].startswith(
        f"{start}training_step_flops (recorded 0, again"
    )
    assert (
        said(near, "executed padding", 1.1e8)[0] == "within"
    )  # it depends on the routing, which is another
    assert said(again, "executed padding", 1.001e8) == (  # the very same training
        "different",
        f"{start}executed padding (recorded 100100000, again 100000000)",
    )
    splits = again.model_copy(update={"splits": {**again.splits, "train": 1438}})
    assert (
        judge(splits, again, seeds).reason
        == f"{start}examples of train (recorded 1438, again 1437)"
    )


def test_seeds_of_one_run() -> None:
    record = record_of("good", 0)
    assert is_seed_of(record_of("good", 1), record) and not is_seed_of(record, record)
    assert not is_seed_of(record_of("good", 1, status="failed"), record)
    assert not is_seed_of(record_of("good", 1, config={"optim": {"lr": 0.5}}), record)
    assert not is_seed_of(record_of("good", 1, data_fingerprint="sha256:0ther"), record)
    assert not is_seed_of(record_of("good", 1, config={"study": "s"}), record)
    assert not is_seed_of(
        record_of("good", 1, protocol=record.protocol.model_copy(update={"router": 2})), record
    )
    assert is_seed_of(record_of("good", 1, config={"measure": False}), record)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a short run of each of three seeds."""
    folder = tmp_path_factory.mktemp("verify") / "runs"
    for seed in range(3):
        fit(compose(*WORDS, f"seed={seed}", f"records={folder}"))
    return folder


def copied(runs: Path, folder: Path, **changes: Any) -> list[Path]:
    """Copy the records, the first one with changes; return their paths, by seed."""
    records = sorted(
        (read_record(path) for path in runs.glob("*/*/*.json")), key=lambda record: record.seed
    )
    records[0] = records[0].model_copy(update=changes)
    paths = [record_path(folder, record.task, record.router, record.id) for record in records]
    for path, record in zip(paths, records, strict=True):
        write_record(path, record)
    return paths


def verified(monkeypatch: pytest.MonkeyPatch, *words: object) -> int:
    monkeypatch.setattr(sys, "argv", ["verify", *map(str, words)])
    with pytest.raises(SystemExit) as stop:
        main()
    return int(stop.value.code or 0)


def test_an_honest_record_is_equal_and_its_verdicts_are_kept(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (path, _, _) = copied(runs, tmp_path)
    assert verified(monkeypatch, path) == 0
    assert "\nequal: all metrics agree" in capsys.readouterr().out
    assert verified(monkeypatch, path) == 0
    kept = Verified.model_validate_json(RunFiles(path).verified.read_text())
    record = read_record(path)
    assert kept.id == record.id and [verdict.verdict for verdict in kept.verdicts] == [
        "equal",
        "equal",
    ]
    assert kept.verdicts[0].code == record.code and kept.verdicts[0].seeds == 3
    assert kept.verdicts[0].metrics["top1"].difference == 0
    assert [item.name for item in path.with_suffix("").iterdir()] == ["verified.json"]


def test_a_falsified_value_is_different_and_further_seeds_are_run(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    honest = read_record(next(iter(sorted(runs.glob("*/*/*.json")))))
    quality = {**honest.quality, "top1": honest.quality["top1"].model_copy(update={"value": 0.999})}
    false = honest.model_copy(update={"quality": quality})
    path = record_path(tmp_path, false.task, false.router, false.id)
    write_record(path, false)
    seeds = [seed for seed in range(3) if seed != false.seed]
    assert verified(monkeypatch, path, f"seeds={seeds[0]},{seeds[1]}") == 1
    shown = capsys.readouterr().out
    assert (
        "DIFFERENT: curve and routing agree, but not top1" in shown and f"seed {seeds[1]}" in shown
    )
    assert "top1: recorded 0.999" in shown and "tolerance of 3 seeds" in shown


def halved(value: Any, name: str = "") -> Any:
    """Return costs with half of all FLOPs."""
    if isinstance(value, dict):
        within = name in ("activated", "executed", "expected", "training")
        return {key: inner / 2 if within else halved(inner, key) for key, inner in value.items()}
    if isinstance(value, list):
        return [halved(inner) for inner in value]
    return value / 2 if name in ("training_step_flops", "flops") else value


def test_half_the_flops_are_different(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (path, _, _) = copied(runs, tmp_path)
    values = read_record(path).model_dump(mode="json")
    values |= {"compute": halved(values["compute"]), "curve": halved(values["curve"])}
    false = RunRecord.model_validate(values)
    assert false.compute is not None and false.compute.training_step_flops > 0
    write_record(path, false, overwrite=True)
    assert verified(monkeypatch, path) == 1
    shown = capsys.readouterr().out
    assert "DIFFERENT: what the configuration alone decides differs: " in shown
    (verdict,) = Verified.model_validate_json(RunFiles(path).verified.read_text()).verdicts
    assert (
        verdict.verdict == "different"
        and "(recorded " in verdict.reason
        and " more" in verdict.reason
    )


def test_a_command_that_gives_another_run_is_different(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    record = read_record(next(runs.glob("*/*/*.json")))
    bad = tmp_path / "bad"
    other = record.command.replace("router=soft", "router=switch")
    none = "is none of this package, and was not executed: "
    cases = {
        other: "its command gives another run: ",
        f"touch {bad}": none,
        f"{record.command}; touch {bad}": "its command gives no run: ",
        f"python -m moesuite.runner {record.command}": none,
        "python '": none,
        "": none,
        record.command.replace("router=soft", "router=sfot"): "its command gives no run: ",
        f"{record.command} task.source={tmp_path}": f"its command reads other data: task.source={tmp_path}",
        f"{record.command} init={bad}": "its command gives no run: init=",
    }
    for command, says in cases.items():
        assert says in command_problem(record.model_copy(update={"command": command})), command
    assert command_problem(record) == "" and not bad.exists()
    assert (
        command_problem(
            record.model_copy(update={"command": f"{record.command} records=x logger=csv"})
        )
        == ""
    )
    (tmp_path / "conf").mkdir()
    named = record.model_copy(
        update={"command": f"{record.command} --config-dir {tmp_path / 'conf'}"}
    )
    assert command_problem(named) == ""
    (tmp_path / "conf").rmdir()
    with pytest.raises(UserError, match="names --config-dir=.*which is not here"):
        command_problem(named)
    path = record_path(tmp_path, record.task, record.router, record.id)
    write_record(path, record.model_copy(update={"command": other}))
    assert verified(monkeypatch, path) == 1
    shown = capsys.readouterr().out
    wrong = config_id(record, other)
    assert (
        f"DIFFERENT: its command gives another run: {wrong}; its configuration: equal, all metrics"
        in shown
    )


def config_id(record: RunRecord, command: str) -> str:
    """Return the id of the run that a command gives, with data and protocol of a record."""
    values = compose(*shlex.split(command)[3:]).resolved().model_dump()
    return record_id(values, record.contents, record.protocol, record.data_fingerprint)


def test_bad_input_is_one_line_and_others_are_still_verified(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (failed, honest, _) = copied(runs, tmp_path, status="failed")
    nonsense, older = tmp_path / "nonsense.json", tmp_path / "older.json"
    nonsense.write_text("[1, 2")
    older.write_text(json.dumps({"schema_version": 2, "id": "a"}))
    assert verified(monkeypatch, failed, nonsense, older, tmp_path / "none.json", honest) == 2
    out, err = capsys.readouterr()
    lines = [line.partition(": ")[2] for line in err.splitlines()]
    assert lines == [
        f"{failed}: its status is failed; allowed: a finished run",
        f"{nonsense}: not a run record of schema 3: invalid json: eof while parsing a list at line 1 column 5",
        f"{older}: of schema 2, which lacks what 3 is checked by; run its command again",
        f"{tmp_path}/none.json: there is no such file; allowed: <records>/<task>/<router>/<id>.json",
    ]
    assert "equal: all metrics agree" in out


@pytest.mark.parametrize(
    "words", [(), ("seeds=1",), ("x.json", "seeds=a"), ("x.json", "sedes=1"), ("--fast",)]
)
def test_wrong_words_are_told(
    words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert verified(monkeypatch, *words) == 2
    assert capsys.readouterr().err.count("\n") == 1


def remade(path: Path, **changes: Any) -> Path:
    """Write a record with changes beside it, under the id that follows from them."""
    values = read_record(path).model_copy(update=changes)
    identity = record_id(values.config, values.contents, values.protocol, values.data_fingerprint)
    other = record_path(path.parents[2], values.task, values.router, identity)
    write_record(other, values.model_copy(update={"id": identity}))
    return other


def test_what_is_not_as_it_was_is_told(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (path, _, _) = copied(runs, tmp_path)
    record = read_record(path)
    cases = {
        "its protocol is engine 1, router 99, family 1; of this code: engine 1, router": remade(
            path, protocol=record.protocol.model_copy(update={"router": 99})
        ),
        "its data is sha256:0ther1234, here it is sha256:": remade(
            path, data_fingerprint="sha256:0ther1234"
        ),
        "task.source=/nowhere does not exist": remade(
            path,
            config={
                **record.config,
                "task": {**record.config["task"], "source": "/nowhere", "strict": False},
            },
        ),
        "router=mine.py:Mine: no file mine.py in this folder": remade(
            path,
            router="mine.py:Mine",
            config={**record.config, "router": {"name": "mine.py:Mine"}},
        ),
        "init=/nowhere.ckpt": remade(path, config={**record.config, "init": "/nowhere.ckpt"}),
        "unknown option trainer_": remade(path, config={**record.config, "trainer_": 1}),
    }
    for says, other in cases.items():
        assert verified(monkeypatch, other) == 2, says
        line = capsys.readouterr().err
        assert line.count("\n") == 1 and f"error: {other}: {says}" in line, (says, line)
        assert not RunFiles(other).verified.exists()


def test_an_interrupted_verification_goes_on(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (path, _, _) = copied(runs, tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(
            "moesuite.train.fit.Run.evaluate", lambda run: (_ for _ in ()).throw(KeyboardInterrupt)
        )
        assert verified(patch, path) == 130
    assert (
        "the same command goes on" in capsys.readouterr().err
        and not RunFiles(path).verified.exists()
    )
    (checkpoint,) = path.with_suffix("").glob(".verify/*/*/*/*/last.ckpt")
    written = checkpoint.stat().st_mtime_ns
    with monkeypatch.context() as patch:
        patch.setattr("shutil.rmtree", lambda folder: None)
        assert verified(patch, path) == 0
    assert "equal: all metrics agree" in capsys.readouterr().out
    assert checkpoint.stat().st_mtime_ns == written  # it was trained already


def test_an_interruption_before_any_training_begins_anew(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (path, _, _) = copied(runs, tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(
            "moesuite.verify.__main__.check_identity",
            lambda *_: (_ for _ in ()).throw(KeyboardInterrupt),
        )
        assert verified(patch, path) == 130
    error = capsys.readouterr().err
    assert error == f"interrupted, without a verdict on {path}: the same command begins anew\n"
    assert not RunFiles(path).verified.exists()


@pytest.mark.slow
def test_ctrl_c_in_a_process_of_its_own(tmp_path: Path) -> None:
    words = (*SHORT[1:], "router=soft", "num_experts=2", "trainer.max_epochs=12")
    path = fit(compose(*words, f"records={tmp_path}"))[1]

    def start() -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "moesuite.verify", str(path)]
        return subprocess.Popen(
            command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    process = start()
    folder = path.with_suffix("") / ".verify"
    wait_for(lambda: any(folder.rglob("last.ckpt")), process)
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=120)
    assert process.returncode == 130 and "Traceback" not in error
    assert (
        error.endswith("the same command goes on from the last checkpoint\n")
        and not RunFiles(path).verified.exists()
    )
    (stopped,) = (read_record(one) for one in folder.rglob("*.json") if one.name == path.name)
    assert stopped.status == "interrupted" and 0 < stopped.steps < 12 * 22
    again = start()
    out, error = again.communicate(timeout=300)
    assert again.returncode == 0 and "\nequal: all metrics agree" in out, error


@pytest.mark.slow
def test_the_command_in_processes_of_its_own(command: Command, tmp_path: Path) -> None:
    """A router of one's own: honest, falsified, edited; and a file that is no record."""
    (tmp_path / "mine.py").write_text(MY_ROUTER)
    assert command("moesuite.run", "router=mine:MyRouter", *SHORT).returncode == 0
    (path,) = tmp_path.glob("runs/digits/MyRouter/*.json")
    done = command("moesuite.verify", str(path))
    assert done.returncode == 0 and "equal: all metrics agree" in done.stdout, done.stderr
    values = json.loads(path.read_text())
    values["quality"]["top1"]["value"] += 0.01
    path.write_text(json.dumps(values))
    done = command("moesuite.verify", str(path))
    assert (
        done.returncode == 1 and "DIFFERENT: curve and routing agree, but not top1" in done.stdout
    ), done.stderr
    verdicts = Verified.model_validate_json(RunFiles(path).verified.read_text()).verdicts
    assert [verdict.verdict for verdict in verdicts] == ["equal", "different"]
    (tmp_path / "mine.py").write_text(MY_ROUTER + "\n# edited\n")
    done = command("moesuite.verify", str(path))
    assert done.returncode == 2 and "router file" in done.stderr and done.stderr.count("\n") == 1
    done = command("moesuite.verify", str(tmp_path / "mine.py"))
    assert (
        done.returncode == 2 and done.stderr.count("\n") == 1 and "not a run record" in done.stderr
    )
