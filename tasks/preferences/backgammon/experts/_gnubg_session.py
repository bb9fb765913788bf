"""The script that GNU Backgammon runs in its own Python: a line of position and dice in, moves out.

Each answer comes with its question; the first line out, with an empty question, means ready.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

import gnubg

SETTINGS = """
set player 0 human
set player 1 human
set automatic roll off
set automatic game off
set automatic bearoff off
set automatic move off
set display off
set confirm new off
set cube use off
set evaluation chequerplay evaluation plies {plies}
set evaluation chequerplay evaluation cubeful off
set evaluation chequerplay evaluation noise 0
new session
set turn 1
"""
MOST = 10_000  # moves; more than any roll allows


def answer(line: str) -> list[Any]:
    """Return steps, equity and plies of each legal move."""
    position, first, second = line.split()
    gnubg.command("set board " + position)
    gnubg.command(f"set dice {first} {second}")
    moves = gnubg.hint(MOST)["hint"]
    return [
        [gnubg.parsemove(move["move"]), move["equity"], move["context"]["plies"]] for move in moves
    ]


def main() -> None:
    """Answer until there are no more questions."""
    with os.fdopen(int(os.environ["MOESUITE_REPLIES"]), "w", encoding="utf-8") as replies:
        for setting in SETTINGS.format(plies=os.environ["MOESUITE_PLIES"]).strip().splitlines():
            gnubg.command(setting)
        print(json.dumps(["", []]), file=replies, flush=True)
        for line in sys.stdin:
            print(json.dumps([line.strip(), answer(line)]), file=replies, flush=True)


main()
