"""The table of support, for the documentation: a function of the stored results."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable

from moesuite.support.result import Outcome, Report, Result

NAMES = {"timm": "timm", "hf": "transformers"}
KINDS = {"timm": "families", "hf": "model types"}
COLUMNS = {"timm": ("family", "tried"), "hf": ("model type", "class")}
LONGEST = 160  # characters of a reason
HEAD = """\
# Which models work

Written by `python -m moesuite.support results=docs/models.json docs=docs/models.md`; do not edit.
Of every family of timm and every model type of transformers one small model was built, with random
weights: {versions}.

Checked of each, in float32: its MLPs become MoE layers with equal experts, which give the dense
model's answer to 1e-4 of its largest number; training steps with token choice and expert choice,
and with Soft MoE for images, have the layers' auxiliary losses, counted once, also where
activations are recomputed; rows of a padded batch give what they give alone, with expert choice;
saved and loaded, the model gives the same answer. Of mixtures of experts the routers are replaced
(`reroute`), and the model's own rule has to give its own answer.

- **fine**: every check passed; the number of MoE layers of the small model, and what to know;
- **refused**: it stays as it is, and the error says why;
- **unsupported**: not tried, as no small model of it was built and called; your own may work;
- **crash**, **wrong**: a check failed; please report others that you find.
"""


def page(report: Report) -> str:
    """Return the page, in Markdown."""
    versions = ", ".join(f"{name} {version}" for name, version in report.versions.items())
    parts = [HEAD.format(versions=versions)]
    for library in NAMES:
        results = [each for each in report.results if each.library == library]
        if results:
            parts += _library(library, results)
    return "\n".join(parts)


def _library(library: str, results: list[Result]) -> Iterable[str]:
    counts = Counter(each.status for each in results)
    listed = ", ".join(f"{count} {status}" for status, count in sorted(counts.items()))
    yield f"## {NAMES[library]}: {len(results)} {KINDS[library]}\n\n{listed}.\n"
    name, model = COLUMNS[library]
    rows = [[name, model, "upcycle", "reroute"] if library == "hf" else [name, model, "upcycle"]]
    rows.append(["---"] * len(rows[0]))
    supported = [each for each in results if each.status != "unsupported"]
    for each in supported:
        ways = [each.upcycle, each.reroute] if library == "hf" else [each.upcycle]
        rows.append([each.name, f"`{each.model}`", *(cell(way, each.model) for way in ways)])
    yield "\n".join(f"| {' | '.join(row)} |" for row in rows) + "\n"
    if rest := [each for each in results if each.status == "unsupported"]:
        yield f"### Not tried ({len(rest)})\n"
        yield "\n".join(f"- {each.name}: {_plain(each.upcycle.detail)}" for each in rest) + "\n"


def cell(outcome: Outcome | None, model: str) -> str:
    """Return what a table says of an outcome; the class of the model stands beside it."""
    if outcome is None:
        return ""
    layers = f", {outcome.layers} layers" if outcome.layers else ""
    detail = f": {_plain(outcome.detail.removeprefix(f'{model} '))}" if outcome.detail else ""
    return f"{outcome.status}{layers}{detail}"


def _plain(text: str) -> str:
    """Return the start of an error that says why, as one cell of a table."""
    text = re.sub(r"[|\n]", "/", text.split("; expected ")[0])
    return text if len(text) <= LONGEST else text[: LONGEST - 1].rstrip() + "…"
