"""Console report of one run: quality, training, cost, routing health."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from statistics import fmean

from rich.console import Console
from rich.table import Table

from moesuite.records.compute import Compute, Timing
from moesuite.records.record import RunRecord, dropped_under_capacity
from moesuite.records.store import RunFiles

Row = tuple[str, str]  # name, value


def print_run(record: RunRecord, path: Path) -> None:
    """Print quality, cost against the dense model, routing health, and the path of the record."""
    console = Console()
    title = f"{record.router} on {record.task}, seed {record.seed}"
    table = Table(title=title, show_header=False, title_justify="left")
    for name, value in run_rows(record):
        table.add_row(name, value)
    console.print(table)
    console.print(f"record  {path}", soft_wrap=True, highlight=False, markup=False)
    files = RunFiles(path)
    if files.predictions.exists():
        console.print(f"rows    {files.predictions}", soft_wrap=True, highlight=False, markup=False)
    page = shlex.join(["python", "-m", "moesuite.leaderboard", f"records={files.records}"])
    console.print(f"page    {page}", soft_wrap=True, highlight=False, markup=False)


def already_recorded(record: RunRecord) -> str:
    """Return when a requested run was recorded, and how to repeat it."""
    when = f"{datetime.fromisoformat(record.created):%Y-%m-%d %H:%M %Z}"
    return f"already recorded on {when}; type force=true to run it again"


def run_rows(record: RunRecord) -> list[Row]:
    """Return the rows of the table."""
    return [
        *_quality_rows(record),
        *_training_rows(record),
        *([] if record.compute is None else cost_rows(record.compute)),
        *_energy_rows(record),
        *_health_rows(record),
    ]


def _quality_rows(record: RunRecord) -> Iterator[Row]:
    if record.partial:
        yield "PARTIAL, kept off the leaderboard", ", ".join(record.partial)
    for role, duplicates in (record.duplicates or {}).items():
        if duplicates.count:
            yield "CONTAMINATION", duplicates.sentence(role)
    for name, quality in record.quality.items():
        yield name, f"{quality.value:.4f}  (n={quality.n})"
    if record.limited_quality:
        limited = record.limited_quality[record.primary].value
        yield f"{record.primary}, under training capacity", f"{limited:.4f}"
    lookahead = record.lookahead
    if lookahead is not None and lookahead.outputs:
        changed = f"{lookahead.outputs:.1%} of outputs change with them"
        yield "SEES LATER TOKENS", f"{changed}, {lookahead.bits:+.4f} bits"


def _training_rows(record: RunRecord) -> Iterator[Row]:
    yield "steps, training time", f"{record.steps}, {record.seconds:.1f} s"
    if record.steps:
        share = record.waited / record.seconds
        yield "of which waiting for data", f"{record.waited:.1f} s, {share:.1%}"
    if record.sunk is not None:
        yield "of which dense run", f"{record.sunk.steps}, {record.sunk.seconds:.1f} s"
    if record.verdict:
        yield "upcycled", record.verdict


def cost_rows(compute: Compute) -> Iterator[Row]:
    """Yield the rows of what the run costs."""
    expected = f"{compute.expected.total / 1e9:.4g} expected"
    yield "GFLOP per example, activated", f"{compute.activated.total / 1e9:.4g}"
    yield "GFLOP per example, executed", f"{compute.executed.total / 1e9:.4g} ({expected})"
    yield "GFLOP per example, training", f"{compute.training.total / 1e9:.4g}"
    parameters = f"{compute.parameters_total:,} / {compute.parameters_active:,}"
    yield "parameters, total / active", parameters
    slots = f"{compute.slots_per_token_asked:g} / {compute.slots_per_token_effective:.3g}"
    yield "slots per token, requested / effective", slots
    yield f"latency, batch {compute.batch_size}", timing_text(compute.latency)
    yield f"training step, batch {compute.batch_size}", timing_text(compute.training_step)
    if compute.latency_per_sample is not None and compute.throughput is not None:
        latency = f"{1e6 * compute.latency_per_sample:.0f} µs"
        yield "per example, throughput", f"{latency}, {compute.throughput:.0f}/s in training"
    if compute.step_peak_bytes is not None and compute.dense_step_peak_bytes is not None:
        mebibytes = compute.step_peak_bytes / 2**20
        ratio = compute.step_peak_bytes / compute.dense_step_peak_bytes
        yield "memory of a training step", f"{mebibytes:.1f} MiB above weights; {ratio:.2f}x dense"
    yield "peak memory of the process", f"{compute.peak_memory_bytes / 2**20:.0f} MiB"
    if compute.uncounted:
        yield "not counted, no formula", ", ".join(compute.uncounted)


def timing_text(timing: Timing | None) -> str:
    """Return a measured time and its ratio to the dense model, or that it was not measured."""
    if timing is None:
        return "not measured"
    spread = f"IQR {1000 * timing.iqr:.2f}, n={timing.n}"
    return f"{1000 * timing.median:.2f} ms ({spread}); {timing.ratio_to_dense:.2f}x dense"


def _energy_rows(record: RunRecord) -> Iterator[Row]:
    if record.energy is not None:
        watt_hours = f"{1000 * record.energy.kwh:.3g} Wh"
        yield "energy, estimate", f"{watt_hours} ({record.energy.estimated_by})"


def _health_rows(record: RunRecord) -> Iterator[Row]:
    layers = record.health
    if not layers:
        return
    experts = sum(len(layer.load) for layer in layers)
    dead = sum(layer.dead for layer in layers)
    figures = (
        f"{fmean(layer.unserved for layer in layers):.1%} of tokens unserved, "
        f"{dead}/{experts} experts dead, "
        f"load entropy {fmean(layer.entropy for layer in layers):.3f}"
    )
    if null_share := fmean(layer.null_share for layer in layers):
        figures += f"; {null_share:.1%} of the choices to null experts"
    dropped = dropped_under_capacity(layers)
    if dropped is not None:
        figures += f"; {dropped:.1%} dropped under the training capacity"
    yield f"routing, {len(layers)} layer{'s' * (len(layers) > 1)}", figures
