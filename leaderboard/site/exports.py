"""Exports: CSV, Every Eval Ever, the model-index of a Hugging Face model card, an Atom feed."""

from __future__ import annotations

import csv
import datetime
import html
import io
import json
import re
from collections.abc import Sequence
from typing import Any

from moesuite.leaderboard import columns
from moesuite.leaderboard.columns.column import Value
from moesuite.leaderboard.ingest.entry import hub_of
from moesuite.leaderboard.ranking.board import Board
from moesuite.leaderboard.ranking.contestants import Difference, Row
from moesuite.leaderboard.ranking.labels import REFUTED
from moesuite.records.record import RunRecord

SCHEMA = "0.3.0"  # of Every Eval Ever, https://github.com/evaleval/every_eval_ever
RECENT = 50  # entries of the feed
# the hub's names, https://huggingface.co/tasks; other families have none
HUB_TASKS = {
    "vision": "image-classification",
    "language": "text-generation",
    "embeddings": "sentence-similarity",
}
IDENTITY = ("variant", "backbone", "mean", "half", "group", "unranked")


def csv_of(board: Board) -> str:
    """Return the rows of a benchmark as CSV, with the figures of `Row` in units of the record."""
    machines = sorted({machine for row in board.rows for machine in row.timings})
    lines = [_cells(board, row, machines) for row in board.rows]
    stream = io.StringIO()
    writer = csv.DictWriter(stream, list(lines[0]) if lines else ["task"], lineterminator="\n")
    writer.writeheader()
    writer.writerows({key: harmless(value) for key, value in line.items()} for line in lines)
    return stream.getvalue()


def _cells(board: Board, row: Row, machines: Sequence[str]) -> dict[str, Any]:
    cells: dict[str, Any] = {
        "task": board.task,
        "metric": board.metric,
        "setting": board.settings[row.setting],
        "section": board.section(row),
        "router": row.router,
    }
    cells |= {name: getattr(row, name) for name in IDENTITY} | {"seeds": len(row.values)}
    cells |= _difference("to_dense", row.to_dense) | _difference("to_best", row.to_best)
    cells |= {"margin": board.margin} | row.figures
    for machine in machines:
        cells |= _timings(board, row, machine)
    runs = " ".join(identity for _, identity in row.runs)
    about = {"labels": "; ".join(row.labels), "data": row.data_description}
    return cells | about | {"runs": runs}


def _difference(to: str, difference: Difference | None) -> dict[str, Any]:
    return {
        f"{to}_{name}": None if difference is None else getattr(difference, name)
        for name in Difference.model_fields
    }


def _timings(board: Board, row: Row, machine: str) -> dict[str, Value]:
    """Return the times on one machine, and the bounds of the ratios of dense models there."""
    times, noise = row.timings.get(machine, {}), board.noise.get(machine, {})
    of_machine = [column for column in columns.figures() if column.per_machine]
    cells: dict[str, Value] = {f"{c.name} on {machine}": times.get(c.name) for c in of_machine}
    for name in (column.name for column in of_machine if column.spread):
        spread = noise.get(name)
        cells[f"least dense {name} on {machine}"] = spread.least if spread else None
        cells[f"most dense {name} on {machine}"] = spread.most if spread else None
    return cells


def harmless(value: Any) -> Any:
    """Return a cell that no spreadsheet takes for a formula."""
    is_formula = isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r"))
    return f"'{value}" if is_formula else value


def every_eval_ever(board: Board, row: Row) -> dict[str, Any]:
    """Return one contestant in the schema of Every Eval Ever."""
    when = str(int(datetime.datetime.fromisoformat(row.newest).timestamp()))
    model = f"moesuite/{row.backbone}-{row.router}-{row.key}"
    source = {
        "dataset_name": board.task,
        "source_type": "other",
        "additional_details": {
            "fingerprint": board.data_fingerprint,
            "description": row.data_description,
        },
    }
    if row.hub:
        source |= {"source_type": "hf_dataset", "hf_repo": row.hub, "hf_split": "test"}
    return {
        "schema_version": SCHEMA,
        "evaluation_id": f"{board.task}/{model}/{when}",
        "evaluation_timestamp": row.newest,
        "retrieved_timestamp": when,
        "source_metadata": {
            "source_name": "moesuite",
            "source_type": "evaluation_run",
            "source_organization_name": "moesuite",
            "evaluator_relationship": "first_party",
        },
        "eval_library": {"name": "moesuite", "version": row.version or "unknown"},
        "model_info": {
            "name": f"{row.router} in {row.backbone}",
            "id": model,
            "additional_details": {
                "deployment_type": "self_deployed",
                "model_availability": "unknown",
                "router": row.router,
                "options": row.variant,
                "paper": row.router_paper,
                "runs": " ".join(identity for _, identity in row.runs),
                **({"verification": REFUTED} if row.refuted else {}),
            },
        },
        "evaluation_results": [_result(board, row, name, source) for name in sorted(row.metrics)],
    }


