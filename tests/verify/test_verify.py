"""Verification: what is equal, within the tolerance of seeds, or different.

By hand and by real runs.
"""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import pytest

from moesuite import compose
from moesuite.errors import UserError
from moesuite.records.certificate import Verified
from moesuite.records.record import RunRecord, record_id
from moesuite.records.store import RunFiles, read_record, record_path, write_record
from moesuite.verify.replay import command_problem
from tests.verify.recorded import copied, verified


def test_an_honest_record_is_equal_and_its_verdicts_are_kept(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (path, _, _) = copied(runs, tmp_path)
    assert verified(monkeypatch, path) == 0
    assert "\nequal: all metrics agree" in capsys.readouterr().out
    assert verified(monkeypatch, path) == 0
    kept = Verified.model_validate_json(RunFiles(path).verified.read_text(encoding="utf-8"))
    record = read_record(path)
    assert kept.id == record.id and [verdict.verdict for verdict in kept.verdicts] == [
        "equal",
        "equal",
    ]
    assert kept.verdicts[0].code == record.code and kept.verdicts[0].seeds == 3
    assert kept.verdicts[0].metrics["top1"].difference == 0
    assert [item.name for item in path.with_suffix("").iterdir()] == ["verified.json"]


@pytest.mark.slow
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
    (verdict,) = Verified.model_validate_json(
        RunFiles(path).verified.read_text(encoding="utf-8")
    ).verdicts
    assert (
        verdict.verdict == "different"
        and "(recorded " in verdict.reason
        and " more" in verdict.reason
    )


@pytest.mark.slow
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
        f"{record.command} task.source={tmp_path}": (
            f"its command reads other data: task.source={tmp_path}"
        ),
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
    nonsense.write_text("[1, 2", encoding="utf-8")
    older.write_text(json.dumps({"schema_version": 2, "id": "a"}), encoding="utf-8")
    assert verified(monkeypatch, failed, nonsense, older, tmp_path / "none.json", honest) == 2
    out, err = capsys.readouterr()
    lines = [line.partition(": ")[2] for line in err.splitlines()]
    assert lines == [
        f"{failed}: its status is failed; expected a finished run",
        f"{nonsense}: not a run record of schema 3: invalid json: eof while parsing a list at "
        f"line 1 column 5",
        f"{older}: of schema 2, which lacks what 3 is checked by; run its command again",
        f"{tmp_path}/none.json: no such file; expected <records>/<task>/<router>/<id>.json",
    ]
    assert "equal: all metrics agree" in out


@pytest.mark.parametrize(
    "words", [(), ("seeds=1",), ("x.json", "seeds=a"), ("x.json", "sedes=1"), ("--fast",)]
)
def test_unknown_words_are_reported(
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


def test_changed_preconditions_are_reported(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (path, _, _) = copied(runs, tmp_path)
    record = read_record(path)
    cases = {
        "its protocol is engine 1, router 99, family 2; of this code: engine 1, router": remade(
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
