"""The page: a pure function of the records, and a command with clear errors."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from moesuite.leaderboard.__main__ import main
from moesuite.leaderboard.board import tables
from moesuite.leaderboard.intake import take
from moesuite.leaderboard.render import page
from moesuite.record import RunRecord, write_record
from tests.conftest import Command
from tests.test_record import record

GOLDEN = Path(__file__).parent / "golden" / "index.html"


def finished(router: str, seed: int) -> RunRecord:
    part = {"backbone": 1e9, "router": 1e6, "dispatch_combine": 2e6, "experts": 5e8, "padding": 0.0}
    timing = {"median": 0.1, "iqr": 0.01, "n": 9, "ratio_to_dense": 1.25, "dense_median": 0.08}
    layer = {
        "layer": "blocks.1.mlp",
        "load": [0.5, 0.5],
        "dropped": 0.125,
        "refused": 0.1,
        "dead": 0,
        "entropy": 1.0,
        "pairs_per_token": 1.0,
    }
    compute = {
        "activated": part,
        "executed": {**part, "padding": 1e8},
        "expected": part,
        "training": part,
        "training_step_flops": 1e12,
        "uncounted": ["Model.attn: mine.attention"] if router == "relu" else [],
        "activation_bytes": 1.0,
        "parameters_total": 2000000,
        "parameters_active": 1000000,
        "slots_per_token_asked": 1.0,
        "slots_per_token_effective": 1.0,
        "latency": timing,
        "training_step": None,
        "threads": 2,
        "batch_size": 32,
        "peak_memory_bytes": 1,
        "device": "cpu",
    }
    quality = {"top1": {"value": 0.9 + seed / 100, "direction": "max", "n": 360}}
    return record(
        id=f"{router}{seed}",
        router=router,
        seed=seed,
        quality=quality,
        limited_quality=quality,
        compute=compute,
        health=[layer],
        seconds=12.5,
    )


def example() -> list[RunRecord]:
    bad = record(id="f", router="soft", status="failed", reason="the loss is nan at step 3 <b>")
    return [finished("token_choice", 1), bad, finished("token_choice", 0), finished("relu", 0)]


def test_the_page_is_the_golden_one() -> None:
    assert page(example()) == GOLDEN.read_text()


def test_the_order_of_records_does_not_matter() -> None:
    assert page(example()) == page(example()[::-1])
    assert [r.id for r in tables(example())[0].records] == ["relu0", "f", "token_choice0", "token_choice1"]


def test_flops_that_are_not_all_counted_are_marked() -> None:
    assert page(example()).count(">≥ ") == 2 and "no formula for Model.attn: mine.attention" in page(example())


def test_text_of_records_cannot_become_markup() -> None:
    assert "<b>" not in page(example()) and "&lt;b&gt;" in page(example())


def test_the_command(command: Command, tmp_path: Path) -> None:
    missing = command("moesuite.leaderboard")
    assert missing.returncode == 2 and "records=runs does not exist" in missing.stderr
    for one in example():
        write_record(tmp_path / "mine" / one.task / one.router / f"{one.id}.json", one)
    done = command("moesuite.leaderboard", "records=mine", "out=here")
    assert done.returncode == 0 and (tmp_path / "here" / "index.html").read_text() == GOLDEN.read_text()
    wrong = command("moesuite.leaderboard", "recrods=mine")
    assert wrong.returncode == 2 and "nearest: records" in wrong.stderr


@pytest.fixture
def good(tmp_path: Path) -> Path:
    """Return a folder with one record."""
    write_record(tmp_path / "a" / "digits" / "relu" / "relu0.json", finished("relu", 0))
    return tmp_path / "a"


BAD: dict[str, tuple[Callable[[str], str], str]] = {
    "empty": (lambda _: "", "not a run record of schema 1: : invalid json: eof"),
    "truncated": (lambda text: text[: len(text) // 2], "not a run record of schema 1: : invalid json"),
    "later": (lambda text: text.replace('"schema_version": 1', '"schema_version": 2'), "of schema 2, here up to 1 is"),
    "nan": (lambda text: text.replace('"value": 0.9', '"value": NaN'), "top1 is nan; allowed: finite numbers"),
    "moved": (lambda text: text, "its id is relu0; allowed: a file by the name of its id"),
    "pointless": (lambda text: text.replace('"primary": "top1"', '"primary": "top9"'), "a finished run without top9"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_record_is_named_and_the_rest_is_shown(
    name: str, good: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    change, says = BAD[name]
    path = good / "digits" / "soft" / ("other.json" if name == "moved" else "relu0.json")
    path.parent.mkdir()
    path.write_text(change((good / "digits" / "relu" / "relu0.json").read_text()))
    monkeypatch.setattr("sys.argv", ["leaderboard", f"records={good}", f"out={good / 'site'}"])
    with pytest.raises(SystemExit) as stop:
        main()
    shown = capsys.readouterr()
    assert stop.value.code == 2 and shown.err.count("\n") == 1 and f"{path}" in shown.err and says in shown.err
    assert (
        shown.out.startswith("1 records -> ")
        and page([finished("relu", 0)]) == (good / "site" / "index.html").read_text()
    )


def test_the_same_record_twice_and_a_contradiction(good: Path, tmp_path: Path) -> None:
    write_record(tmp_path / "b" / "digits" / "relu" / "relu0.json", finished("relu", 0))
    found = take([good, tmp_path / "b"])
    assert [r.id for r in found.records] == [
        "relu0"
    ] and "b/digits/relu/relu0.json: the same record as" in found.problems[0]
    other = finished("relu", 0).model_copy(update={"seconds": 99.0})
    write_record(tmp_path / "c" / "digits" / "relu" / "relu0.json", other)
    found = take([good, tmp_path / "c"])
    assert found.records == [] and "the same id with other content as" in found.problems[0]


def test_records_are_only_checked(
    good: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["leaderboard", f"records={good}", "--check"])
    with pytest.raises(SystemExit) as stop:
        main()
    assert (
        stop.value.code == 0
        and capsys.readouterr().out == "1 records can be shown\n"
        and not (tmp_path / "site").exists()
    )
