"""The table of a benchmark in a browser: sorting, filters, views, copies."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.leaderboard.visits import cells, names, visit


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


def test_times_are_those_of_one_machine(page: Any, mixed: Path) -> None:
    visit(page, mixed, "tasks/mine.html")
    shown = cells(page)
    assert [
        *(shown[router]["latency_ratio_to_dense"] for router in ("dense", "far")),
        shown["far"]["training_step_ratio_to_dense"],
    ] == [
        "1",
        "–",
        "–",
    ]
    assert (
        "other hardware" in shown["far"]["labels"]
        and "other hardware" not in shown["dense"]["labels"]
    )
    page.select_option("#machine", "GPU, cpu, 8 CPUs, 2 threads")
    shown = cells(page)
    assert [shown[router]["latency_ratio_to_dense"] for router in ("dense", "far")] == ["–", "3"]
    page.check("#only")
    assert names(page) == ["far"]
    page.select_option("#axis", "latency_median")
    assert page.locator("#plot a").count() == 1


def test_a_link_restores_the_view(page: Any, site: Path, browser: Any) -> None:
    visit(page, site, "tasks/mine.html")
    page.click("[data-column=router]")
    page.click("summary:has-text('Columns')")
    page.uncheck("details input[value=backbone]")
    page.check("#table tr:has(a[href='../routers/dense.html']) input")
    page.select_option("#axis", "latency_median")
    page.select_option("#curve-axis", "seconds")
    page.fill("#search", "soft")
    state = page.evaluate("location.hash")
    again = browser.new_context().new_page()
    visit(again, site, "tasks/mine.html", state)
    assert names(again) == names(page) == ["soft_one"]
    for look in ("[data-column=backbone]", "#compare", "#axis", "#curve-axis", "#search"):
        assert again.locator(look).count() == page.locator(look).count()
    assert (
        again.input_value("#axis") == "latency_median"
        and again.input_value("#curve-axis") == "seconds"
    )
    assert again.text_content("#compare") == page.text_content(
        "#compare"
    ) and "dense" in again.text_content("#compare")
    again.click("text=Reset the view")
    again.wait_for_selector("#table a[href='../routers/good.html']")
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
    assert "latency / dense between 1 and 1 (5 runs, median 1)" in page.text_content("#noise")
    assert good["checks"] == "D? C? B? P?" and good["runs"] == "0 1 2 3 4"
    assert (
        page.text_content("tr:has(a[href='../routers/soft_one.html']) .warn") == "sees later tokens"
    )


def test_a_malformed_address_changes_nothing(page: Any, site: Path) -> None:
    odd = "#x=constructor&cx=toString&sort=nothing%2B~quality-&columns=router~nowhere"
    odd += "&select=0&machine=none&target=x"
    visit(page, site, "tasks/mine.html", odd)
    assert (
        names(page) == ["good", "bad", "dense", "soft_one"]
        and page.input_value("#axis") == "executed"
    )


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


@pytest.mark.slow
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
