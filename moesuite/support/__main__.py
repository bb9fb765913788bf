"""Try small models of every family of timm and of every model type of transformers.

    python -m moesuite.support library=timm
    python -m moesuite.support only=vit,bert
    python -m moesuite.support results=docs/models.json docs=docs/models.md

Each has random weights and is built in a process of its own. Its MLPs become MoE layers with equal
experts, which have to give the dense model's answer; training steps with several routers, padded
batches, saving and loading follow, and rerouting where the model is a mixture of experts. Whatever
is in the file of results, of the same library versions, is not tried again: to start anew, delete
it.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path
from typing import Literal

from pydantic import Field, PositiveInt

from moesuite.config.cli import Options, importing, run_command
from moesuite.errors import UserError, refuse_unwritable, unknown
from moesuite.progress import Lines
from moesuite.support.result import Library, Report, Result, installed, read, write
from moesuite.support.workers import Trial, run_all

FAULTS = ("crash", "wrong")
FAULTY = 1  # exit code


class SupportOptions(Options):
    """Options of the command."""

    library: Literal["timm", "hf", "all"] = Field("all", description="whose models are tried")
    only: list[str] = Field(
        [],
        examples=["vit,bert"],
        description="families of timm, names of its models, model types of transformers",
    )
    results: Path = Field(
        Path("support.json"), description="file of results, written after each model"
    )
    docs: Path | None = Field(
        None, examples=["docs/models.md"], description="file for a page of all results"
    )
    format: Literal["table", "json"] = Field("table", description="how results are printed")
    jobs: PositiveInt = Field(2, description="models at a time, each in its process")
    limit_s: float = Field(120, ge=1, description="seconds that a model may take")
    memory_gb: float = Field(6, ge=1, description="memory that a model may take")


def support(options: SupportOptions) -> int | None:
    """Try models, keep results, print them; 1 if a model fails."""
    for name, path in (("results", options.results), ("docs", options.docs)):
        if path is not None:
            refuse_unwritable(path.parent, f"{name}={path}")
    report = _kept(options)
    trials = chosen_trials(options.library, options.only)
    fresh = [trial for trial in trials if report.get(*trial[:2]) is None]
    lines = Lines("support", len(trials), "models", len(trials) - len(fresh))
    for done, result in enumerate(
        run_all(fresh, options.jobs, options.limit_s, options.memory_gb), lines.start + 1
    ):
        report.put(result)
        write(report, options.results)
        print(line(result), file=sys.stderr, flush=True)
        lines.count(done)
    if options.docs is not None:
        from moesuite.records.store import write_text
        from moesuite.support.page import page

        write_text(options.docs, page(report))
    results = [each for trial in trials if (each := report.get(*trial[:2])) is not None]
    show(results, options.format)
    return FAULTY if any(each.status in FAULTS for each in results) else None


def _kept(options: SupportOptions) -> Report:
    """Return the results that were found before, by the same versions."""
    versions = installed()
    if not options.results.exists():
        return Report(versions=versions)
    report = read(options.results)
    if report.versions != versions:
        raise UserError(
            f"{options.results} holds results of {_listed(report.versions)}, installed are "
            f"{_listed(versions)}; expected another file; type for example results=support-new.json"
        )
    return report


def _listed(versions: dict[str, str]) -> str:
    return ", ".join(f"{name} {version}" for name, version in versions.items())


def chosen_trials(library: Library | Literal["all"], only: list[str]) -> list[Trial]:
    """Return what to try.

    Raises:
        UserError: for a name that no library has.
    """
    with importing():
        from moesuite.support.trial import names

    libraries: tuple[Library, ...] = ("timm", "hf") if library == "all" else (library,)
    trials = [(each, name, model) for each in libraries for name, model in names(each).items()]
    if not only:
        return trials
    known = {word for _, name, model in trials for word in (name, model)}
    for word in only:
        if word not in known:
            raise unknown("model", word, known, "only=vit,bert")
    return [trial for trial in trials if set(trial[1:]) & set(only)]


def line(result: Result) -> str:
    """Return a result in one line."""
    parts = [f"{result.library}:{result.name}", f"({result.model})", result.status]
    for way, outcome in (("upcycle", result.upcycle), ("reroute", result.reroute)):
        if outcome is not None and outcome.detail:
            parts.append(f"[{way}: {outcome.status}: {outcome.detail}]")
    return " ".join([*parts, f"{result.seconds:.0f} s"])


def show(results: list[Result], style: str) -> None:
    """Print counts and faults, or everything as JSON."""
    if style == "json":
        print(json.dumps([each.model_dump(exclude_defaults=True) for each in results], indent=1))
        return
    for library in ("timm", "hf"):
        counts = Counter(each.status for each in results if each.library == library)
        if counts:
            print(f"{library}: " + ", ".join(f"{n} {status}" for status, n in counts.items()))


def main() -> None:
    """Run the command line; exits with 2 for bad input."""
    run_command(
        support,
        SupportOptions,
        __doc__,
        codes={FAULTY: "a model crashes or gives wrong numbers"},
        interrupted="interrupted; the same command goes on from its file of results",
    )


if __name__ == "__main__":
    main()
