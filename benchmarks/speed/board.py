r"""Time of the leaderboard: full and incremental builds of many records, and pages in a browser.

    python -m moesuite.benchmarks.speed.board record=runs/digits/soft/0123456789ab.json \
        count=10000 rows=1000 rounds=5

Copies differ in task, router, seed, setting and quality, and have the ids that follow. Seconds are
those of the whole command, start of Python included; memory is the most that one of its processes
holds. The browser (Chromium, if Playwright is installed) opens a benchmark of as many contestants
from its file, all its rows shown.
"""

from __future__ import annotations

import os
import random
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import Field
from rich.console import Console
from rich.progress import track
from rich.table import Table

from moesuite.config.cli import Options, run_command
from moesuite.config.run_command import reproduce
from moesuite.errors import UserError
from moesuite.records.compute import Compute, Split
from moesuite.records.record import RunRecord, record_id
from moesuite.records.store import read_record, record_path, record_paths

TASKS, ROUTERS, SEEDS = 20, 20, 5


def copies(
    template: RunRecord, count: int, tasks: int = TASKS, seeds: int = SEEDS
) -> Iterator[RunRecord]:
    """Yield records of a large board.

    Args:
        template: a finished record, of which everything else is kept.
        count: of records.
        tasks, seeds: of the board; as many settings as are needed.
    """
    draw = random.Random(0)
    for index in range(count):
        index, seed = divmod(index, seeds)
        index, router = divmod(index, ROUTERS)
        setting, task = divmod(index, tasks)
        name = f"router_{router:02d}" if router else "dense"
        yield copy(
            template, f"task_{task:02d}", name, seed, setting, 0.5 + 0.02 * (router + draw.random())
        )


def copy(
    template: RunRecord, task: str, router: str, seed: int, setting: int, value: float
) -> RunRecord:
    """Return the record of another run."""
    config = {**template.config, "seed": seed, "task": {**template.config["task"], "name": task}}
    config |= {
        "router": {"name": router},
        "optim": {**template.config["optim"], "lr": 0.001 * (setting + 1)},
    }
    ranked = template.quality[template.primary].model_copy(update={"value": round(value, 6)})
    changes = {
        "id": record_id(config, template.contents, template.protocol, template.data_fingerprint),
        "task": task,
        "router": router,
        "seed": seed,
        "config": config,
        "command": reproduce([f"task={task}", f"router={router}", f"seed={seed}"]),
        "quality": {template.primary: ranked},
        "limited_quality": {template.primary: ranked} if template.limited_quality else {},
    }
    if template.curve:  # without a validation split it ends in the very quality
        last = template.curve[-1].model_copy(update={"quality": ranked.value})
        changes["curve"] = [*template.curve[:-1], last]
    if router == "dense":
        changes |= {"limited_quality": {}, "health": [], "compute": as_dense(template.compute)}
    return template.model_copy(update=changes)


def as_dense(compute: Compute | None) -> Compute | None:
    """Return costs without MoE layers, whose share is the backbone's."""
    if compute is None:
        return None
    none = dict.fromkeys(Split.model_fields, 0.0)
    passes = {
        name: Split(**{**none, "backbone": getattr(compute, name).total})
        for name in ("activated", "executed", "expected", "training")
    }
    passes |= {"activated": passes["executed"], "expected": passes["executed"]}
    changes = {
        "layers": [],
        "parameters_active": compute.parameters_total,
        "slots_per_token_effective": 1.0,
    }
    return compute.model_copy(update={**passes, **changes})


def write(folder: Path, records: Iterator[RunRecord], count: int) -> list[Path]:
    """Write records without the care that real ones get."""
    paths = []
    for record in track(records, "records", count, disable=not sys.stdout.isatty()):
        path = record_path(folder, record.task, record.router, record.id)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(record.model_dump_json(indent=1) + "\n", encoding="utf-8")
        paths.append(path)
    return paths


def seconds_of_build(records: Path, out: Path) -> float:
    """Return how long the command takes."""
    words = [sys.executable, "-m", "moesuite.leaderboard", f"records={records}", f"out={out}"]
    begun = time.perf_counter()
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - begun


