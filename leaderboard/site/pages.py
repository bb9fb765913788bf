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
        looked: what its router looked at, where that is known.
        reproductions: records of the same run, made again.
        verdicts: what running it again showed.
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
        made=[record, *reproductions],
        text=inert(record.model_dump_json()),
        looked=inert("null" if looked is None else looked.model_dump_json()),
        card=exports.model_index(record) if record.quality else "",
    )


def task_pages(site: Site, made: Sequence[Board]) -> list[str]:
    """Write the pages and exports of a task's benchmarks; return the names of the files."""
    names = list[str]()
    for board in made:
        files = {
            f"tasks/{board.slug}.html": benchmark_page(board, made),
            f"data/{board.slug}.csv": exports.csv_of(board),
            f"data/{board.slug}.json": board.model_dump_json(indent=1) + "\n",
            f"data/{board.slug}.curves.js": f"moesuite.curves({inert(json.dumps(curves(board)))});\n",
        }
        for row in board.rows:
            name = f"exports/every_eval_ever/{board.slug}/{slug(row.router)}/{row.key}.json"
            files[name] = (
                json.dumps(exports.every_eval_ever(board, row), indent=1, ensure_ascii=False) + "\n"
            )
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
    made: Sequence[Board],
    certificates: Certificates,
    studies: Mapping[str, StudyRecord],
    problems: Sequence[str],
    changed: set[str] | None,
) -> list[str]:
    """Write the pages that many tasks have a part in, and what all pages need; return the names of the files.

    Args:
        site: to write to.
        made: all benchmarks.
        certificates, studies: by router, and by name.
        problems: a line for each file that is left out.
        changed: routers whose pages are to be made anew; None: all.
    """
    view, tasks = overview(made), [{"slug": board.slug, "task": board.task} for board in made]
    files = {
        "index.html": render(
            "overview.html",
            root="",
            title="Overview",
            view=view,
            slug=slug,
            problems=len(problems),
            studies=sorted(studies.values(), key=lambda study: (study.task, study.name)),
            others=[b for b in made if b not in view.boards],
        ),
        "method.html": render(
            "method.html",
            root="",
            title="Method",
            families=FAMILIES,
            columns=[column for column in columns.figures() if column.label],
        ),
        "apart.html": render(
            "apart.html", root="", title="Left out", problems=sorted(problems), boards=made
        ),
        "feed.xml": exports.atom(made, ".4g"),
        "static/tasks.js": f"moesuite.tasks({inert(json.dumps(tasks))});\n",
        **{f"static/{path.name}": path.read_text() for path in sorted(STATIC.iterdir())},
    }
    routers = {row.router for board in made for row in board.rows} | {
        f[1] for board in made for f in board.failed
    }
    for router in sorted(routers if changed is None else routers & changed):
        files[f"routers/{slug(router)}.html"] = router_page(
            router, made, view, certificates.get(router, [])
        )
    for name, text in files.items():
        site.write(name, text)
    return sorted({*files, *(f"routers/{slug(router)}.html" for router in routers)})


def router_page(
    router: str, made: Sequence[Board], view: Overview, certificates: Sequence[Certificate]
) -> str:
    """Return the page of a router."""
    rows = [(board, row) for board in made for row in board.rows if row.router == router]
    source = next((certificate.source for certificate in certificates if certificate.source), "")
    code = source or packaged_source(router)
    curves_of = [
        {"name": board.task, **health_curve(row)}
        for board in view.boards
        if (row := view.cells.get((router, board.slug))) is not None and row.health
    ]
    return render(
        "router.html",
        root="../",
        title=router,
        router=router,
        paper=next(
            (row.router_paper for _, row in rows if row.router_paper),
            next((one.paper for one in certificates), ""),
        ),
        rows=rows,
        columns=[column for column in columns.figures() if column.on_router_page],
        code=code,
        lines=len(code.splitlines()),
        certificates=certificates,
        certified=bool(source),
        failed=[(board, *one) for board in made for one in board.failed if one[1] == router],
        payload=data({"health": curves_of}),
    )


@cache
def packaged_source(router: str) -> str:
    """Return the source of a router of the package; empty for any other."""
    path = packaged("routers", router)
    return "" if path is None else path.read_text()
