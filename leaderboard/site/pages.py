"""The pages, and the files beside them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

from moesuite.discovery.names import packaged
from moesuite.leaderboard import columns
from moesuite.leaderboard.ranking.board import Board, slug
from moesuite.leaderboard.ranking.claims import compared
from moesuite.leaderboard.ranking.overview import Overview, overview
from moesuite.leaderboard.site import exports
from moesuite.leaderboard.site.output_folder import Site
from moesuite.leaderboard.site.payload import benchmark_payload, curves
from moesuite.leaderboard.site.payload import health as health_curve
from moesuite.leaderboard.site.render import data, inert, render
from moesuite.records.certificate import Certificate, Certificates, Looked, Verdict
from moesuite.records.metrics import FAMILIES
from moesuite.records.protocol import protocol_words
from moesuite.records.record import RunRecord
from moesuite.records.study import StudyRecord

STATIC = Path(__file__).parent / "static"


def run_name(identity: str) -> str:
    """Return the file of a run's page."""
    return f"runs/{slug(identity)}.html"


def run_page(
    record: RunRecord,
    looked: Looked | None,
    reproductions: Sequence[RunRecord] = (),
    verdicts: Sequence[Verdict] = (),
) -> str:
    """Return the page of a run.

    Args:
        record: of the run.
        looked: routing of test examples, or None.
        reproductions: records of the same run, made again.
        verdicts: of reruns.
    """
    ranked = record.quality.get(record.primary)
    return render(
        "run.html",
        root="../",
        title=f"{record.router} on {record.task}, seed {record.seed}",
        record=record,
        verdicts=verdicts,
        protocol=protocol_words(record.protocol),
        task=f"tasks/{slug(record.task)}.html",
        router=f"routers/{slug(record.router)}.html",
        ranked=ranked,
        reproductions=[record, *reproductions] if reproductions else [],
        text=inert(record.model_dump_json()),
        looked=inert("null" if looked is None else looked.model_dump_json()),
        card=exports.model_index(record) if record.quality else "",
    )


def task_pages(site: Site, boards: Sequence[Board]) -> list[str]:
    """Write the pages and exports of a task's benchmarks; return the names of the files."""
    names = list[str]()
    for board in boards:
        carried = inert(json.dumps(curves(board)))
        files = {
            f"tasks/{board.slug}.html": benchmark_page(board, boards),
            f"data/{board.slug}.csv": exports.csv_of(board),
            f"data/{board.slug}.json": board.model_dump_json(indent=1) + "\n",
            f"data/{board.slug}.curves.js": f"moesuite.curves({carried});\n",
        }
        for row in board.rows:
            name = f"exports/every_eval_ever/{board.slug}/{slug(row.router)}/{row.key}.json"
            export = exports.every_eval_ever(board, row)
            files[name] = json.dumps(export, indent=1, ensure_ascii=False) + "\n"
        for name, text in files.items():
            site.write(name, text)
        names += files
    return names


def benchmark_page(board: Board, of_task: Sequence[Board]) -> str:
    """Return the page of a benchmark; `of_task`: all benchmarks of its task."""
    return render(
        "benchmark.html",
        root="../",
        title=board.task,
        board=board,
        others=[other for other in of_task if other.slug != board.slug],
        claims=list(compared(board)),
        payload=data(benchmark_payload(board)),
    )


def shared_pages(
    site: Site,
    boards: Sequence[Board],
    certificates: Certificates,
    studies: Mapping[str, StudyRecord],
    problems: Sequence[str],
    changed: set[str] | None,
) -> list[str]:
    """Write the pages that follow from several tasks, and what all pages need.

    Args:
        site: to write to.
        boards: all benchmarks.
        certificates: by router.
        studies: by name.
        problems: a line for each file that is left out.
        changed: routers whose pages are built anew; None for all.

    Returns:
        Names of the files.
    """
    view = overview(boards)
    tasks = [{"slug": board.slug, "task": board.task} for board in boards]
    left_out = sorted(problems)
    files = {
        "index.html": overview_page(view, boards, studies, len(problems)),
        "method.html": method_page(),
        "apart.html": render(
            "apart.html", root="", title="Left out", problems=left_out, boards=boards
        ),
        "feed.xml": exports.atom(boards, ".4g"),
        "static/tasks.js": f"moesuite.tasks({inert(json.dumps(tasks))});\n",
        **{
            f"static/{path.name}": path.read_text(encoding="utf-8")
            for path in sorted(STATIC.iterdir())
        },
    }
    routers = {row.router for board in boards for row in board.rows}
    routers |= {router for board in boards for _, router, *_ in board.failed}
    for router in sorted(routers if changed is None else routers & changed):
        page = router_page(router, boards, view, certificates.get(router, []))
        files[f"routers/{slug(router)}.html"] = page
    for name, text in files.items():
        site.write(name, text)
    return sorted({*files, *(f"routers/{slug(router)}.html" for router in routers)})


def overview_page(
    view: Overview, boards: Sequence[Board], studies: Mapping[str, StudyRecord], problems: int
) -> str:
    """Return the page of all routers and tasks; `problems`: number of files that are left out."""
    return render(
        "overview.html",
        root="",
        title="Overview",
        view=view,
        slug=slug,
        problems=problems,
        studies=sorted(studies.values(), key=lambda study: (study.task, study.name)),
        others=[board for board in boards if board not in view.boards],
    )


def method_page() -> str:
    """Return the page that says how everything is measured."""
    return render(
        "method.html",
        root="",
        title="Method",
        families=FAMILIES,
        columns=[column for column in columns.figures() if column.label],
    )


def router_page(
    router: str, boards: Sequence[Board], view: Overview, certificates: Sequence[Certificate]
) -> str:
    """Return the page of a router."""
    rows = [(board, row) for board in boards for row in board.rows if row.router == router]
    papers = [row.router_paper for _, row in rows] + [c.paper for c in certificates]
    source = next((certificate.source for certificate in certificates if certificate.source), "")
    code = source or packaged_source(router)
    health = [
        {"name": board.task, **health_curve(row)}
        for board in view.boards
        if (row := view.cells.get((router, board.slug))) is not None and row.health
    ]
    failed = [(board, *run) for board in boards for run in board.failed if run[1] == router]
    return render(
        "router.html",
        root="../",
        title=router,
        router=router,
        paper=next(filter(None, papers), ""),
        rows=rows,
        columns=[column for column in columns.figures() if column.on_router_page],
        code=code,
        lines=len(code.splitlines()),
        certificates=certificates,
        certified=bool(source),
        failed=failed,
        payload=data({"health": health}),
    )


@cache
def packaged_source(router: str) -> str:
    """Return the source of a router of the package, or "" for any other."""
    path = packaged("routers", router)
    return "" if path is None else path.read_text(encoding="utf-8")
