"""The board: records judged, compared, and written as pages; a command with clear errors."""

from __future__ import annotations

import functools
import http.server
import json
import os
import shutil
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from xml.etree import ElementTree

import jsonschema
import pytest
import yaml

from moesuite.config.run_command import reproduce
from moesuite.leaderboard.__main__ import main
from moesuite.leaderboard.ranking.board import slug
from moesuite.leaderboard.ranking.overview import overview
from moesuite.leaderboard.site import exports
from moesuite.leaderboard.site.build import build, check
from moesuite.records.certificate import Check
from moesuite.records.record import record_id
from moesuite.records.store import RunFiles
from tests.conftest import Command
from tests.leaderboard.boards import GOLDEN, boards_of, contents, example, golden_files, put
from tests.leaderboard.records import certificate_of, compute_of, config_of, record_of


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """Return a folder with the example's records."""
    put(tmp_path / "runs", example())
    return tmp_path / "runs"


def invoke(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    monkeypatch.setattr("sys.argv", ["leaderboard", *words])
    with pytest.raises(SystemExit) as stop:
        main()
    return int(stop.value.code or 0)


def test_the_pages_are_the_golden_ones(runs: Path, tmp_path: Path) -> None:
    """Written anew by `python -m tests.leaderboard.boards`."""
    build([str(runs)], tmp_path / "site")
    made = golden_files(tmp_path / "site")
    golden = {p.relative_to(GOLDEN).as_posix() for p in GOLDEN.rglob("*") if p.is_file()}
    assert set(made) == golden - {"protocol.json"}  # which is of tests/records/test_protocol.py
    for name, text in made.items():
        assert text == (GOLDEN / name).read_text(), name


def test_the_same_records_give_the_same_bytes(tmp_path: Path) -> None:
    put(tmp_path / "a", example())
    put(tmp_path / "b", example()[::-1])
    for place in ("a", "b"):
        build([str(tmp_path / place)], tmp_path / f"site_{place}")
    assert contents(tmp_path / "site_a") == contents(tmp_path / "site_b")


def test_only_what_is_new_is_read_and_the_pages_are_those_of_a_whole_build(
    runs: Path, tmp_path: Path
) -> None:
    out, more = tmp_path / "site", record_of("good", 5, 0.94)
    assert build([str(runs)], out).read == len(example())
    assert build([str(runs)], out).read == 0
    untouched = (out / "tasks" / "text.html").stat().st_mtime_ns
    (path,) = put(runs, [more])
    assert build([str(runs)], out).read == 1
    build([str(runs)], tmp_path / "whole")
    assert contents(out) == contents(tmp_path / "whole") and f"runs/{more.id}.html" in contents(out)
    assert (out / "tasks" / "text.html").stat().st_mtime_ns == untouched
    path.unlink()
    shutil.rmtree(runs / "text")
    build([str(runs)], out)
    shutil.rmtree(tmp_path / "whole")
    build([str(runs)], tmp_path / "whole")
    assert contents(out) == contents(tmp_path / "whole") and "tasks/text.html" not in contents(out)


def test_an_interrupted_build_goes_on(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(
            "moesuite.leaderboard.site.build.task_pages",
            lambda *_: (_ for _ in ()).throw(KeyboardInterrupt),
        )
        with pytest.raises(KeyboardInterrupt):
            build([str(runs)], tmp_path / "site")
    build([str(runs)], tmp_path / "site")
    build([str(runs)], tmp_path / "whole")
    assert contents(tmp_path / "site") == contents(tmp_path / "whole")


def test_paired_differences_and_tie_groups() -> None:
    """good is better than dense in every seed by 0.0302 on average; bad is far below."""
    (mine, _) = boards_of(example()[:16]) + boards_of(example()[17:])
    rows = {row.router: row for row in mine.rows}
    assert rows["good"].to_dense is not None and rows["good"].to_dense.mean == pytest.approx(0.0302)
    assert {name: row.group for name, row in rows.items()} == {
        "good": 1,
        "dense": None,
        "bad": 2,
        "soft_one": None,
    }
    assert rows["soft_one"].unranked == "not applicable: outputs depend on later tokens"
    assert "sees later tokens" in rows["soft_one"].labels
    assert (
        rows["dense"].to_dense is None
        and rows["dense"].half is not None
        and rows["dense"].unranked == "control"
    )
    assert (
        rows["bad"].to_best is not None
        and rows["bad"].to_best.verdict == "worse"
        and rows["good"].to_best is None
    )


def test_without_a_matched_dense_run_nothing_is_ranked() -> None:
    other = {"optim": {"lr": 0.5}}
    (board,) = boards_of(
        [record_of("dense", 0), *(record_of("good", seed, config=other) for seed in range(5))]
    )
    rows = {row.router: row for row in board.rows}
    assert rows["good"].group is None and rows["good"].unranked == "no matched dense run"
    assert rows["good"].to_dense is None
    assert {*board.settings.values()} == {
        "vit, 100 steps, batch 32, AdamW 0.001",
        "vit, 100 steps, batch 32, AdamW 0.5",
    }


def test_of_two_runs_of_a_seed_the_newest_counts() -> None:
    older, newer = (
        record_of("good", 0, 0.1),
        record_of(
            "good", 0, 0.2, config={"allow_noncausal": True}, created="2027-01-01T00:00:00+00:00"
        ),
    )
    (board,) = boards_of([newer, older])
    assert board.rows[0].mean == 0.2 and [run for _, run in board.rows[0].runs] == [
        newer.id,
        older.id,
    ]


def test_options_tell_contestants_apart() -> None:
    two = config_of("mine", "good", 0) | {"router": {"name": "good", "k": 2}}
    (board,) = boards_of([record_of("good", 0), record_of("good", 0, config=two)])
    shared = "layers=last_half, num_experts=4"
    assert sorted(row.variant for row in board.rows) == [
        f"{shared}, router.k=1",
        f"{shared}, router.k=2",
    ]
    (alone,) = boards_of([record_of("good", 0)])
    assert (
        alone.rows[0].variant == f"{shared}, router.k=1"
    )  # whether or not there is another to tell it from


def test_other_data_is_another_benchmark() -> None:
    found = boards_of(
        [
            record_of("good", 0),
            record_of("good", 1),
            record_of("good", 2, data_fingerprint="sha256:0ther"),
        ]
    )
    (other,) = {board.slug for board in found} - {"mine"}
    assert other.startswith("mine~") and slug(other) != other
    assert {board.slug: (bool(board.other), len(board.rows)) for board in found} == {
        "mine": (False, 1),
        other: (True, 1),
    }


def test_times_of_two_machines_are_never_mixed() -> None:
    there = {"device": "GPU", "cpus": "8", "threads": "2", "moesuite": "0.1.0"}
    (board,) = boards_of(
        [
            record_of("good", 0),
            record_of("good", 1, environment=there, compute=compute_of(3.0, 1e9)),
        ]
    )
    timings = board.rows[0].timings
    assert {name.split(",")[0]: one.latency_ratio for name, one in timings.items()} == {
        "CPU": 1.25,
        "GPU": 3.0,
    }


def test_labels_of_what_a_reader_has_to_know() -> None:
    dirty = record_of("good", 0, git_dirty=True)
    other = record_of("good", 1, code="d" * 64, git_commit=None, git_dirty=None)
    (board,) = boards_of([dirty, other])
    assert board.rows[0].labels == ["uncommitted code", "code of no commit", "2 seeds"]


def test_marks_are_those_of_a_certificate_with_the_same_options(runs: Path, tmp_path: Path) -> None:
    (same,), (other,) = (
        boards_of([record_of("good", 0)], good=certificate_of(k=k)) for k in (1, 2)
    )
    assert same.rows[0].checks == {"deterministic": True, "causal": False} and same.rows[0].stale
    current = certificate_of(k=1).model_copy(update={"protocol": "engine 1, router 1"})
    assert not boards_of([record_of("good", 0)], good=current)[0].rows[0].stale
    assert other.rows[0].checks == {}
    (runs / "certificates").mkdir()
    (runs / "certificates" / "good.json").write_text(certificate_of(k=1).model_dump_json())
    (runs / "certificates" / "none.json").write_text("{}")
    built = build([str(runs)], tmp_path / "site")
    assert built.problems == [
        f"{runs}/certificates/none.json: not a certificate: router: field required"
    ]
    assert "class Good: ..." in (tmp_path / "site" / "routers" / "good.html").read_text()


def test_certificates_of_all_options_stand_on_the_routers_page(runs: Path, tmp_path: Path) -> None:
    """Those of the old layout beside those of the new one; the marks of a run are those of its own options."""
    (runs / "certificates").mkdir()
    kinds = [certificate_of(k=1), certificate_of(k=2).model_copy(update={"changed": {"k": 2}})]
    kinds[1].verdict = ["claims causal, leaks in training at length 128"]
    kinds[1].checks["causal"] = Check(holds=False, claimed=True)
    for one in kinds:
        (runs / "certificates" / f"{one.stem}.json").write_text(one.model_dump_json())
    assert build([str(runs)], tmp_path / "site").problems == []
    page = (tmp_path / "site" / "routers" / "good.html").read_text()
    assert page.count("<caption>What holds</caption>") == 2
    assert (
        page.count("A claim is false.") == 1
        and "claims causal, leaks in training at length 128" in page
    )
    assert "<h3>Default options</h3>" in page and "<h3>k=2</h3>" in page


def test_the_overview_takes_the_usual_budget_and_not_the_best_one() -> None:
    large = {"num_experts": 64}
    records = [
        record_of("dense", 0),
        record_of("a", 0, 0.5),
        record_of("b", 0, 0.6),
        record_of("a", 0, 0.99, config=large),
    ]
    view = overview(boards_of(records))
    assert view.cells["a", "mine"].mean == 0.5


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
    text = change(path.read_text())
    path.unlink()
    path = path.with_name("moved.json") if name == "moved" else path
    path.write_text(text, errors="surrogateescape")
    code = invoke(monkeypatch, f"records={tmp_path / 'runs'}", f"out={tmp_path / 'site'}")
    shown = capsys.readouterr()
    assert code == 2 and shown.err.count("\n") == 1 and f"{path}" in shown.err and says in shown.err
    assert (
        shown.out.startswith("1 records -> ")
        and says.split("'")[0] in (tmp_path / "site" / "apart.html").read_text()
    )
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
    "masked": ({"contents": {"optim": None}}, "contents of optim; allowed are init and upcycle"),
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
def test_a_record_that_was_made_up_is_named_and_the_rest_is_shown(
    name: str, tmp_path: Path
) -> None:
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
    (folder / f"{values['id']}.json").write_text(json.dumps(values))
    put(tmp_path / "runs", [record_of("good", 0)])
    built = build([str(tmp_path / "runs")], tmp_path / "site")
    assert built.shown == 1 and len(built.problems) == 1 and says in built.problems[0]
    assert check([str(tmp_path / "runs")]).problems == built.problems


@pytest.mark.parametrize("text", ["1e999", '"nan"', '"Infinity"', "NaN"])
def test_no_spelling_of_infinity_gets_in(text: str, tmp_path: Path) -> None:
    (path,) = put(tmp_path, [record_of("odd", 0)])
    path.write_text(path.read_text().replace('"value": 0.9,', f'"value": {text},'))
    assert "quality.top1.value is" in check([str(tmp_path)]).problems[0]


def test_files_that_break_readers_are_named(tmp_path: Path) -> None:
    (first, second) = put(tmp_path, [record_of("odd", 0), record_of("odd", 1)])
    first.write_text("[" * 200_000)
    second.unlink()
    second.symlink_to(tmp_path / "nowhere")
    problems = sorted(check([str(tmp_path)]).problems, key=lambda line: str(first) in line)
    assert (
        len(problems) == 2 and "cannot be read" in problems[0] and "not a run record" in problems[1]
    )


def test_which_of_two_copies_is_shown_decides_its_page_and_may_change(tmp_path: Path) -> None:
    one, out = record_of("good", 0), tmp_path / "site"
    put(tmp_path / "a", [one])
    (copy,) = put(tmp_path / "b", [one], looked=False)
    places = [f"{tmp_path}/a", f"{tmp_path}/b"]

    def seen(*given: str) -> bool:
        build(list(given), out)
        build(list(given), tmp_path / "whole")
        assert contents(out) == contents(tmp_path / "whole")
        shutil.rmtree(tmp_path / "whole")
        return b"data:image/png" in contents(out)[f"runs/{one.id}.html"]

    assert seen(*places) is True
    assert seen(*places[::-1]) is False
    assert seen(*places) is True
    copy.write_text(copy.read_text() + "\n")
    assert seen(*places) is True
    shutil.rmtree(tmp_path / "a" / "mine")
    assert seen(*places) is False


@pytest.mark.parametrize("step", ["shared_pages", "task_pages", "study_pages"])
def test_whenever_a_build_is_interrupted_the_next_one_is_whole(
    step: str, runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "site"
    build([str(runs)], out)
    (path,) = put(runs, [record_of("good", 5, 0.94)])
    with monkeypatch.context() as patch:
        patch.setattr(
            f"moesuite.leaderboard.site.build.{step}",
            lambda *_: (_ for _ in ()).throw(KeyboardInterrupt),
        )
        with pytest.raises(KeyboardInterrupt):
            build([str(runs)], out)
    path.unlink()
    build([str(runs)], out)
    build([str(runs)], tmp_path / "whole")
    assert contents(out) == contents(tmp_path / "whole")


def test_the_matched_dense_model_began_alike_and_is_as_deep() -> None:
    deep, at_start = {"tile_depth": 2}, {"init": "last.ckpt"}
    records = [record_of("dense", seed, 0.5) for seed in range(6)]
    records += [record_of("dense", seed, 0.9, config=deep) for seed in range(6)]
    records += [
        record_of("dense", seed, 0.8, config=at_start, contents={"init": "h1"}) for seed in range(5)
    ]
    records += [
        record_of("good", seed, 0.79, config=at_start, contents={"init": "h1"}) for seed in range(5)
    ]
    records.append(record_of("other", 0, 0.6, config=at_start, contents={"init": "h2"}))
    (board,) = boards_of(records)
    rows = {row.router: row for row in board.rows}
    assert rows["good"].to_dense is not None and rows["good"].to_dense.mean == pytest.approx(-0.01)
    assert rows["other"].to_dense is None and rows["other"].unranked == "no matched dense run"


def test_runs_that_say_nothing_do_not_hide_others() -> None:
    records = [record_of("dense", seed) for seed in range(2)] + [
        record_of("good", seed) for seed in range(2)
    ]
    failed = [
        record_of("good", seed, status="failed", quality={}, data_fingerprint="sha256:0ther000")
        for seed in range(5)
    ]
    alone = [record_of(name, 0, config={"optim": {"lr": 0.5}}) for name in ("a", "b", "c")]
    new_task = [record_of("good", 0, task="new")]
    view = overview(boards_of(records + failed + alone) + boards_of(new_task))
    assert {board.task for board in view.boards} == {"mine", "new"}
    assert view.cells["good", "mine"].group == 1
    assert [scope.name for scope in view.scopes] == ["vision"] and view.scopes[0].standings[
        0
    ].router == "good"


BROKEN_LOOKS = {
    "of the network": '{"id": "ID", "examples": [{"image": "https://evil.example/a.png", "layers": []}]}',
    "of another run": '{"id": "other", "examples": []}',
    "no such thing": '{"a": 1}',
    "deep": "[" * 200_000,
}


@pytest.mark.parametrize("name", BROKEN_LOOKS)
def test_what_a_router_looked_at_is_checked(name: str, tmp_path: Path) -> None:
    record = record_of("good", 0)
    (path,) = put(tmp_path / "runs", [record])
    RunFiles(path).routing.write_text(BROKEN_LOOKS[name].replace("ID", record.id))
    built = build([str(tmp_path / "runs")], tmp_path / "site")
    assert built.shown == 1 and len(built.problems) == 1 and "routing.json: " in built.problems[0]
    assert "evil.example" not in (tmp_path / "site" / "runs" / f"{record.id}.html").read_text()


def test_broken_certificates_are_named(runs: Path) -> None:
    (runs / "certificates").mkdir()
    good = certificate_of(k=1).model_dump(mode="json")
    for name, changed in {
        "a": {"checks": {"causal": {}}},
        "b": {"checks": {"causal": {"holds": "maybe"}}},
        "c": {},
    }.items():
        (runs / "certificates" / f"{name}.json").write_text(json.dumps(good | changed))
    problems = check([str(runs)]).problems
    assert (
        len(problems) == 3
        and "checks.causal.holds" in problems[0]
        and "a file by the name of its router" in problems[2]
    )


EVIL = "</script><img src=x onerror=alert(1)>'\"&"


def test_text_of_records_cannot_become_markup(tmp_path: Path) -> None:
    odd = {
        "router_paper": f"{EVIL} https://e.org/{EVIL}",
        "backbone": EVIL,
        "data_description": EVIL,
    }
    odd |= {"command": reproduce([EVIL]), "environment": {EVIL: EVIL}, "reason": EVIL}
    put(tmp_path / "runs", [record_of(f"x{EVIL.replace('/', '')}", 0, task="t<b>", **odd)])
    put(tmp_path / "runs", [record_of("good", 0, task="t<b>", config={"optim": {EVIL: EVIL}})])
    assert build([str(tmp_path / "runs")], tmp_path / "site").problems == []
    for name, text in contents(tmp_path / "site").items():
        if name.endswith(".html"):
            assert (
                b"<img" not in text
                and b"<b>'" not in text
                and text.count(b"</script>") == text.count(b"<script")
            ), name
    ElementTree.parse(tmp_path / "site" / "feed.xml")


@pytest.mark.parametrize("name", ["digits", "a/b", "..", "a b", "é", "x" * 40, "<b>", ""])
def test_names_are_addresses(name: str) -> None:
    made = slug(name)
    assert (
        made
        and "/" not in made
        and not made.startswith(".")
        and (made == name or slug(made) == made)
    )
    assert slug("a/b") != slug("a_b")


def test_the_command(command: Command, tmp_path: Path) -> None:
    missing = command("moesuite.leaderboard")
    assert (
        missing.returncode == 2
        and "records=runs does not exist" in missing.stderr
        and missing.stderr.count("\n") == 1
    )
    put(tmp_path / "mine", example())
    done = command("moesuite.leaderboard", "records=mine", "out=here")
    assert done.returncode == 0 and f"{len(example())} records -> here/index.html" in done.stdout
    wrong = command("moesuite.leaderboard", "recrods=mine")
    assert wrong.returncode == 2 and "nearest: records" in wrong.stderr
    assert "--serve" in command("moesuite.leaderboard", "--help").stdout


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--check", "--serve"], "type one of them"),
        (["port=x"], "allowed is 1 to 65535"),
        (["records=nosuch://bucket/x"], "Protocol not known: nosuch"),
        (["records=http://127.0.0.1:9/runs/"], "does not exist, or cannot be reached"),
    ],
)
def test_what_is_mistyped(
    words: list[str],
    says: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert invoke(monkeypatch, *words) == 2
    error = capsys.readouterr().err
    assert says in error and error.count("\n") == 1 and not (tmp_path / "site").exists()


def test_a_folder_that_is_not_ours_is_not_overwritten(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "index.html").write_text("mine")
    assert invoke(monkeypatch, f"records={runs}", f"out={tmp_path / 'theirs'}") == 2
    assert "did not write" in capsys.readouterr().err and contents(tmp_path / "theirs") == {
        "index.html": b"mine"
    }
    assert invoke(monkeypatch, f"records={runs}", "out=/proc/site") == 2
    assert "cannot be written" in capsys.readouterr().err
    (tmp_path / "file").touch()
    assert invoke(monkeypatch, f"records={runs}", f"out={tmp_path / 'file'}") == 2


def test_a_disk_that_is_full_is_no_record_s_fault(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(self: object, name: str, text: str) -> bool:
        if name.startswith("runs/"):
            raise OSError(28, "No space left on device")
        return True

    monkeypatch.setattr("moesuite.leaderboard.site.output_folder.Site.write", full)
    assert invoke(monkeypatch, f"records={runs}", f"out={tmp_path / 'site'}") == 2
    error = capsys.readouterr().err
    assert "No space left on device" in error and error.count("\n") == 1


def test_records_are_only_checked(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert invoke(monkeypatch, f"records={runs}", "--check") == 0
    assert (
        f"{len(example())} records can be shown" in capsys.readouterr().out
        and not (tmp_path / "site").exists()
    )
    (tmp_path / "none").mkdir()
    assert (
        invoke(monkeypatch, "records=none", "--check") == 2
        and "holds no record" in capsys.readouterr().err
    )


@pytest.fixture
def address(runs: Path) -> Iterator[str]:
    """Return the address of an http listing of the example's records."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *arguments: object) -> None: ...

    server = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(Quiet, directory=runs)
    )
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()


@pytest.mark.parametrize("protocol", ["http", "file", "memory"])
def test_records_from_anywhere_give_the_same_pages(
    protocol: str, runs: Path, address: str, tmp_path: Path
) -> None:
    place = address if protocol == "http" else f"file://{runs}"
    if protocol == "memory":
        import fsspec

        fsspec.filesystem("memory").put(f"{runs}/", "/runs/", recursive=True)
        place = "memory://runs"
    built = build([place], tmp_path / "site")
    assert built.shown == len(example()) and built.problems == []
    build([str(runs)], tmp_path / "local")
    assert contents(tmp_path / "site") == contents(tmp_path / "local")
    assert build([place], tmp_path / "site").read == (len(example()) if protocol == "http" else 0)


def test_serving_a_look(command: Command, runs: Path, tmp_path: Path) -> None:
    words = [
        sys.executable,
        "-m",
        "moesuite.leaderboard",
        f"records={runs}",
        "--serve",
        "port=8765",
    ]
    process = subprocess.Popen(
        words, cwd=tmp_path, stdout=subprocess.PIPE, text=True, env={**os.environ}
    )
    try:
        assert process.stdout is not None
        process.stdout.readline()
        assert "http://127.0.0.1:8765/" in process.stdout.readline()
        time.sleep(0.2)
        assert b"Routers" in urllib.request.urlopen("http://127.0.0.1:8765/").read()
        taken = command("moesuite.leaderboard", f"records={runs}", "--serve", "port=8765")
        assert taken.returncode == 2 and "type for example port=8766" in taken.stderr
    finally:
        process.terminate()
        process.wait()


def test_every_eval_ever_accepts_what_is_exported(runs: Path, tmp_path: Path) -> None:
    """Its schema, version 0.3.0, as in the package every-eval-ever on PyPI."""
    schema = json.loads((Path(__file__).parent / "eval.schema.json").read_text())
    build([str(runs)], tmp_path / "site")
    files = list((tmp_path / "site" / "exports" / "every_eval_ever").rglob("*.json"))
    assert len(files) == 6 and schema["version"] == exports.SCHEMA
    for path in files:
        jsonschema.validate(json.loads(path.read_text()), schema)
    good = json.loads(
        next(
            path for path in files if path.parent.name == "good" and "mine" in path.parts
        ).read_text()
    )
    (result,) = good["evaluation_results"]
    interval = result["score_details"]["uncertainty"]["confidence_interval"]
    assert result["score_details"]["score"] == pytest.approx(0.9306)
    assert interval["lower"] < 0.9306 < interval["upper"]


def test_a_model_card_takes_the_block() -> None:
    from huggingface_hub import ModelCard

    card = ModelCard(exports.model_index(record_of("good", 0, 0.875)) + "\n# A model\n")
    (result,) = card.data.eval_results
    assert (result.task_type, result.dataset_type, result.dataset_revision) == (
        "image-classification",
        "someone/data",
        "abc",
    )
    assert (result.metric_type, result.metric_value) == ("top1", 0.875)
    odd = exports.model_index(
        record_of('a: "b"\n', 0, config={"task": {"name": "- x", "family": ""}})
    )
    assert yaml.safe_load(odd.strip("-\n"))["model-index"][0]["name"] == 'vit-a: "b"\n'


def test_the_feed_is_atom_and_tells_the_newest_first(runs: Path, tmp_path: Path) -> None:
    build([str(runs)], tmp_path / "site")
    root = ElementTree.parse(tmp_path / "site" / "feed.xml").getroot()
    name = "{http://www.w3.org/2005/Atom}"
    updated = [entry.findtext(f"{name}updated") or "" for entry in root.findall(f"{name}entry")]
    assert (
        updated == sorted(updated, reverse=True) and root.findtext(f"{name}updated") == updated[0]
    )
    assert all(root.findtext(f"{name}{part}") for part in ("id", "title"))


def test_no_spreadsheet_takes_a_name_for_a_formula() -> None:
    (board,) = boards_of([record_of("good", 0, backbone="=HYPERLINK(1)")])
    assert "'=HYPERLINK(1)" in exports.csv_of(board) and ",-0" not in exports.csv_of(board)


def test_published_figures_stand_beside_measured_ones(tmp_path: Path) -> None:
    quality = {
        name: {"value": 0.8, "direction": "max", "n": 9}
        for name in ("spearman", "STSBenchmark", "STS12")
    }
    config = {"task": {"name": "sts", "family": "embeddings", "kind": "similarity"}}
    config["trainer"] = {"max_time": "00:01:00:00"}  # as many steps as there is time for
    known = {
        "task": "sts",
        "family": "embeddings",
        "config": config,
        "quality": quality,
        "backbone": "minilm",
    }
    known |= {"splits": {"test": 9}, "curve": []}
    run = record_of("dense", 0, steps=0, **known)
    put(tmp_path / "runs", [run, record_of("dense", 1, **known)])
    build([str(tmp_path / "runs")], tmp_path / "site")
    page = (tmp_path / "site" / "tasks" / "sts.html").read_text()
    assert (
        "Claimed and measured" not in page
    )  # one of the two was trained: another model than the published one
    shutil.rmtree(tmp_path / "runs")
    put(tmp_path / "runs", [run])
    build([str(tmp_path / "runs")], tmp_path / "site")
    page = (tmp_path / "site" / "tasks" / "sts.html").read_text()
    assert "0.8203" in page and "−0.0203" in page and page.count("mteb") == 2
