"""A recommendation in words: a table of alternatives, the evidence, and what to type."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import chain
from typing import Any

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from moesuite.config.options import word
from moesuite.recommend.alternatives import Alternative
from moesuite.recommend.contestants import Contestant, Measured
from moesuite.recommend.subject import KINDS, Kind, Subject

# a task of each kind, to type
TASKS: dict[Kind, str] = {
    "images": "task=imagenet",
    "causal text": "task=wikitext2",
    "text": "task=sts",
    "encoder-decoder": "task=c4 task.objective=span_corruption",
}
LEGEND = """\
costs relative to the dense model: FLOPs executed by a forward pass in evaluation, and by a training
step; parameters, all and active; memory that a training step keeps for its backward pass"""
PRICE = (
    "training: Komatsuzaki et al. report that an upcycled model overtakes continued dense training "
    "after about half of what the dense run cost; at the small scale of benchmark=upcycling_small "
    "that held for images up to there, and not for text (one seed each)"
)


@dataclass(frozen=True)
class Recommendation:
    """What to do with a dense model.

    Attributes:
        alternatives: best first; the first one is recommended.
        notes: what the evidence is worth, a sentence each.
    """

    subject: Subject
    alternatives: list[Alternative]
    notes: list[str]

    @property
    def python(self) -> str:
        """The call that upcycles the model."""
        config = self.alternatives[0].config
        options: dict[str, Any] = {
            "num_experts": config.num_experts,
            "layers": config.layers,
            "slots_per_token": config.slots_per_token,
            **({} if config.decoder is None else {"decoder": dict(config.decoder)}),
            **config.options,
        }
        listed = ", ".join(f"{key}={value!r}" for key, value in options.items())
        model = repr(self.subject.name) if self.subject.has_weights else "model"
        return f"model, receipt = moesuite.upcycle({model}, {config.router!r}, {listed})"

    @property
    def command(self) -> str:
        """The run that upcycles and trains it; empty for an architecture without weights."""
        if not self.subject.has_weights:
            return ""
        config = self.alternatives[0].config
        options: dict[str, Any] = {
            "upcycle": self.subject.name,
            "router": config.router,
            "num_experts": config.num_experts,
            "layers": config.layers,
            "slots_per_token": config.slots_per_token,
            **({} if config.decoder is None else {"decoder": dict(config.decoder)}),
            **{f"router.{key}": value for key, value in config.options.items()},
        }
        words = [f"{key}={word(value)}" for key, value in options.items()]
        if self.subject.kind == "encoder-decoder":
            words.append("allow_noncausal=true")
        task = TASKS[self.subject.kind].split()
        return shlex.join(["python", "-m", "moesuite.run", *task, *words])

    def as_json(self) -> str:
        """Return all of it, without the model itself."""
        return json.dumps(
            {
                "model": self.subject.name,
                "kind": self.subject.kind,
                "mlps": self.subject.mlps,
                "alternatives": [asdict(alternative) for alternative in self.alternatives],
                "notes": self.notes,
                "python": self.python,
                "command": self.command,
            },
            indent=1,
        )


def show(recommendation: Recommendation, style: str, console: Console) -> None:
    """Print a recommendation, as `table` or `markdown`."""
    subject, is_markdown = recommendation.subject, style == "markdown"
    console.print(f"{subject.name}: {KINDS[subject.kind]}, {len(subject.mlps)} MLPs")
    _print_table(recommendation.alternatives, style, console)
    console.print(LEGEND, highlight=False)
    evidence = chain.from_iterable(map(evidence_of, recommendation.alternatives))
    for line in [*evidence, *recommendation.notes, PRICE]:
        console.print(f"- {escape(line)}", highlight=False, soft_wrap=True)
    if not subject.has_weights:
        console.print(
            "- model is yours, with its weights; model=hf:<folder or hub id> also gives the run",
            highlight=False,
            soft_wrap=True,
            markup=False,
        )
    console.print("\ntype, for the first one:\n" if is_markdown else "type, for the first one:")
    for line in filter(None, (recommendation.python, recommendation.command)):
        print(f"    {line}" if is_markdown else line)  # one line each, to copy


def _print_table(alternatives: list[Alternative], style: str, console: Console) -> None:
    """Print a table; in Markdown between empty lines, which end it."""
    with console.capture() as capture:
        console.print(_table(alternatives, style))
    lines = [line for line in capture.get().splitlines() if line.strip()]
    console.out("\n".join(["", *lines, ""] if style == "markdown" else lines), highlight=False)


def _table(alternatives: list[Alternative], style: str) -> Table:
    table = Table(box=box.MARKDOWN if style == "markdown" else box.SQUARE)
    for heading in ("router", "experts", "slots", "layers"):
        table.add_column(heading)
    for heading in ("FLOPs", "training", "parameters", "active", "memory"):
        table.add_column(heading, justify="right")
    for alternative in alternatives:
        config = alternative.config
        costs = (
            alternative.flops,
            alternative.training,
            alternative.parameters,
            alternative.active,
            alternative.activations,
        )
        table.add_row(
            _name(alternative.contestant),
            str(config.num_experts),
            f"{config.slots_per_token:g}",
            str(config.layers),
            *(f"{cost:.2f}" for cost in costs),
        )
    return table


def _name(contestant: Contestant) -> str:
    options = " ".join(f"{key}={word(value)}" for key, value in contestant.options.items())
    return f"{contestant.router} {options}".strip()


def evidence_of(alternative: Alternative) -> Iterator[str]:
    """Yield why an alternative comes into question, and what of it nobody tried."""
    contestant = alternative.contestant
    if contestant.source:
        yield f"{contestant.router}, published: {contestant.says} ({contestant.source})"
    for result in contestant.measured:
        yield f"{contestant.router}, measured: {sentence(result)}"
    if alternative.reduced:
        yield (
            f"{contestant.router}: reduced to fit, which the evidence does not cover: "
            f"{', '.join(alternative.reduced)}"
        )


def sentence(result: Measured) -> str:
    """Return a result in words."""
    start = "upcycled" if result.upcycled else "from scratch"
    seeds = f"{result.seeds} seed{'s' * (result.seeds != 1)}"
    place = f"tie group {result.group}"
    if result.difference is None:
        return f"{result.task}, {start}, {seeds}: {place}, no matched dense run"
    half = "" if result.half is None else f" ±{result.half:g}"
    verdict = result.verdict or "too few seeds for a test"
    return (
        f"{result.task}, {start}, {seeds}: {result.metric} {result.difference:+g}{half} against "
        f"dense ({verdict}), {place}"
    )
