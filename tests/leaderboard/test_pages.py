"""The pages in a real browser: Debian's Chromium, driven by Playwright, opening files; accessibility by axe-core."""

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
from moesuite.records.study import FreshRun, StudyRecord, TrialRecord
from moesuite.statistics.significance import pareto
from tests.conftest import ROOT, Command
from tests.leaderboard.boards import example, put
from tests.leaderboard.records import compute_of, record_of

AXE = ROOT / "node_modules" / "axe-core" / "axe.min.js"
GOOD = next(record.id for record in example() if record.router == "good" and record.seed == 0)
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


def study(name: str, objectives: list[str]) -> StudyRecord:
    """Return a study of three parameters, one of which is no number, a failed trial and a pruned one."""
    trials = [
        TrialRecord(
            number=number,
            state="complete",
            params={
                "optim.lr": 10**-number,
                "num_experts": 2 + number,
                "router.k": "a",
                "slots_per_token": number / 2,
            },
            values=[0.5 + number / 10, 1.0 + number][: len(objectives)],
            command=f"python -m moesuite.run trial={number}",
        )
        for number in range(1, 5)
    ]
    trials += [TrialRecord(number=9, state="fail", params={}, values=None, reason="k=9: too many")]
    space = {
        "optim.lr": "log",
        "num_experts": "choice",
        "router.k": "choice",
        "slots_per_token": "log",
    }
    importances = {objective: {"optim.lr": 0.75, "num_experts": 0.25} for objective in objectives}
    ways = ["maximize", "minimize"][: len(objectives)]
    if name == "turned":  # the same with its objectives in another order
        objectives, ways = objectives[::-1], ways[::-1]
        trials = [
            trial.model_copy(update={"values": trial.values and trial.values[::-1]})
            for trial in trials
        ]
    return StudyRecord(
        name=name,
        task="mine",
        router="good",
        command="python -m moesuite.tune",
        budget=5,
        space=space,
        objectives=objectives,
        directions=ways,
        constraints={},
        trials=trials,
        best=[4],
        ties=[[3, 4]] if name == "single" else [],
        importances=importances if name != "turned" else {},
        fresh=[
            FreshRun(run=f"{seed:012x}", seed=seed, search=0.75, test=seed / 2000)
            for seed in (1000, 1001)
        ],
    )


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


class Watched:
    """A page that must not complain, nor ask the network for anything."""

    def __init__(self, page: Any) -> None:
        self.page, self.complaints = page, list[str]()
        page.on(
            "console",
            lambda said: (
                self.complaints.append(said.text) if said.type in ("error", "warning") else None
            ),
        )
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on(
            "request",
            lambda asked: (
                None
                if asked.url.startswith(("file:", "data:"))
                else self.complaints.append(asked.url)
            ),
        )


@pytest.fixture
def page(browser: Any) -> Iterator[Any]:
    """Return a page on a desk; nothing may be complained about."""
    context = browser.new_context(viewport={"width": 1400, "height": 900})
    watched = Watched(context.new_page())
    yield watched.page
    assert watched.complaints == []
    context.close()


def visit(page: Any, site: Path, name: str, state: str = "") -> Any:
    page.goto(f"{(site / name).as_uri()}{state}")
    if name.startswith("tasks/"):
        page.wait_for_selector("#curves svg, #curves p", timeout=5000)
        page.wait_for_selector("#plot svg")
    return page


def names(page: Any) -> list[str]:
    return page.eval_on_selector_all(
        "#table tbody tr th a", "links => links.map(link => link.textContent)"
    )


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


def test_a_study_shows_front_history_importances_and_every_trial(page: Any, site: Path) -> None:
    visit(page, site, "studies/front.html")
    page.wait_for_selector("h2:has-text('Trials')")
    heads = page.eval_on_selector_all("h2", "heads => heads.map(head => head.textContent)")
    for head in (
        "Front",
        "History",
        "Parallel coordinates",
        "Quality over slots_per_token and num_experts",
    ):
        assert head in heads
    assert "Importance for quality" in heads and "Importance for flops" in heads
    rows = page.eval_on_selector_all("[id^=trial-]", "rows => rows.map(row => row.textContent)")
    assert len(rows) == 5 and "k=9: too many" in rows[-1]
    visit(page, site, "studies/single.html")
    page.wait_for_selector("h2:has-text('Trials')")
    assert "Front" not in page.eval_on_selector_all(
        "h2", "heads => heads.map(head => head.textContent)"
    )


