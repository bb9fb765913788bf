"""`python -m moesuite.leaderboard [records=runs] [out=site]`: run records -> one page."""

from __future__ import annotations

import sys
from pathlib import Path

from moesuite.errors import UserError, unknown
from moesuite.leaderboard.render import write
from moesuite.record import read_records

DEFAULTS = {"records": "runs", "out": "site"}


def main() -> None:
    """Run the command line; exits with 2 for bad input."""
    words = sys.argv[1:]
    if {"-h", "--help"} & set(words):
        print(__doc__)
        return
    try:
        options = parse(words)
        records = list(read_records(options["records"]))
        if not records:
            raise UserError(f"records={options['records']} holds no record; first type python -m moesuite.run")
        path = write(records, Path(options["out"]))
    except (UserError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    print(f"{len(records)} records -> {path}")


def parse(words: list[str]) -> dict[str, str]:
    """Return the options; raises `UserError` for an unknown one."""
    options = dict(DEFAULTS)
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or key not in options:
            raise unknown("option", key, options, "records=runs out=site")
        options[key] = value
    return options


if __name__ == "__main__":
    main()