def builds(folder: Path, template: RunRecord, count: int, rounds: int) -> dict[str, list[float]]:
    """Return the seconds of whole builds, and of builds after one record more."""
    paths = write(folder / "runs", copies(template, count), count)
    seconds: dict[str, list[float]] = {"all records": [], "one record more": []}
    for index in range(rounds):
        shutil.rmtree(folder / "site", ignore_errors=True)
        seconds["all records"].append(seconds_of_build(folder / "runs", folder / "site"))
        path, aside = paths[index * len(paths) // rounds], folder / "aside.json"
        path.rename(aside)
        seconds_of_build(folder / "runs", folder / "site")
        aside.rename(path)
        seconds["one record more"].append(seconds_of_build(folder / "runs", folder / "site"))
    return seconds


SORT = """async (what) => {
  const begun = performance.now();
  if (what === "sort") document.querySelector("[data-column=quality]").click();
  else {
    const search = document.getElementById("search");
    search.value = what;
    search.dispatchEvent(new Event("input"));
  }
  document.getElementById("table").getBoundingClientRect();  // layout is a part of the answer
  const answered = performance.now() - begun;
  await new Promise((then) => setTimeout(then, 1500));
  return answered;
}"""


def in_browser(page_file: Path, rounds: int) -> dict[str, list[float]]:
    """Return milliseconds of the first paint, of sorting and of filtering, layout included."""
    from playwright.sync_api import sync_playwright

    milliseconds: dict[str, list[float]] = {"first paint": [], "sort": [], "filter": []}
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        for _ in range(rounds):
            page: Any = browser.new_context().new_page()
            page.goto(f"{page_file.as_uri()}#all=1")
            page.wait_for_selector("#curves svg, #curves p")  # a record may have no curve
            paint = "performance.getEntriesByName('first-contentful-paint')[0].startTime"
            milliseconds["first paint"].append(page.evaluate(paint))
            milliseconds["sort"].append(page.evaluate(SORT, "sort"))
            milliseconds["filter"].append(page.evaluate(SORT, "router_1"))
        browser.close()
    return milliseconds


class BoardOptions(Options):
    """Options of the command."""

    record: Path | None = Field(
        None,
        examples=["runs/digits/soft/0123456789ab.json"],
        description="record to copy; null: the first below runs/",
    )
    count: int = Field(10000, ge=1, description="copies that are built")
    rows: int = Field(1000, ge=1, description="contestants of the page that is opened")
    rounds: int = Field(5, ge=1, description="measurements of each kind")


def measure(options: BoardOptions) -> None:
    """Measure and print."""
    template = template_of(options.record)
    count, rows, rounds = options.count, options.rows, options.rounds
    size = len(template.model_dump_json(indent=1))
    table = Table(title=f"{count} records of {size} bytes, {os.cpu_count()} cores, {rounds} rounds")
    for heading in ("what", "median", "least", "most"):
        table.add_column(heading, justify="left" if heading == "what" else "right")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for what, seconds in builds(folder, template, count, rounds).items():
            table.add_row(what, *(f"{f(seconds):.2f} s" for f in (statistics.median, min, max)))
        most = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**10
        table.add_row("memory of a process", "", "", f"{most:.0f} MiB")
        write(folder / "large", copies(template, rows * SEEDS, tasks=1), rows * SEEDS)
        seconds_of_build(folder / "large", folder / "page")
        (page,) = (folder / "page" / "tasks").iterdir()
        loaded = [page, *(page.parents[1] / "static").iterdir()]
        table.add_row(
            f"page of {rows} rows with all that it loads",
            f"{sum(p.stat().st_size for p in loaded) / 1000:.0f} kB",
        )
        for what, milliseconds in in_browser(page, rounds).items():
            table.add_row(
                what, *(f"{f(milliseconds):.0f} ms" for f in (statistics.median, min, max))
            )
    Console(width=None if sys.stdout.isatty() else 110).print(table)


def template_of(path: Path | None) -> RunRecord:
    """Return the record to copy: the given one, or the first below runs/.

    Raises:
        UserError: if there is none.
    """
    record_file = path or next(iter(record_paths("runs")), None)
    if record_file is None or not record_file.exists():
        raise UserError(
            f"record={record_file or 'null'}: no such record; first type python -m moesuite.run"
        )
    record = read_record(record_file)
    if record.status != "ok":
        raise UserError(
            f"record={record_file}: its run is {record.status}; expected a finished one"
        )
    return record


if __name__ == "__main__":
    run_command(measure, BoardOptions, __doc__)
