"""Plots in a browser: fronts, curves, facets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from moesuite.leaderboard.site.build import build
from moesuite.statistics.significance import pareto
from tests.leaderboard.boards import put
from tests.leaderboard.records import compute_of, record_of
from tests.leaderboard.visits import visit


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
    assert "good: top1 0.9306 ± 0.002256, executed (GFLOP) 2.003" in page.text_content(".tip")
    assert page.locator("tr.lit th a").text_content() == "good"
    for axis in (
        "activated",
        "latency_median",
        "training_step_median",
        "parameters_total",
        "reach",
    ):
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


def test_learning_curves_of_selected_rows(page: Any, site: Path) -> None:
    visit(page, site, "tasks/mine.html")
    assert page.locator("#curves polyline").count() == 4
    page.check("tr:has(a[href='../routers/bad.html']) input")
    page.wait_for_function("document.querySelectorAll('#curves polyline').length === 1")
    assert "bad ends at 0.6992" in page.get_attribute("#curves svg", "aria-label")
    page.select_option("#curve-axis", "flops")
    assert "PFLOP of training" in page.get_attribute("#curves svg", "aria-label")
