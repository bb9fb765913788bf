"""Run records again, and tell whether the same comes out.

    python -m moesuite.verify runs/digits/soft/0123456789ab.json
    python -m moesuite.verify runs/digits/*/*.json
    python -m moesuite.verify <record> seeds=1,2 source=<folder of its data>

Each record is run from its configuration, with the same protocol versions, on the same data. The
verdict is one of

    equal       all metrics agree to 1e-4 of their size, and so does what the configuration decides
    within      they differ by no more than runs of other seeds do in 95 % of cases (three or more)
    different   they differ by more, or the record's command, which is composed and never executed,
                gives another run

and is stored beside the record (`<id>/verified.json`), where the leaderboard finds it.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

from pydantic import Field, NonNegativeInt

from moesuite.config.cli import BAD_INPUT, INTERRUPTED, Options, Words, run_command
from moesuite.errors import RunFailed, UserError
from moesuite.records.certificate import Verdict
from moesuite.records.store import CHECKPOINT, RunFiles
from moesuite.verify.rerun import verify

DIFFERENT = 1  # exit code
CODES = {
    0: "all records are equal, or within the tolerance",
    DIFFERENT: "one is different",
    BAD_INPUT: "one could not be run, or bad input",
    INTERRUPTED: "Ctrl-C; the same command resumes from the last checkpoint",
}


class VerifyOptions(Options):
    """Options of the command."""

    records: Annotated[list[Path], Words("record")] = Field(
        [], description="files of finished runs: <records>/<task>/<router>/<id>.json"
    )
    seeds: list[NonNegativeInt] = Field(
        [],
        examples=[[1, 2]],
        description="run these seeds too: the tolerance needs three, of the rerun and of records "
        "beside this one",
    )
    source: str | None = Field(
        None,
        examples=["my_folder"],
        description="folder or file of the data; null: as recorded",
    )


def verify_each(options: VerifyOptions) -> int:
    """Verify records one by one and return the exit code; one that cannot be run stops no other."""
    if not options.records:
        raise UserError(
            "no record; type for example python -m moesuite.verify runs/digits/soft/<id>.json"
        )
    codes = {0}
    for number, path in enumerate(options.records, start=1):
        print(f"[{number}/{len(options.records)}] {path}", flush=True)
        try:
            verdict = verify(path, options.seeds, options.source)
        except (UserError, RunFailed, OSError) as error:
            text = str(error)
            line = text if text.startswith(str(path)) else f"{path}: {text}"
            print(f"error: {line}", file=sys.stderr)
            codes.add(BAD_INPUT)
        except KeyboardInterrupt:
            print(interruption(path, number), file=sys.stderr)
            return INTERRUPTED
        else:
            print("\n".join(verdict_lines(verdict)), flush=True)
            codes.add(DIFFERENT if verdict.verdict == "different" else 0)
    return max(codes)


def verdict_lines(verdict: Verdict) -> list[str]:
    """Return the lines of a verdict, one for each metric."""
    names = {
        "equal": "equal",
        "within": "within the tolerance of its seeds",
        "different": "DIFFERENT",
    }
    lines = [f"{names[verdict.verdict]}: {verdict.reason}"]
    for name, metric in verdict.metrics.items():
        line = (
            f"  {name}: recorded {metric.recorded:.6g}, again {metric.again:.6g}, "
            f"difference {metric.difference:.3g}"
        )
        if metric.tolerance is not None:
            line += f", tolerance of {verdict.seeds} seeds {metric.tolerance:.3g}"
        lines.append(line)
    return lines


def interruption(path: Path, number: int) -> str:
    """Return what an interrupted verification leaves, and what the same command does.

    Args:
        path: of the record that has no verdict.
        number: of this record among all, from 1.
    """
    has_begun = any(RunFiles(path).reruns.rglob(CHECKPOINT))
    next_time = "resumes from the last checkpoint" if has_begun else "starts over"
    before = "; the records before it have their verdicts, leave them out" if number > 1 else ""
    return f"interrupted, without a verdict on {path}: the same command {next_time}{before}"


def main() -> None:
    """Run the command line."""
    run_command(verify_each, VerifyOptions, __doc__, codes=CODES)


if __name__ == "__main__":
    main()