def test_a_study_is_read_by_the_names_of_its_objectives(page: Any, site: Path) -> None:
    """Qualities 0.6 to 0.9 at 2 to 5 GFLOP: told alike, whichever objective stands first."""
    labels = []
    for name in ("front", "turned"):
        visit(page, site, f"studies/{name}.html")
        page.wait_for_selector("h2:has-text('Trials')")
        charts = page.eval_on_selector_all(
            "svg[aria-label]", "all => all.map(one => one.getAttribute('aria-label'))"
        )
        points = page.eval_on_selector_all(
            "svg a", "all => all.map(one => one.getAttribute('href')).sort()"
        )
        heads = page.eval_on_selector_all(
            "table:has([id^=trial-]) thead th", "all => all.map(one => one.textContent)"
        )
        cells = page.eval_on_selector_all("#trial-4 td", "all => all.map(one => one.textContent)")
        labels.append((charts, points, dict(zip(heads[1:], cells, strict=True))))
    assert labels[0] == labels[1]
    assert any("best quality so far by trial, from 0.6 to 0.9" in chart for chart in labels[0][0])
    assert labels[0][2]["quality"] == "0.9" and labels[0][2]["flops"] == "5"


def test_a_study_tells_ties_fresh_seeds_and_why_there_are_no_importances(
    page: Any, site: Path
) -> None:
    visit(page, site, "studies/single.html")
    assert (
        page.text_content(".ties")
        == "Tied, with the very same values: trials 3, 4. The first of them stands for all."
    )
    rows = page.eval_on_selector_all(
        "#fresh tbody tr", "rows => rows.map(row => [...row.cells].map(c => c.textContent))"
    )
    assert rows[0] == ["trial 4, of the search", "0.9", "–"] and rows[-1] == [
        "mean of fresh seeds",
        "0.75",
        "0.5002",
    ]
    assert [row[1:] for row in rows[1:3]] == [
        ["0.75", "0.5"],
        ["0.75", "0.5005"],
    ]  # 1000 and 1001 of 2000
    visit(page, site, "studies/turned.html")
    reason = page.text_content("p.quiet:has-text('No importances')")
    assert "0 different settings finished; importances need at least 10" in reason


def test_sorting_by_one_column_and_by_several(page: Any, site: Path) -> None:
    visit(page, site, "tasks/mine.html")
    assert names(page) == ["good", "bad", "dense", "soft_one"]
    headings = page.eval_on_selector_all(
        "#table tr.section", "rows => rows.map(row => row.textContent)"
    )
    assert headings == ["Ranked in the main setting", "Controls", "Not ranked"]
    page.click("[data-column=quality]")
    page.click("[data-column=quality]")
    assert names(page) == ["bad", "good", "dense", "soft_one"]  # within each section
    assert page.get_attribute("th:has([data-column=quality])", "aria-sort") == "ascending"
    page.click("[data-column=seeds]")
    page.click("[data-column=router]", modifiers=["Shift"])
    assert names(page) == ["bad", "good", "dense", "soft_one"]  # five seeds each, by name
    assert page.text_content("#said") == "sorted by seeds, ascending, then router, ascending"
    page.click("[data-column=group]")
    assert names(page) == ["good", "bad", "dense", "soft_one"]
    page.click("[data-column=group]")
    assert names(page) == ["bad", "good", "dense", "soft_one"]


def test_the_keyboard_sorts_and_selects(page: Any, site: Path) -> None:
    visit(page, site, "tasks/mine.html")
    page.focus("[data-column=router]")
    page.keyboard.press("Enter")
    assert names(page) == ["bad", "good", "dense", "soft_one"]
    assert page.evaluate("document.activeElement.dataset.column") == "router"
    page.keyboard.press("Shift+Tab")
    page.focus("#table tbody tr[data-key] input >> nth=0")
    page.keyboard.press("Space")
    assert page.is_visible("#compare") and "bad" in page.text_content("#compare th:nth-child(2)")
    page.goto((site / "index.html").as_uri())
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"


