"""Records that are broken or made up are named, and the rest is shown."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from moesuite.leaderboard.site.build import build, check
from moesuite.records.record import record_id
from moesuite.records.store import RunFiles
from tests.leaderboard.boards import invoke, put
from tests.leaderboard.records import certificate_of, compute_of, config_of, record_of

BAD: dict[str, tuple[Callable[[str], str], str]] = {
    "empty": (lambda _: "", "is empty"),
    "truncated": (
        lambda text: text[: len(text) // 2],
        "not a run record of schema 3: invalid json",
    ),
    "later": (
        lambda text: text.replace('"schema_version": 3', '"schema_version": 4'),
        "of schema 4, here up to 3 is known",
    ),
    "earlier": (
        lambda text: text.replace('"schema_version": 3', '"schema_version": 2').replace(
            '"protocol"', '"old"'
        ),
        "of schema 2, which lacks",
    ),
    "unknown field": (
        lambda text: text.replace('"steps"', '"stairs"'),
        "stairs: extra inputs are not permitted",
    ),
    "nan": (
        lambda text: text.replace('"value": 0.9,', '"value": NaN,'),
        "quality.top1.value is nan; allowed: finite",
    ),
    "infinite cost": (
        lambda text: text.replace('"activation_bytes": 1.0', '"activation_bytes": Infinity'),
        "compute.activation_bytes is inf",
    ),
    "changed": (lambda text: text.replace('"lr": 0.001', '"lr": 0.002'), "its content hashes to"),
    "other data": (
        lambda text: text.replace("sha256:da7a0000", "sha256:da7a0001"),
        "its content hashes to",
    ),
    "no fingerprint": (
        lambda text: text,
        "its data fingerprint is 'unknown'; allowed: <algorithm>:<digest>",
    ),
    "moved": (lambda text: text, "allowed: a file by the name of its id"),
    "pointless": (
        lambda text: text.replace('"primary": "top1"', '"primary": "top9"'),
        "a finished run without top9",
    ),
    "binary": (lambda text: text.replace("vit", "v\udcff"), "is no text"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_record_is_named_and_the_rest_is_shown(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    change, says = BAD[name]
    known = {"data_fingerprint": "unknown"} if name == "no fingerprint" else {}
    (path,) = put(tmp_path / "runs", [record_of("odd", 0, **known)])
    put(tmp_path / "runs", [record_of("good", 0)])
    text = change(path.read_text(encoding="utf-8"))
    path.unlink()
    path = path.with_name("moved.json") if name == "moved" else path
    path.write_text(text, errors="surrogateescape", encoding="utf-8")
    code = invoke(monkeypatch, f"records={tmp_path / 'runs'}", f"out={tmp_path / 'site'}")
    shown = capsys.readouterr()
    assert code == 2 and shown.err.count("\n") == 1 and f"{path}" in shown.err and says in shown.err
    assert shown.out.startswith("1 records -> ") and says.split("'")[0] in (
        tmp_path / "site" / "apart.html"
    ).read_text(encoding="utf-8")
    assert invoke(monkeypatch, f"records={tmp_path / 'runs'}", "--check") == 2
    path.unlink()
    assert invoke(monkeypatch, f"records={tmp_path / 'runs'}", f"out={tmp_path / 'site'}") == 0


def test_the_fingerprint_of_known_data_is_checked(tmp_path: Path) -> None:
    config = {"task": {"name": "digits", "family": "vision", "embedded": "digits", "source": None}}
    put(tmp_path, [record_of("good", 0, task="digits", config=config)])
    assert "that of digits is sha256:0b7e9c32" in check([str(tmp_path)]).problems[0]


HOSTILE: dict[str, tuple[dict[str, object], str]] = {
    "no task": (
        {"config": {**config_of("mine", "odd", 0), "task": None}},
        "config.task is None; allowed: options by",
    ),
    "no router": (
        {"config": {**config_of("mine", "odd", 0), "router": "odd"}},
        "config.router is 'odd'",
    ),
    "another router": ({"router": "dense"}, "router is 'dense', but 'odd' in its configuration"),
    "another seed": ({"seed": 4}, "seed is 4, but 0 in its configuration"),
    "another task": ({"task": "other"}, "task is 'other', but 'mine' in its configuration"),
    "no time": ({"created": "yesterday"}, "created is 'yesterday'; allowed: a time with its zone"),
    "no zone": ({"created": "2026-01-01T00:00:00"}, "allowed: a time with its zone"),
    "masked model": (
        {"contents": {"backbone.model": "0"}},
        "contents.backbone.model without a fol",
    ),
    "masked": ({"contents": {"optim": None}}, "contents of optim; allowed are backbone.model"),
    "too much": (
        {"compute": {**compute_of(1.0, 1e9), "parameters_total": 10**400}},
        "parameters_total is huge",
    ),
    "long name": (
        {"task": "t" * 300, "config": config_of("t" * 300, "odd", 0)},
        "task of 300 characters; allowed",
    ),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_fabricated_record_is_reported_and_the_rest_is_shown(name: str, tmp_path: Path) -> None:
    changes, says = HOSTILE[name]
    odd = record_of("odd", 0).model_copy(
        update={k: v for k, v in changes.items() if k not in ("contents", "compute")}
    )
    values = odd.model_dump(mode="json") | {
        k: v for k, v in changes.items() if k in ("contents", "compute")
    }
    values["id"] = record_id(
        values["config"], values["contents"], odd.protocol, values["data_fingerprint"]
    )
    folder = tmp_path / "runs" / "mine" / "odd"
    folder.mkdir(parents=True)
    (folder / f"{values['id']}.json").write_text(json.dumps(values), encoding="utf-8")
    put(tmp_path / "runs", [record_of("good", 0)])
    built = build([str(tmp_path / "runs")], tmp_path / "site")
    assert built.shown == 1 and len(built.problems) == 1 and says in built.problems[0]
    assert check([str(tmp_path / "runs")]).problems == built.problems


@pytest.mark.parametrize("text", ["1e999", '"nan"', '"Infinity"', "NaN"])
def test_no_spelling_of_infinity_gets_in(text: str, tmp_path: Path) -> None:
    (path,) = put(tmp_path, [record_of("odd", 0)])
    path.write_text(
        path.read_text(encoding="utf-8").replace('"value": 0.9,', f'"value": {text},'),
        encoding="utf-8",
    )
    assert "quality.top1.value is" in check([str(tmp_path)]).problems[0]


def test_files_that_break_readers_are_named(tmp_path: Path) -> None:
    (first, second) = put(tmp_path, [record_of("odd", 0), record_of("odd", 1)])
    first.write_text("[" * 200_000, encoding="utf-8")
    second.unlink()
    second.symlink_to(tmp_path / "nowhere")
    problems = sorted(check([str(tmp_path)]).problems, key=lambda line: str(first) in line)
    assert (
        len(problems) == 2 and "cannot be read" in problems[0] and "not a run record" in problems[1]
    )


BROKEN_LOOKS = {
    "of the network": '{"id": "ID", "examples": ['
    '{"image": "https://evil.example/a.png", "layers": []}]}',
    "of another run": '{"id": "other", "examples": []}',
    "no such thing": '{"a": 1}',
    "deep": "[" * 200_000,
}


@pytest.mark.parametrize("name", BROKEN_LOOKS)
def test_routing_examples_are_checked(name: str, tmp_path: Path) -> None:
    record = record_of("good", 0)
    (path,) = put(tmp_path / "runs", [record])
    RunFiles(path).routing.write_text(BROKEN_LOOKS[name].replace("ID", record.id), encoding="utf-8")
    built = build([str(tmp_path / "runs")], tmp_path / "site")
    assert built.shown == 1 and len(built.problems) == 1 and "routing.json: " in built.problems[0]
    assert "evil.example" not in (tmp_path / "site" / "runs" / f"{record.id}.html").read_text(
        encoding="utf-8"
    )


def test_broken_certificates_are_named(runs: Path) -> None:
    (runs / "certificates").mkdir()
    good = certificate_of(k=1).model_dump(mode="json")
    for name, changed in {
        "a": {"checks": {"causal": {}}},
        "b": {"checks": {"causal": {"holds": "maybe"}}},
        "c": {},
    }.items():
        (runs / "certificates" / f"{name}.json").write_text(
            json.dumps(good | changed), encoding="utf-8"
        )
    problems = check([str(runs)]).problems
    assert (
        len(problems) == 3
        and "checks.causal.holds" in problems[0]
        and "a file by the name of its router" in problems[2]
    )
