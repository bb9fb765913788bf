"""From tables to one HTML page that opens from a file: no server, no network."""

from __future__ import annotations

from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from moesuite.leaderboard.board import tables
from moesuite.record import LayerHealth, RunRecord


def page(records: list[RunRecord]) -> str:
    """Return the page; the same records give the same bytes."""
    loader = PackageLoader("moesuite.leaderboard")
    environment = Environment(
        loader=loader, autoescape=select_autoescape(), undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters.update(percent=percent, figure=figure, giga=giga, mean_dropped=mean_dropped, dead=dead)
    return environment.get_template("index.html").render(tables=tables(records), count=len(records))


def write(records: list[RunRecord], out: Path) -> Path:
    """Write the page to `out`/index.html and return its path."""
    out.mkdir(parents=True, exist_ok=True)
    path = out / "index.html"
    part = path.with_suffix(".part")
    part.write_text(page(records), encoding="utf-8")
    part.replace(path)
    return path


def percent(share: float) -> str:
    """Return a share as a percentage with two digits."""
    return f"{100 * share:.2f}"


def figure(value: float, as_percent: bool) -> str:
    """Return a metric: a share as a percentage, anything else with four significant digits."""
    return percent(value) if as_percent else f"{value:.4g}"


def giga(flops: float) -> str:
    """Return FLOPs as GFLOP with four significant digits."""
    return f"{flops / 1e9:.4g}"


def mean_dropped(layers: list[LayerHealth]) -> str:
    """Return the percentage of dropped tokens, the mean over layers; a dash without layers."""
    return percent(sum(layer.dropped for layer in layers) / len(layers)) if layers else "–"


def dead(layers: list[LayerHealth]) -> str:
    """Return dead experts of all experts, over layers; a dash without layers."""
    return f"{sum(layer.dead for layer in layers)}/{sum(len(layer.load) for layer in layers)}" if layers else "–"
