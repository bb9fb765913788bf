"""The end of a run on the console."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from rich.console import Console
from rich.table import Table

from moesuite.records.compute import Compute, Timing
from moesuite.records.record import RunRecord, dropped_under_capacity
from moesuite.records.store import RunFiles


def show(record: RunRecord, path: Path) -> None:
    """Print quality, cost against the matched dense model, routing health, and where the record is."""
    console = Console()
    table = Table(
        title=f"{record.router} on {record.task}, seed {record.seed}",
        show_header=False,
        title_justify="left",
    )
    for name, value in rows(record):
        table.add_row(name, value)
    console.print(table)
    console.print(f"record  {path}", soft_wrap=True, highlight=False)
    page = f"page    python -m moesuite.leaderboard records={RunFiles(path).records}"
    console.print(page, soft_wrap=True, highlight=False)


def already(record: RunRecord) -> str:
    """Return when a run was recorded that was asked for again, and what to type."""
    when = f"{datetime.fromisoformat(record.created):%Y-%m-%d %H:%M %Z}"
    return f"already recorded on {when}; type force=true to run it again"


def rows(record: RunRecord) -> list[tuple[str, str]]:
    """Return the lines of the table."""
    quality = [(name, f"{q.value:.4f}  (n={q.n})") for name, q in record.quality.items()]
    if record.limited_quality:
        limited = record.limited_quality[record.primary].value
        quality.append((f"{record.primary}, training capacity", f"{limited:.4f}"))
    if (seen := record.lookahead) is not None and seen.outputs:
        quality.append(
            (
                "SEES LATER TOKENS",
                f"{seen.outputs:.1%} of outputs change with them, {seen.bits:+.4f} bits",
            )
        )
    if record.partial:
        quality.insert(0, ("PARTIAL, kept off the leaderboard", ", ".join(record.partial)))
    lines = [*quality, ("steps, training time", f"{record.steps}, {record.seconds:.1f} s")]
    if record.steps:
        lines.append(
            (
                "of it between steps, for data",
                f"{record.waited:.1f} s, {record.waited / record.seconds:.1%}",
            )
        )
    lines += (
        []
        if record.sunk is None
        else [("of it by the dense run", f"{record.sunk.steps}, {record.sunk.seconds:.1f} s")]
    )
    if record.verdict:
        lines.append(("upcycled", record.verdict))
    if record.compute is not None:
        lines += cost_rows(record.compute)
    if record.energy is not None:
        lines.append(
            (
                "energy, estimate",
                f"{1000 * record.energy.kwh:.3g} Wh ({record.energy.estimated_by})",
            )
        )
    if record.health:
        count = len(record.health)
        unserved = sum(layer.unserved for layer in record.health) / count
        experts, dead = (
            sum(len(layer.load) for layer in record.health),
            sum(layer.dead for layer in record.health),
        )
        entropy = sum(layer.entropy for layer in record.health) / count
        text = f"{unserved:.1%} of the tokens unserved, {dead}/{experts} dead, load entropy {entropy:.3f}"
        if (dropped := dropped_under_capacity(record.health)) is not None:
            text += f"; {dropped:.1%} dropped under the training capacity"
        lines.append((f"routing, {count} layer{'s' * (count > 1)}", text))
    return lines


def cost_rows(compute: Compute) -> list[tuple[str, str]]:
    """Return the lines of what the run costs."""
    expected = f"{compute.expected.total / 1e9:.4g} expected"
    asked = f"{compute.slots_per_token_asked:g} / {compute.slots_per_token_effective:.3g}"
    lines = [
        ("GFLOP per example, activated", f"{compute.activated.total / 1e9:.4g}"),
        ("GFLOP per example, executed", f"{compute.executed.total / 1e9:.4g} ({expected})"),
        ("GFLOP per example, training", f"{compute.training.total / 1e9:.4g}"),
        (
            "parameters, total / active",
            f"{compute.parameters_total:,} / {compute.parameters_active:,}",
        ),
        ("slots per token, asked / effective", asked),
        (f"latency, batch {compute.batch_size}", timing(compute.latency)),
        (f"training step, batch {compute.batch_size}", timing(compute.training_step)),
    ]
    if compute.latency_per_sample is not None and compute.throughput is not None:
        per_sample = (
            f"{1e6 * compute.latency_per_sample:.0f} µs, {compute.throughput:.0f}/s in training"
        )
        lines.append(("per sample, throughput", per_sample))
    if compute.step_peak_bytes is not None and compute.dense_step_peak_bytes is not None:
        ours, theirs = compute.step_peak_bytes / 2**20, compute.dense_step_peak_bytes / 2**20
        lines.append(
            ("memory of a step, above weights", f"{ours:.1f} MiB; {ours / theirs:.2f}x dense")
        )
    lines.append(("peak memory of the process", f"{compute.peak_memory_bytes / 2**20:.0f} MiB"))
    if compute.uncounted:
        lines.append(("not counted, no formula", ", ".join(compute.uncounted)))
    return lines


def timing(value: Timing | None) -> str:
    """Return a measured time and its ratio to the dense model, or that it was not measured."""
    if value is None:
        return "not measured"
    return f"{1000 * value.median:.2f} ms (IQR {1000 * value.iqr:.2f}, n={value.n}); {value.ratio_to_dense:.2f}x dense"
