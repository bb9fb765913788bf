"""Protocol versions and verdicts on the pages: what is told, and what is never compared."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from moesuite.discovery.names import router_names, task_families
from moesuite.leaderboard.ingest.versions import known
from moesuite.leaderboard.ranking.board import Board
from moesuite.leaderboard.site.build import build
from moesuite.records.certificate import Verified
from moesuite.records.protocol import Protocol
from moesuite.records.record import RunRecord
from moesuite.records.store import RunFiles
from moesuite.records.verification import judge
from moesuite.routers import router_class
from moesuite.task import task_class
from tests.leaderboard.boards import boards_of, put
from tests.leaderboard.records import record_of

pytestmark = pytest.mark.usefixtures("made_records")


def version(**changes: Any) -> Protocol:
    return Protocol.model_validate({"engine": 1, "router": 1, "family": 1, **changes})


def board_of(*protocols: Protocol) -> Board:
    """Return a board of dense and another router, five seeds each, under each protocol."""
    names = ("dense", "good")
    (board,) = boards_of(
        [record_of(n, seed, protocol=p) for p in protocols for n in names for seed in range(5)]
    )
    return board


@pytest.mark.parametrize("part", ["engine", "family"])
def test_results_of_two_protocols_are_never_compared(part: str) -> None:
    board = board_of(version(), version(**{part: 2}))
    first = "vit, 100 steps, batch 32, AdamW 0.001"
    assert sorted(board.settings.values()) == [first, f"{first}, {part} protocol 2"]
    assert len({row.setting for row in board.rows}) == 2 and len(board.rows) == 4
    assert f"{part} protocol 2" in board.protocol
    told = {board.settings[key]: words for key, words in board.outdated.items()}
    assert told == {first: f"{part} protocol 1; newest is 2"}
    assert all(
        (told[first] in row.labels) == (board.settings[row.setting] == first) for row in board.rows
    )
    assert board_of(version()).protocol == "engine protocol 1, family protocol 1"


def test_an_older_router_protocol_is_labelled_and_not_ranked() -> None:
    records = [record_of(name, seed) for name in ("dense", "good") for seed in range(5)]
    records += [record_of("good", seed, protocol=version(router=2)) for seed in range(5)]
    (board,) = boards_of(records)
    rows = {row.variant: row for row in board.rows if row.router == "good"}
    options = "layers=last_half, num_experts=4, {}router.k=1"
    old, new = rows[options.format("")], rows[options.format("router protocol 2, ")]
    assert old.unranked == "router protocol 1; newest is 2" and old.group is None
    assert new.unranked == "" and new.group is not None


def test_an_edited_user_file_is_another_contestant() -> None:
    (board,) = boards_of(
        [record_of("good", seed, protocol=version(own={"router": "a" * 64})) for seed in (0, 1)]
    )
    assert len(board.rows) == 1
    edited = [
        record_of("good", seed, protocol=version(own={"router": str(seed) * 64})) for seed in (0, 1)
    ]
    assert len(boards_of(edited)[0].rows) == 2


def test_versions_are_read_from_the_sources() -> None:
    for name in router_names():
        assert known("routers", name) == router_class(name).protocol
    for name in task_families():
        assert known("tasks", name) == task_class(name).protocol
    assert (
        known("routers", "mine.py:Mine")
        is known("tasks", "nothing")
        is known("tasks", "../setup")
        is None
    )


def test_a_page_tells_that_the_package_knows_a_newer_protocol(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("moesuite.leaderboard.ingest.versions.ENGINE", 3)
    board = board_of(version())
    assert board.protocol == "engine protocol 1; newest is 3, family protocol 1"
    assert list(board.outdated.values()) == ["engine protocol 1; newest is 3"]


@pytest.mark.parametrize(
    ("changes", "router", "says"),
    [
        ({"engine": 99}, "soft", "of engine protocol 99, here up to"),
        ({"router": 99}, "soft", "of router protocol 99, here up to"),
        ({"family": 99}, "soft", "of family protocol 99, here up to"),
        ({"router": 99}, "mine.py:Mine", ""),
    ],
)
def test_an_unraised_version_makes_no_other_look_old(
    changes: dict[str, int], router: str, says: str, tmp_path: Path
) -> None:
    put(tmp_path, [record_of(router, 0, protocol=version(**changes)), record_of("dense", 0)])
    built = build([str(tmp_path)], tmp_path / "site")
    assert built.shown == (1 if says else 2)
    assert [says in line for line in built.problems] == [True] * bool(says)


def verified(path: Path, record: RunRecord, *again: float) -> None:
    """Write verdicts of reruns with these values."""
    verdicts = [judge(record, record_of("good", record.seed, value), []) for value in again]
    RunFiles(path).verified.parent.mkdir(exist_ok=True)
    RunFiles(path).verified.write_text(
        Verified(id=record.id, verdicts=verdicts).model_dump_json(), encoding="utf-8"
    )


def test_verdicts_are_on_the_page_of_the_run_and_in_its_row(tmp_path: Path) -> None:
    runs, site = tmp_path / "runs", tmp_path / "site"
    record = record_of("good", 0, 0.9)
    (path, _) = put(runs, [record, record_of("dense", 0)])
    page = site / "runs" / f"{record.id}.html"
    build([str(runs)], site)
    assert "Run again" not in page.read_text(encoding="utf-8")
    verified(path, record, 0.9, 0.9, 0.8)
    built = build([str(runs)], site)
    assert built.read == 1 and built.problems == []
    text = page.read_text(encoding="utf-8")
    assert text.count('<span class="label">equal</span>') == 2
    assert '<span class="label warn">different</span>' in text and "top1 0.9, again 0.8." in text
    assert "protocol engine 1, router 1, family 1" in text
    rows = {
        row["router"]: row
        for row in json.loads((site / "data" / "mine.json").read_text(encoding="utf-8"))["rows"]
    }
    assert (rows["good"]["verified"], rows["good"]["refuted"]) == (2, 1)
    assert {"verified 2x", "a rerun gave another result"} <= set(rows["good"]["labels"])
    assert (rows["dense"]["verified"], rows["dense"]["refuted"]) == (0, 0)


FALSE: dict[str, tuple[dict[str, Any], str]] = {
    "another run": ({"id": "another"}, "on the run another; allowed: on"),
    "no verdicts": ({"verdicts": [{"verdict": "fine"}]}, "no verdicts on a record"),
    "another value": (
        {"recorded": 0.95, "again": 0.95},
        "its recorded metrics are not those of the record",
    ),
    "not equal": ({"again": 0.8}, "verdict 0: equal, but top1 differ by more"),
    "not within": (
        {"verdict": "within", "again": 0.8, "tolerance": 0.05},
        "within, but top1 differ by more",
    ),
    "no tolerance": ({"verdict": "within", "again": 0.8}, "within, but top1 differ by more"),
}


@pytest.mark.parametrize("name", FALSE)
def test_a_fabricated_verdict_is_dropped_and_reported(name: str, tmp_path: Path) -> None:
    changes, says = FALSE[name]
    record = record_of("good", 0, 0.9)
    (path,) = put(tmp_path / "runs", [record])
    verified(path, record, 0.9)
    values = json.loads(RunFiles(path).verified.read_text(encoding="utf-8"))
    verdict = values["verdicts"][0]
    values |= {key: value for key, value in changes.items() if key in values}
    verdict |= {key: value for key, value in changes.items() if key == "verdict"}
    verdict["metrics"]["top1"] |= {
        key: changes[key] for key in ("recorded", "again", "tolerance") if key in changes
    }
    RunFiles(path).verified.write_text(json.dumps(values), encoding="utf-8")
    built = build([str(tmp_path / "runs")], tmp_path / "site")
    assert built.shown == 1 and len(built.problems) == 1
    assert says in built.problems[0] and str(RunFiles(path).verified) in built.problems[0]