def test_filters_and_the_number_that_is_left(page: Any, site: Path) -> None:
    visit(page, site, "tasks/mine.html")
    page.fill("#search", "later tokens")
    assert names(page) == ["soft_one"] and page.text_content("#count") == "1 of 4 contestants"
    page.fill("#search", "")
    page.click("summary:has-text('Router')")
    page.check("details input[value=good]")
    page.check("details input[value=bad]")
    assert sorted(names(page)) == ["bad", "good"]


def cells(page: Any) -> dict[str, dict[str, str]]:
    """Return the text of every cell by router and heading."""
    heads = page.eval_on_selector_all(
        "#table thead button", "all => all.map(one => one.dataset.column)"
    )
    rows = page.eval_on_selector_all(
        "#table tbody tr[data-key]",
        "all => all.map(row => [...row.cells].map(c => c.textContent.trim()))",
    )
    return {row[1].split()[0]: dict(zip(heads, row[1:], strict=True)) for row in rows}


def test_times_are_those_of_one_machine(page: Any, mixed: Path) -> None:
    visit(page, mixed, "tasks/mine.html")
    shown = cells(page)
    assert (shown["dense"]["latency"], shown["far"]["latency"], shown["far"]["step"]) == (
        "1",
        "–",
        "–",
    )
    assert (
        "other hardware" in shown["far"]["labels"]
        and "other hardware" not in shown["dense"]["labels"]
    )
    page.select_option("#machine", "GPU, cpu, 8 CPUs, 2 threads")
    shown = cells(page)
    assert (shown["dense"]["latency"], shown["far"]["latency"]) == ("–", "3")
    page.check("#only")
    assert names(page) == ["far"]
    page.select_option("#axis", "latency")
    assert page.locator("#plot a").count() == 1


def test_a_link_restores_the_view(page: Any, site: Path, browser: Any) -> None:
    visit(page, site, "tasks/mine.html")
    page.click("[data-column=router]")
    page.click("summary:has-text('Columns')")
    page.uncheck("details input[value=backbone]")
    page.check("#table tr:has(a[href='../routers/dense.html']) input")
    page.select_option("#axis", "latency")
    page.select_option("#curve-axis", "seconds")
    page.fill("#search", "soft")
    state = page.evaluate("location.hash")
    again = browser.new_context().new_page()
    visit(again, site, "tasks/mine.html", state)
    assert names(again) == names(page) == ["soft_one"]
    for look in ("[data-column=backbone]", "#compare", "#axis", "#curve-axis", "#search"):
        assert again.locator(look).count() == page.locator(look).count()
    assert again.input_value("#axis") == "latency" and again.input_value("#curve-axis") == "seconds"
    assert again.text_content("#compare") == page.text_content(
        "#compare"
    ) and "dense" in again.text_content("#compare")
    again.click("text=Reset the view")
    assert names(again) == ["good", "bad", "dense", "soft_one"] and again.evaluate(
        "location.hash"
    ) in ("", "#")


def test_another_task_keeps_the_view(page: Any, site: Path) -> None:
    visit(page, site, "tasks/mine.html", "#sort=router%2B")
    page.select_option("#tasks", "text")
    page.click("#open")
    page.wait_for_url("**/tasks/text.html#sort=router%2B")
    assert names(page) == ["good", "dense"]


def test_the_table_shows_intervals_differences_groups_and_marks(page: Any, site: Path) -> None:
    visit(page, site, "tasks/mine.html")
    good = cells(page)["good"]
    options, setting = (
        "layers=last_half, num_experts=4, router.k=1",
        "vit, 100 steps, batch 32, AdamW 0.001",
    )
    assert [*good.values()][:6] == [
        f"good {options}",
        setting,
        "vit",
        "0.9306 ± 0.0023",
        "5",
        "+0.0302 ± 0.0014",
    ]
    assert [*good.values()][6:10] == ["better", "1", "the best", "–"]
    bad = cells(page)["bad"]
    assert (bad["group"], bad["against_best"], bad["detectable"]) == ("2", "worse", "0.012")
    title = page.get_attribute(
        "#table tr:has(a[href='../routers/good.html']) td:has-text('+0.0302')", "title"
    )
    assert (
        title == "over 5 seeds of both; a difference of 0.0025 would show; equal within 0.01: p = 1"
    )
    assert "latency 1 to 1 times (5 runs, median 1)" in page.text_content("#noise")
    assert good["checks"] == "D? C? B? P?" and good["runs"] == "0 1 2 3 4"
    assert (
        page.text_content("tr:has(a[href='../routers/soft_one.html']) .warn") == "sees later tokens"
    )


