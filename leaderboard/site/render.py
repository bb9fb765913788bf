"""Templates and the data that pages carry: nothing of a record can become markup."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from moesuite.leaderboard.columns.column import Column, Figures, Format
from moesuite.leaderboard.ranking.labels import WARNINGS

RUN = '<a href="../runs/{id}.html" aria-label="run of seed {seed}: {id}">{seed}</a>'
LINK = re.compile(r"https?://[^\s<>\"']+[^\s<>\"'.,;)]")


@cache
def environment() -> Environment:
    """Return the environment of the templates; everything is escaped."""
    templates = Environment(
        loader=PackageLoader("moesuite.leaderboard.site"),
        autoescape=True,
        undefined=StrictUndefined,
        auto_reload=False,  # else each page asks the disk for each of its templates
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters.update(
        cell=cell, figure=figure, signed=signed, percent=percent, linked=linked, links=links
    )
    templates.globals["warnings"] = WARNINGS
    return templates


def render(template: str, **values: Any) -> str:
    """Return a page."""
    return environment().get_template(template).render(**values)


def data(value: Any) -> Markup:
    """Return JSON for a <script type="application/json">."""
    return inert(json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False))


def inert(text: str) -> Markup:
    """Return JSON text in which no tag or comment can begin or end."""
    return Markup(text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))


def figure(value: float | None, digits: int = 4) -> str:
    """Return a figure with as many significant digits; a dash for none."""
    return "–" if value is None else f"{value:.{digits}g}"


def signed(value: float | None) -> str:
    """Return a difference with its sign and three significant digits."""
    return "–" if value is None else f"{value:+.3g}".replace("-", "−")


def giga(value: float | None) -> str:
    """Return FLOPs as GFLOP with four significant digits."""
    return "–" if value is None else f"{value / 1e9:.4g}"


def milliseconds(value: float | None) -> str:
    """Return seconds as milliseconds with four significant digits."""
    return "–" if value is None else f"{1000 * value:.4g}"


def ratio(value: float | None) -> str:
    """Return a ratio with three significant digits."""
    return figure(value, 3)


def count(value: float | None) -> str:
    """Return a number of parameters, in thousands, millions or billions."""
    for size, sign in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if value is not None and value >= size:
            return f"{figure(value / size, 3)} {sign}"
    return figure(value)


def percent(share: float | None) -> str:
    """Return a share as a percentage with one digit."""
    return "–" if share is None else f"{100 * share:.1f} %"


# how a column's values are written; `static/formats.js` has the same names
FORMATS: dict[Format, Callable[[float | None], str]] = {
    "figure": figure,
    "ratio": ratio,
    "gflop": giga,
    "share": percent,
    "count": count,
    "milliseconds": milliseconds,
}


def cell(column: Column, figures: Figures) -> str:
    """Return a figure of a row as text; a dash for None."""
    value = figures[column.name]
    if column.over:
        whole = figures[column.over]
        return f"{figure(value)}/{whole}" if whole else "–"
    bound = "≥ " if column.bounded_by and figures[column.bounded_by] and value is not None else ""
    return bound + FORMATS[column.format](value)


def links(runs: Iterable[tuple[int, str]]) -> Markup:
    """Return links from seeds to the pages of runs; faster here than in the template."""
    return Markup(" ").join(
        Markup(RUN.format(seed=int(seed), id=escape(run))) for seed, run in runs
    )


def linked(text: str) -> Markup:
    """Return text with its web addresses as links."""
    parts, end = [], 0
    for match in LINK.finditer(text):
        parts.append(
            Markup('{}<a href="{}">{}</a>').format(text[end : match.start()], match[0], match[0])
        )
        end = match.end()
    return Markup("").join([*parts, Markup("{}").format(text[end:])])
