"""Run records -> a folder of pages that open from a file, without a server and without a network.

    python -m moesuite.leaderboard [records=runs] [out=site] [--check | --serve]

records: folders that runs wrote to, or addresses that fsspec lists (s3://…, gs://…, https://…),
with commas between. out: folder of the pages; after a first build only what changed is read and
written. --check: only read the records, and tell which ones cannot be shown: the gate for
submissions. --serve: show the pages at http://127.0.0.1:8000 (port=8000) until Ctrl-C.

Records that cannot be shown are named with the reason, and the exit code is 2; the others are
shown.
"""

from __future__ import annotations

import gc
import sys
from pathlib import Path

from moesuite.errors import UserError, unknown
from moesuite.leaderboard.site.build import Built, build, check

DEFAULTS = {"records": "runs", "out": "site", "port": "8000"}
FLAGS = ("--check", "--serve")
SHOWN = 20  # problems on the terminal; the page has all


def main() -> None:
    """Run the command line; exits with 2 for bad input."""
    gc.disable()  # nothing here makes cycles worth a fifth of the time
    words = sys.argv[1:]
    if {"-h", "--help"} & set(words):
        print(__doc__)
        return
    try:
        options, flags = parse(words)
        places = [place for place in options["records"].split(",") if place]
        built = (
            check(places, progress)
            if "--check" in flags
            else build(places, Path(options["out"]), progress)
        )
        report(built, options, "--check" in flags)
        if "--serve" in flags:
            from moesuite.leaderboard.site.serve import serve

            serve(Path(options["out"]), int(options["port"]))
    except (UserError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("interrupted; the same command goes on", file=sys.stderr)
        sys.exit(130)
    sys.exit(2 if built.problems else 0)


def report(built: Built, options: dict[str, str], only_checked: bool) -> None:
    """Tell what was built, and what is left out."""
    for line in built.problems[:SHOWN]:
        print(f"error: left out: {line}", file=sys.stderr)
    if len(built.problems) > SHOWN:
        print(f"error: left out: {len(built.problems) - SHOWN} more", file=sys.stderr)
    if not built.shown and not built.problems:
        raise UserError(
            f"records={options['records']} holds no record; first type python -m moesuite.run"
        )
    what = (
        "can be shown"
        if only_checked
        else f"-> {Path(options['out']) / 'index.html'} ({built.read} read)"
    )
    print(f"{built.shown} records {what}")


def progress(done: int, of: int) -> None:
    """Show how far reading is, on a terminal."""
    if sys.stderr.isatty():
        print(
            f"\rreading records: {done} of {of}",
            end="" if done < of else "\n",
            file=sys.stderr,
            flush=True,
        )


def parse(words: list[str]) -> tuple[dict[str, str], set[str]]:
    """Return options and flags; raises `UserError` for an unknown one."""
    options, flags = dict(DEFAULTS), set[str]()
    for word in words:
        key, equals, value = word.partition("=")
        if word in FLAGS:
            flags.add(word)
        elif not equals or key not in options:
            raise unknown("option", key, [*options, *FLAGS], "records=runs out=site")
        else:
            options[key] = value
    if flags == set(FLAGS):
        raise UserError(
            "--check with --serve: --check builds nothing that could be served; type one of them"
        )
    if not options["port"].isdecimal() or not 0 < int(options["port"]) < 65536:
        raise UserError(
            f"port={options['port']}: allowed is 1 to 65535; type for example port=8000"
        )
    return options, flags


if __name__ == "__main__":
    main()