def test_the_front_is_that_of_the_statistics_module(page: Any, large: Path) -> None:
    visit(page, large, "tasks/task_00.html")
    drawn = page.eval_on_selector_all(
        "#plot a", "all => all.map(a => [a.dataset.key, a.dataset.front === '1'])"
    )
    rows = page.evaluate("moesuite.rows.map(row => [row.key, row.executed, row.mean, row.setting])")
    expected: dict[str, bool] = {}
    for setting in {row[3] for row in rows}:  # contestants of different settings are not compared
        own = [row for row in rows if row[3] == setting]
        front = pareto([float(row[1]) for row in own], [float(row[2]) for row in own], "max")
        expected |= {row[0]: on for row, on in zip(own, front, strict=True)}
    assert dict(drawn) == expected and 0 < sum(expected.values()) < 1000
    small = page.evaluate(
        "moesuite.front([{x:1,y:1},{x:1,y:1},{x:2,y:1},{x:2,y:0.5},{x:0.5,y:2}], false)"
    )
    assert small == pareto([1.0, 1.0, 2.0, 2.0, 0.5], [1.0, 1.0, 1.0, 0.5, 2.0], "min")


def test_the_plot_answers_and_leads_on(page: Any, site: Path) -> None:
    visit(page, site, "tasks/mine.html")
    assert (
        page.locator("#plot a").count() == 4 and page.locator("#plot a line").count() == 3
    )  # no interval of one seed
    page.hover("#plot a[href='../routers/good.html'] .mark")
    assert "good: top1 0.9306 ± 0.002256, GFLOP executed 2.003" in page.text_content(".tip")
    assert page.locator("tr.lit th a").text_content() == "good"
    for axis in ("activated", "latency", "step", "total", "active", "reach"):
        page.select_option("#axis", axis)
        assert page.locator("#plot .scroll svg").count() == 1, axis
    page.fill("#target", "0.75")
    page.keyboard.press(
        "Enter"
    )  # at 0.8 after 5 of 10 seconds all but bad, which ends at 0.7 but was at 0.8 before
    assert page.locator("#plot a").count() == 4
    page.fill("#target", "0.92")
    page.keyboard.press("Enter")
    assert page.locator(
        "#plot a"
    ).count() == 2 and "2 rows without this figure" in page.text_content("#plot")
    page.click("#plot a[href='../routers/good.html'] .mark")
    page.wait_for_url("**/routers/good.html")


def test_an_address_that_was_made_up_changes_nothing(page: Any, site: Path) -> None:
    odd = "#x=constructor&cx=toString&sort=nothing%2B~quality-&columns=router~nowhere&select=0&machine=none&target=x"
    visit(page, site, "tasks/mine.html", odd)
    assert (
        names(page) == ["good", "bad", "dense", "soft_one"]
        and page.input_value("#axis") == "executed"
    )


def test_values_that_differ_by_rounding_are_drawn(page: Any, tmp_path: Path) -> None:
    point = {"loss": 1.0, "entropy": 0.5, "unserved": 0.0, "dead": 0}
    flops = compute_of(1.0, 9e8)["training_step_flops"]
    curve = [
        {
            "step": step,
            "seconds": step,
            "flops": step * flops,
            "quality": 0.1 + step * 2e-17,
            **point,
        }
        for step in (1, 2)
    ]
    records = [
        record_of("good", 0, curve=curve, value=0.1),
        record_of("dense", 0, value=0.1 + 2e-17),
    ]
    put(tmp_path / "runs", records)
    build([str(tmp_path / "runs")], tmp_path / "site")
    page.goto((tmp_path / "site" / "runs" / f"{records[0].id}.html").as_uri())
    assert page.locator("svg").count() >= 4
    visit(page, tmp_path / "site", "tasks/mine.html")
    assert page.locator("#plot a").count() == 2


