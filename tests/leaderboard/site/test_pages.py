"""Pages in a browser: accessible, quiet, fitting, in light and dark."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Command
from tests.leaderboard.boards import put
from tests.leaderboard.records import record_of
from tests.leaderboard.visits import AXE, GOOD, Watched, visit

PAGES = [
    "index.html",
    "tasks/mine.html",
    "tasks/text.html",
    "routers/good.html",
    "routers/broken.html",
]
PAGES += [
    "method.html",
    "apart.html",
    f"runs/{GOOD}.html",
    "studies/front.html",
    "studies/single.html",
]
PAGES += ["studies/turned.html"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1400, 390])
def test_every_page_is_accessible_quiet_and_fits(
    browser: Any, site: Path, scheme: str, width: int
) -> None:
    context = browser.new_context(viewport={"width": width, "height": 844}, color_scheme=scheme)
    watched = Watched(context.new_page())
    for name in PAGES:
        visit(watched.page, site, name)
        if name == "tasks/mine.html":
            watched.page.check(
                "#table tbody tr[data-key] input >> nth=0"
            )  # the comparison is looked at too
            watched.page.click("summary:has-text('Columns')")
        watched.page.add_script_tag(path=str(AXE))
        found = watched.page.evaluate(
            "async () => (await axe.run(document, {preload: false}))"
            ".violations.map(one => [one.impact, one.id, one.nodes[0].html])"
        )
        assert [one for one in found if one[0] in ("serious", "critical")] == [], name
        assert watched.page.evaluate("document.documentElement.scrollWidth <= innerWidth"), (
            f"{name} is wider than {width}"
        )
    assert watched.complaints == []
    context.close()


def test_dark_and_light(page: Any, site: Path) -> None:
    visit(page, site, "index.html")
    ground = "getComputedStyle(document.body).backgroundColor"
    assert page.evaluate(ground) == "rgb(255, 255, 255)"
    page.click("#theme")
    assert page.evaluate(ground) == "rgb(20, 23, 28)"
    visit(page, site, "method.html")
    assert page.evaluate(ground) == "rgb(20, 23, 28)"  # remembered


def test_a_run_page_shows_its_record_and_routing_examples(page: Any, site: Path) -> None:
    visit(page, site, f"runs/{GOOD}.html")
    text = page.text_content("main")
    for part in (
        "Quality",
        "Cost",
        "Learning curve",
        "Routing health over training",
        "Routing health by layer",
        "Environment",
    ):
        assert part in text
    assert page.locator("figure svg image").count() == 3  # the image, and two slots
    opacity = "tiles => tiles.map(tile => tile.getAttribute('fill-opacity'))"
    assert page.eval_on_selector_all("figure:first-child svg >> rect", opacity)[:4] == [
        "0.45",
        "0.45",
        "0.75",
        "0.45",
    ]
    assert (
        page.locator("figure:nth-child(1) rect title").nth(1).text_content()
        == "patch 2: experts 1, 2"
    )
    page.select_option("#expert", "1")
    assert page.eval_on_selector_all(".words .dim", "all => all.map(one => one.textContent)") == [
        "a ",
        "c",
    ]
    assert page.text_content(".words").startswith("a <b>c")
    page.click("#main >> text=Copy the command")
    page.click("summary")
    assert '"router": "good"' in page.text_content("#json")


def test_the_overview_has_cells_without_a_result(page: Any, site: Path) -> None:
    visit(page, site, "index.html")
    cells = page.eval_on_selector_all(
        "tr:has(a[href='routers/bad.html']) td", "all => all.map(cell => cell.textContent)"
    )
    assert cells[0] == "not run" and "group 2" in cells[1]
    ahead = page.eval_on_selector_all(
        "tr:has(a[href='routers/soft_one.html']) td", "all => all.map(c => c.textContent)"
    )
    assert ahead[
        0
    ] == "not applicable: looks ahead" and "no ranked result on text" in page.text_content("main")
    assert "No order, points only. An order needs at least 5 tasks" in page.text_content("main")


def test_the_board_is_measured(browser: Any, command: Command, tmp_path: Path) -> None:
    (record,) = put(tmp_path, [record_of("good", 0)])
    done = command(
        "moesuite.benchmarks.speed.board", f"record={record}", "count=300", "rounds=1", "rows=20"
    )
    expected = (
        "all records",
        "one record more",
        "MiB",
        "page of 20 rows",
        "kB",
        "first paint",
        "sort",
        "filter",
    )
    assert done.returncode == 0 and all(what in done.stdout for what in expected), done.stderr
    wrong = command("moesuite.benchmarks.speed.board", "record=nowhere.json")
    assert wrong.returncode == 2 and "record=nowhere.json: no such record" in wrong.stderr
