"""Pages of studies in a browser."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.leaderboard.visits import visit


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