def test_selecting_keeps_the_place_and_facets_count(page: Any, site: Path) -> None:
    visit(page, site, "tasks/mine.html")
    page.focus("#table tr:has(a[href='../routers/good.html']) input")
    page.keyboard.press("Space")
    assert page.evaluate("document.activeElement.getAttribute('aria-label')").startswith(
        "select good"
    )
    page.click("summary:has-text('Router')")
    page.check("details input[value=good]")
    assert page.text_content("summary:has-text('Router')") == "Router (1)"


def test_learning_curves_of_what_is_selected(page: Any, site: Path) -> None:
    visit(page, site, "tasks/mine.html")
    assert page.locator("#curves polyline").count() == 4
    page.check("tr:has(a[href='../routers/bad.html']) input")
    page.wait_for_function("document.querySelectorAll('#curves polyline').length === 1")
    assert "bad ends at 0.6992" in page.get_attribute("#curves svg", "aria-label")
    page.select_option("#curve-axis", "flops")
    assert "PFLOP of training" in page.get_attribute("#curves svg", "aria-label")


def test_copies_as_markdown_and_latex(page: Any, site: Path) -> None:
    visit(page, site, "tasks/mine.html", "#columns=router~quality~dense&sort=router%2B")
    lines = page.evaluate("moesuite.markdown()").splitlines()
    assert lines[:3] == [
        "| router | top1 ↑ | difference to dense |",
        "|---|---:|---:|",
        "| bad (layers=last_half, num_experts=4, router.k=1) | 0.6992 ± 0.0067 | −0.201 ± 0.01 |",
    ]
    latex = page.evaluate("moesuite.latex()")
    assert (
        "soft\\_one (layers=last\\_half, num\\_experts=4, router.k=1) & 0.99 & +0.09 \\\\" in latex
        and "$\\pm$" in latex
        and "\\begin{tabular}{lrr}" in latex
    )
    page.click("text=Copy as Markdown")
    page.wait_for_function(
        "document.getElementById('said').textContent === 'the table as Markdown copied'"
    )
    page.fill("#search", "")
    page.focus("#search")
    page.keyboard.press("Control+V")
    assert page.input_value("#search").startswith("| router | top1 ↑")
    for kind in ("csv", "json"):
        assert (
            (site / "tasks" / page.get_attribute(f"a[href$='.{kind}']", "href")).resolve().exists()
        )


def test_dark_and_light(page: Any, site: Path) -> None:
    visit(page, site, "index.html")
    ground = "getComputedStyle(document.body).backgroundColor"
    assert page.evaluate(ground) == "rgb(255, 255, 255)"
    page.click("#theme")
    assert page.evaluate(ground) == "rgb(20, 23, 28)"
    visit(page, site, "method.html")
    assert page.evaluate(ground) == "rgb(20, 23, 28)"  # remembered


def test_a_run_shows_its_record_and_what_its_router_looked_at(page: Any, site: Path) -> None:
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


def test_a_thousand_rows_stay_small_and_answer(page: Any, large: Path) -> None:
    assert (large / "tasks" / "task_00.html").stat().st_size + sum(
        path.stat().st_size for path in (large / "static").iterdir()
    ) <= 600_000
    visit(page, large, "tasks/task_00.html")
    page.wait_for_function("document.querySelectorAll('#table tbody tr[data-key]').length === 100")
    page.fill("#search", "router_19")
    assert page.text_content("#count").startswith("50 of 1000")
    page.fill("#search", "")
    page.click("text=Show all 1000 rows")
    page.wait_for_function("document.querySelectorAll('#table tbody tr[data-key]').length === 1000")
    page.click("[data-column=quality]")
    page.wait_for_function("document.querySelectorAll('#table tbody tr[data-key]').length === 1000")
    shown = page.evaluate("moesuite.visible().map(row => [-row.place, row.mean])")
    keys = page.evaluate("moesuite.visible().map(row => row.key)")
    assert (
        page.eval_on_selector_all("#table tr[data-key]", "all => all.map(row => row.dataset.key)")
        == keys
    )
    assert shown == sorted(shown, reverse=True)  # within each section
