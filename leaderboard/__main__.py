"""Build the leaderboard: run records -> a folder of pages that need no server and no network.

    python -m moesuite.leaderboard
    python -m moesuite.leaderboard records=runs,s3://bucket/runs out=site
    python -m moesuite.leaderboard --check        the gate for submissions
    python -m moesuite.leaderboard --serve

After a first build only what changed is read and written. Records that cannot be shown are named
with the reason; the others are shown.
"""

from __future__ import annotations

import gc
import sys
from pathlib import Path
from typing import Annotated

from pydantic import Field

from moesuite.config.cli import BAD_INPUT, Flag, Options, run_command
from moesuite.errors import UserError
from moesuite.leaderboard.site.build import Built, build, check

CODES = {
    0: "all records are shown",
    BAD_INPUT: "some records cannot be shown, or bad input",
}
LISTED = 20  # problems on the terminal; the page has all


class LeaderboardOptions(Options):
    """Options of the command."""

    records: list[str] = Field(
        ["runs"],
        min_length=1,
        description="folders that runs wrote to, or addresses that fsspec lists (s3://…, gs://…, "
        "https://…)",
    )
    out: Path = Field(Path("site"), description="folder of the pages")
    check: Annotated[bool, Flag()] = Field(
        False, description="read the records and name those that cannot be shown; write nothing"
    )
    serve: Annotated[bool, Flag()] = Field(
        False, description="show the pages at http://127.0.0.1:<port> until Ctrl-C"
    )
    port: int = Field(8000, ge=1, le=65535, description="port of --serve")


def run(options: LeaderboardOptions) -> int:
    """Build or check the pages, print what was left out, and return the exit code."""
    if options.check and options.serve:
        raise UserError("--check with --serve: --check builds nothing to serve; type one of them")
    gc.disable()  # nothing here makes cycles worth a fifth of the time
    if options.check:
        built = check(options.records, print_progress)
    else:
        built = build(options.records, options.out, print_progress)
    print_summary(built, options)
    if options.serve:
        from moesuite.leaderboard.site.serve import serve

        serve(options.out, options.port)
    return BAD_INPUT if built.problems else 0


def print_summary(built: Built, options: LeaderboardOptions) -> None:
    """Print what was built and what is left out.

    Raises:
        UserError: if there is no record.
    """
    for line in built.problems[:LISTED]:
        print(f"error: left out: {line}", file=sys.stderr)
    if len(built.problems) > LISTED:
        print(f"error: left out: {len(built.problems) - LISTED} more", file=sys.stderr)
    if not built.shown and not built.problems:
        raise UserError(
            f"records={','.join(options.records)} holds no record; first type "
            "python -m moesuite.run"
        )
    if options.check:
        print(f"{built.shown} records can be shown")
    else:
        print(f"{built.shown} records -> {options.out / 'index.html'} ({built.read} read)")


def print_progress(done: int, total: int) -> None:
    """Print how many records are read, on a terminal."""
    if sys.stderr.isatty():
        end = "" if done < total else "\n"
        print(f"\rreading records: {done} of {total}", end=end, file=sys.stderr, flush=True)


def main() -> None:
    """Run the command line; exits with 2 for bad input and records that cannot be shown."""
    run_command(
        run,
        LeaderboardOptions,
        __doc__,
        codes=CODES,
        interrupted="interrupted; the same command resumes",
    )


if __name__ == "__main__":
    main()
