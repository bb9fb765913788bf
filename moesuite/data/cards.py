"""Data cards of the package's tasks, from their YAML: source, licence, splits, sizes, metric.

    python -m moesuite.data cards=docs/tasks.md

Nothing is loaded. What the YAML does not say is "not stated".
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import moesuite.tasks
from moesuite.config.compose import compose
from moesuite.discovery.names import task_files
from moesuite.records.metrics import MetricSpec, known_spec, primary_name
from moesuite.records.store import atomic

HUB = "https://huggingface.co/datasets"
NOT_STATED = "not stated"
# of ten answers in random order: sum of 1 / log2(rank + 1), of which a query has one among n
GAIN = 4.544
HEAD = """\
# Tasks

One card for each packaged task, written by `python -m moesuite.data cards=docs/tasks.md` from the
files in `tasks/`. The floor of a metric is what guessing without a look at the input reaches, the
ceiling its best value and, where that is published, what keeps models from it. What is read of a
source of yours, `python -m moesuite.data task=<name> source=<folder>` shows.
"""


def write_cards(path: Path) -> None:
    """Write the cards of all packaged tasks to a Markdown file, whole or not at all."""
    with atomic(path) as part:
        part.write_text(cards(), encoding="utf-8")


def cards() -> str:
    """Return the cards of all packaged tasks as Markdown, by family and name."""
    folders = [Path(folder).resolve() for folder in moesuite.tasks.__path__]
    files = {
        name: path for name, path in task_files().items() if path.resolve().parents[1] in folders
    }
    ordered = sorted(files.items(), key=lambda item: (item[1].parent.name, item[0]))
    return "\n".join([HEAD, *(_card(name, path) for name, path in ordered)])


def _card(name: str, path: Path) -> str:
    options = compose(f"task={name}").task
    family = str(options["family"])
    spec = known_spec(family, options, primary_name(family, options) or "")
    lines = [f"## {name}", "", _comment(path), ""]
    rows = [
        ("family", family),
        ("source", _source(options)),
        ("licence", options.get("licence") or NOT_STATED),
        ("splits", _splits(options)),
        ("size", options.get("size") or NOT_STATED),
        ("input", _input(options)),
    ]
    if spec is not None:
        ceiling = "; ".join(filter(None, [_best(spec), options.get("ceiling")]))
        metric = f"`{spec.name}`: {spec.meaning}; {_direction(spec)}"
        rows += [("metric", metric), ("floor", _floor(options, spec)), ("ceiling", ceiling)]
    rows.append(("command", f"`python -m moesuite.run task={name}`"))
    lines += [f"- {what}: {text}" for what, text in rows]
    lines += [f"  - {text}" for text in _sets(options)]
    return "\n".join([*lines, ""])


def _comment(path: Path) -> str:
    """Return the comment at the head of a YAML file as a paragraph."""
    lines = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            break
        if not line.startswith("# @package"):
            lines.append(line.lstrip("# "))
    return " ".join(lines).replace("<", "&lt;")


def _source(options: Mapping[str, Any]) -> str:
    hub, revision = options.get("hub"), options.get("revision")
    if options["family"] == "diagnostics":
        return "drawn on your machine from `task.world`, the seed of the run"
    if options.get("embedded") or (options.get("kind") == "search" and not options.get("sets")):
        return "on your machine, without a download"
    if options.get("kind") == "backgammon":
        return "made on your machine, or labelled positions by `task.source=`"
    if options.get("kind") == "mteb":
        return "the mteb package, at the revisions that it pins"
    if options.get("sets") and not hub:
        return "the sets below, or a folder for each by `task.source=`"
    if hub is None:
        return "your copy, by `task.source=`"
    commit = (
        f"revision `{revision}`" if revision else "no revision pinned: the one read is recorded"
    )
    config = f", configuration `{options['config']}`" if options.get("config") else ""
    return f"[{hub}]({HUB}/{hub}){config}, {commit}; or your copy by `task.source=`"


def _splits(options: Mapping[str, Any]) -> str:
    if options["family"] == "diagnostics":
        return "drawn from one world, others for each seed"
    if options.get("embedded") or options.get("kind") in ("search", "backgammon"):
        return "made by this package, always the same"
    if options.get("sets"):
        return "of each set, see below"
    if not options.get("splits"):
        return NOT_STATED
    if options.get("hub") is None:
        return "by the names of files; of one file its shares in this order, train first"
    names = ", ".join(f"{role} from `{split}`" for role, split in options["splits"].items())
    return f"{names}; streamed" if options.get("streaming") else names


def _input(options: Mapping[str, Any]) -> str:
    if "image_size" in options:
        size, colours = options["image_size"], "grey" if options["channels"] == 1 else "RGB"
        return f"{size}x{size} pixels, {colours}, {options['num_classes']} classes"
    if options.get("kind") == "backgammon":
        return "the board after each legal move"
    if options.get("kind") == "paths":
        return f"a question and all pairs of {options['nodes']} nodes"
    if options.get("kind") == "future":
        return f"sequences of {options['length']} of {options['symbols']} symbols"
    if "tokenizer" not in options:
        return f"sequences of {options['length']} vectors of {options['width']} numbers"
    return f"tokens by `{options['tokenizer']}`, at most {options['length']}"


def _sets(options: Mapping[str, Any]) -> Iterator[str]:
    """Yield a line for each set of a collection: where it is, its splits, how it is scored."""
    for name, declared in options.get("sets", {}).items():
        if hub := declared.get("hub"):
            revision = declared.get("revision")
            commit = f"revision `{revision}`" if revision else "no revision pinned"
            splits = ", ".join(declared.get("splits", "train test").split())
            yield f"{name}: [{hub}]({HUB}/{hub}), {commit}; {splits}"
        else:
            classes = len(declared.get("labels", ()))
            kind = f"{classes} classes" if classes else declared.get("form", "")
            splits = ", ".join(["train", *declared.get("test", ["validation"])])
            yield f"{name}: {kind}, scored by {', '.join(declared['metrics'])}; {splits}"


def _direction(spec: MetricSpec) -> str:
    better = "larger" if spec.direction == "max" else "smaller"
    return f"{better} is better, {spec.range}"


def _best(spec: MetricSpec) -> str:
    value = spec.most if spec.direction == "max" else spec.least
    reached = dict.fromkeys(("bits_per_byte", "perplexity"), ", which no text allows")
    reached |= dict.fromkeys(("excess_loss", "stored", "stolen_bits"), ", the optimum")
    return NOT_STATED if value is None else f"{value:g}{reached.get(spec.name, '')}"


def _floor(options: Mapping[str, Any], spec: MetricSpec) -> str:
    """Return what guessing reaches, from the metric's definition."""
    guess = FLOORS.get((str(options["family"]), spec.name))
    return guess(options) if guess is not None else NOT_STATED


