"""What tests of pages do in a browser."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from moesuite.records.study import FreshRun, StudyRecord, TrialRecord
from tests.conftest import ROOT
from tests.leaderboard.boards import example

AXE = ROOT / "node_modules" / "axe-core" / "axe.min.js"
GOOD = next(record.id for record in example() if record.router == "good" and record.seed == 0)


def study(name: str, objectives: list[str]) -> StudyRecord:
    """Return a study of three parameters, one not numeric, with a failed and a pruned trial."""
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
