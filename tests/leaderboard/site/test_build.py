"""The site: golden pages, builds that read only what is new, and text that cannot become markup."""

from __future__ import annotations

import shutil
from pathlib import Path
from xml.etree import ElementTree

import pytest

from moesuite.config.run_command import reproduce
from moesuite.leaderboard.ranking.board import slug
from moesuite.leaderboard.site.build import build
from moesuite.records.certificate import Check
from tests.leaderboard.boards import GOLDEN, contents, example, golden_files, put
from tests.leaderboard.records import certificate_of, record_of

pytestmark = pytest.mark.usefixtures("made_records")


def test_the_pages_are_the_golden_ones(runs: Path, tmp_path: Path) -> None:
    """Written anew by `python -m tests.leaderboard.boards`."""
    build([str(runs)], tmp_path / "site")
    made = golden_files(tmp_path / "site")
    golden = {p.relative_to(GOLDEN).as_posix() for p in GOLDEN.rglob("*") if p.is_file()}
    assert set(made) == golden - {"protocol.json"}  # which is of tests/records/test_protocol.py
    for name, text in made.items():
        assert text == (GOLDEN / name).read_text(encoding="utf-8"), name


def test_the_same_records_give_the_same_bytes(tmp_path: Path) -> None:
    put(tmp_path / "a", example())
    put(tmp_path / "b", example()[::-1])
    for place in ("a", "b"):
        build([str(tmp_path / place)], tmp_path / f"site_{place}")
    assert contents(tmp_path / "site_a") == contents(tmp_path / "site_b")


def test_incremental_builds_read_only_new_records_and_give_the_same_pages(
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
            "moesuite.leaderboard.site.task_boards.task_pages",
            lambda *_: (_ for _ in ()).throw(KeyboardInterrupt),
        )
        with pytest.raises(KeyboardInterrupt):
            build([str(runs)], tmp_path / "site")
    build([str(runs)], tmp_path / "site")
    build([str(runs)], tmp_path / "whole")
    assert contents(tmp_path / "site") == contents(tmp_path / "whole")


def test_certificates_of_all_options_stand_on_the_routers_page(runs: Path, tmp_path: Path) -> None:
    """Those of the old layout beside those of the new one.

    The marks of a run are those of its own options.
    """
    (runs / "certificates").mkdir()
    kinds = [certificate_of(k=1), certificate_of(k=2).model_copy(update={"changed": {"k": 2}})]
    kinds[1].verdict = ["claims causal, leaks in training at length 128"]
    kinds[1].checks["causal"] = Check(holds=False, claimed=True)
    for one in kinds:
        (runs / "certificates" / f"{one.stem}.json").write_text(
            one.model_dump_json(), encoding="utf-8"
        )
    assert build([str(runs)], tmp_path / "site").problems == []
    page = (tmp_path / "site" / "routers" / "good.html").read_text(encoding="utf-8")
    assert page.count("<caption>What holds</caption>") == 2
    assert (
        page.count("A claim is false.") == 1
        and "claims causal, leaks in training at length 128" in page
    )
    assert "<h3>Default options</h3>" in page and "<h3>k=2</h3>" in page


@pytest.mark.parametrize(
    "step", ["build.shared_pages", "task_boards.task_pages", "build.study_pages"]
)
def test_whenever_a_build_is_interrupted_the_next_one_is_whole(
    step: str, runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "site"
    build([str(runs)], out)
    (path,) = put(runs, [record_of("good", 5, 0.94)])
    with monkeypatch.context() as patch:
        patch.setattr(
            f"moesuite.leaderboard.site.{step}",
            lambda *_: (_ for _ in ()).throw(KeyboardInterrupt),
        )
        with pytest.raises(KeyboardInterrupt):
            build([str(runs)], out)
    path.unlink()
    build([str(runs)], out)
    build([str(runs)], tmp_path / "whole")
    assert contents(out) == contents(tmp_path / "whole")


def test_pages_say_what_was_read_and_what_of_the_test_stands_in_train(tmp_path: Path) -> None:
    about = {
        "data_description": "image tree mine; a tenth of the training split held out",
        "data_notes": ["extra/ is not used"],
        "unreadable": 2,
        "duplicates": {"test": {"count": 37, "total": 360}},
    }
    record = record_of("good", 0, **about)
    put(tmp_path / "runs", [record])
    assert build([str(tmp_path / "runs")], tmp_path / "site").problems == []
    page = (tmp_path / "site" / "runs" / f"{record.id}.html").read_text(encoding="utf-8")
    for words in ("a tenth of the training split held out", "extra/ is not used"):
        assert f"{words}</li>" in page
    assert "2 unreadable examples left out" in page and ">contamination</span>" in page
    assert "37 of 360 test examples also stand in train" in page
    for name in ("tasks/mine.html", "data/mine.csv"):
        assert about["data_description"] in (tmp_path / "site" / name).read_text(
            encoding="utf-8"
        ), name


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
