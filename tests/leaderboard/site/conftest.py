"""Pages in a real browser: Debian's Chromium, driven by Playwright."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from moesuite.benchmarks.speed.board import copies, write
from moesuite.leaderboard.site.build import build
from moesuite.records.store import write_text
from tests.leaderboard.boards import example, put
from tests.leaderboard.records import compute_of, record_of
from tests.leaderboard.visits import AXE, Watched, study


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the example's pages, a file that is left out among them."""
    folder = tmp_path_factory.mktemp("board")
    put(folder / "runs", example())
    (folder / "runs" / "mine" / "good" / "empty.json").touch()
    for one in (
        *(study(name, ["quality", "flops"]) for name in ("front", "turned")),
        study("single", ["quality"]),
    ):
        write_text(folder / "runs" / "studies" / f"{one.name}.json", one.model_dump_json())
    build([str(folder / "runs")], folder / "site")
    return folder / "site"


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the pages of a benchmark of 1,000 contestants, of two seeds each."""
    folder = tmp_path_factory.mktemp("large")
    write(folder / "runs", copies(record_of("dense", 0), 2000, tasks=1, seeds=2), 2000)
    build([str(folder / "runs")], folder / "site")
    return folder / "site"


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the pages of runs on two machines."""
    folder, there = tmp_path_factory.mktemp("mixed"), {"device": "GPU", "cpus": "8", "threads": "2"}
    put(folder / "runs", [record_of("dense", seed) for seed in range(2)])
    put(folder / "runs", [record_of("far", 0, environment=there, compute=compute_of(3.0, 1e9))])
    build([str(folder / "runs")], folder / "site")
    return folder / "site"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Return Chromium."""
    where = shutil.which("chromium") or shutil.which("google-chrome")
    if where is None or not AXE.exists():
        missing = (
            "chromium (apt-get install chromium)"
            if where is None
            else f"{AXE} (npm install --no-save axe-core)"
        )
        if os.environ.get("MOESUITE_REQUIRE_BROWSER") == "1":
            pytest.fail(f"MOESUITE_REQUIRE_BROWSER=1, but there is no {missing}")
        pytest.skip(f"no {missing}")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=where, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture
def page(browser: Any) -> Iterator[Any]:
    """Return a page on a desk; nothing may be complained about."""
    context = browser.new_context(viewport={"width": 1400, "height": 900})
    watched = Watched(context.new_page())
    yield watched.page
    assert watched.complaints == []
    context.close()