def _of_classes(options: Mapping[str, Any]) -> str:
    count = options["num_classes"]
    return f"{1 / count:g} (1 of {count} classes)"


def _of_choices(options: Mapping[str, Any]) -> str:
    if options["kind"] == "text":
        return "0.5 (1 of 2 texts)"
    return "mean of 1 / legal moves"


FLOORS: Mapping[tuple[str, str], Callable[[Mapping[str, Any]], str]] = {
    ("vision", "top1"): _of_classes,
    ("language", "bits_per_byte"): lambda _: "8 (all 256 bytes equally likely)",
    ("language", "perplexity"): lambda _: "the size of the vocabulary (all tokens equally likely)",
    ("embeddings", "ndcg@10"): lambda _: f"{GAIN} / documents (random order)",
    ("embeddings", "spearman"): lambda _: "0 (unrelated ranks)",
    ("embeddings", "accuracy"): lambda _: "1 / classes of each set, or the share of its largest",
    ("understanding", "accuracy"): lambda _: "1 / classes of the set, or the share of its largest",
    ("understanding", "matthews"): lambda _: "0 (unrelated answers)",
    ("preferences", "top1"): _of_choices,
    ("diagnostics", "excess_loss"): lambda _: "1 (an output of 0 for every token)",
    ("diagnostics", "stored"): lambda _: "0 (all values equally likely)",
    ("diagnostics", "accuracy"): lambda _: "0.5 (both answers equally likely)",
    ("diagnostics", "stolen_bits"): lambda _: "0 (all symbols equally likely)",
}