def _result(board: Board, row: Row, name: str, source: dict[str, Any]) -> dict[str, Any]:
    value, lower, examples = row.metrics[name]
    details: dict[str, Any] = {"score": value, "details": {"examples": str(examples)}}
    if name == board.metric:
        details["uncertainty"] = {"num_samples": len(row.values)}
        if row.half is not None:
            details["uncertainty"]["confidence_interval"] = {
                "lower": row.mean - row.half,
                "upper": row.mean + row.half,
                "confidence_level": 0.95,
                "method": "Student's t over seeds",
            }
    return {
        "evaluation_name": board.task,
        "source_data": source,
        "metric_config": {
            "evaluation_description": f"{name} on the test split of {board.task}, mean over seeds",
            "metric_name": name,
            "lower_is_better": lower,
            "score_type": "continuous",
            "min_score": None,
            "max_score": None,
        },
        "score_details": details,
    }


def model_index(record: RunRecord) -> str:
    """Return the metadata block of a model card.

    See https://github.com/huggingface/hub-docs/blob/main/modelcard.md.
    """
    task = record.config.get("task", {})
    family, hub = str(task.get("family", "")), hub_of(task)
    lines = [
        "---",
        "library_name: moesuite",
        "model-index:",
        f"- name: {json.dumps(f'{record.backbone}-{record.router}')}",
        "  results:",
        "  - task:",
        f"      type: {json.dumps(HUB_TASKS.get(family, family or 'other'))}",
        "    dataset:",
        f"      name: {json.dumps(record.task)}",
        f"      type: {json.dumps(hub or record.task)}",
        "      split: test",
    ]
    if hub and task.get("revision"):
        lines.append(f"      revision: {json.dumps(task['revision'])}")
    lines.append("    metrics:")
    for name, quality in sorted(record.quality.items()):
        lines += [
            f"    - type: {json.dumps(name)}",
            f"      value: {quality.value!r}",
            f"      name: {json.dumps(name)}",
        ]
    return "\n".join([*lines, "---", ""])


def atom(boards: Sequence[Board], number: str) -> str:
    """Return the feed of the newest results.

    Args:
        boards: all benchmarks.
        number: format of a quality.
    """
    rows = [(board, row) for board in boards for row in board.rows]
    rows.sort(key=lambda pair: (pair[1].newest, pair[0].slug, pair[1].key), reverse=True)
    updated = rows[0][1].newest if rows else "1970-01-01T00:00:00+00:00"
    entries = "".join(_entry(board, row, number) for board, row in rows[:RECENT])
    return (
        '<?xml version="1.0" encoding="utf-8"?>\n<feed xmlns="http://www.w3.org/2005/Atom">\n'
        "<title>moesuite: new results</title>\n<id>urn:moesuite:results</id>\n"
        f'<link href="index.html"/>\n<updated>{plain(updated)}</updated>\n'
        f"<author><name>moesuite</name></author>\n{entries}</feed>\n"
    )


def _entry(board: Board, row: Row, number: str) -> str:
    interval = "" if row.half is None else f" ± {row.half:{number}}"
    seeds = f"{len(row.values)} seed{'s' * (len(row.values) != 1)}"
    title = f"{row.router} on {board.task}: {board.metric} {row.mean:{number}}{interval}, {seeds}"
    summary = ", ".join(filter(None, [row.backbone, row.variant, *row.labels]))
    return (
        f"<entry><title>{plain(title)}</title><id>urn:moesuite:{plain(board.slug)}:{row.key}</id>"
        f'<link href="tasks/{plain(board.slug)}.html"/><updated>{plain(row.newest)}</updated>'
        f"<summary>{plain(summary)}</summary></entry>\n"
    )


def plain(text: str) -> str:
    """Return text for XML, without the characters that XML 1.0 cannot write."""
    return html.escape(re.sub(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", "", text))
