"""`python -m moesuite.leaderboard [records=runs,more] [out=site] [--check]`: run records -> one page.

Records that cannot be shown are named with the reason, and the exit code is 2; the others are shown. --check builds no
page.
"""

from __future__ import annotations

import sys
from pathlib import Path

from moesuite.errors import UserError, unknown
from moesuite.leaderboard.intake import take
from moesuite.leaderboard.render import write

DEFAULTS = {"records": "runs", "out": "site"}
CHECK = "--check"


def main() -> None:
    """Run the command line; exits with 2 for bad input."""
    words = sys.argv[1:]
    if {"-h", "--help"} & set(words):
        print(__doc__)
        return
    try:
        options = parse([word for word in words if word != CHECK])
        found = take(options["records"].split(","))
        for line in found.problems:
            print(f"error: left out: {line}", file=sys.stderr)
        if not found.records:
            raise UserError(f"records={options['records']} holds no record; first type python -m moesuite.run")
        path = None if CHECK in words else write(found.records, Path(options["out"]))
    except (UserError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    print(f"{len(found.records)} records {'can be shown' if path is None else f'-> {path}'}")
    sys.exit(2 if found.problems else 0)


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
