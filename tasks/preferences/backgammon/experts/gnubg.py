"""GNU Backgammon, the program (Debian: `apt-get install gnubg`), as an expert."""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import subprocess
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from moesuite.task import UserError
from moesuite.tasks.preferences.backgammon.expert import PASS, Dice, Scores, deepened
from moesuite.tasks.preferences.backgammon.positions import BAR, POINTS, Boards, encode

SESSION = Path(__file__).with_name("_gnubg_session.py")
GAMES = "/usr/games"  # Debian's folder, which is not on every PATH
PATIENCE = 30  # seconds that it may take to start
KIND = "expected GNU Backgammon with Python, as Debian's"


class Program:
    """GNU Backgammon, the program: a process that answers queries until this process ends.

    Args:
        plies: rolls to look ahead, 0 to 3, cubeless, with its own move filter.

    Raises:
        UserError: if it is not installed, or has no Python.
    """

    def __init__(self, plies: int = 0) -> None:
        folders = os.pathsep.join([os.environ.get("PATH", ""), GAMES])
        program = shutil.which("gnubg", path=folders)
        if program is None:
            raise UserError(
                "the program gnubg is not installed; type apt-get install gnubg, or "
                "task.expert=gnubg-nn; cached labels, or task.source=<folder of labelled "
                "positions>, do without"
            )
        self.name = f"{_version(program)}, {plies}-ply"
        replies, session_replies = os.pipe()  # its standard output is for people
        self._process = subprocess.Popen(
            [program, "--tty", "--quiet", "--no-rc", "--python", str(SESSION)],
            env={
                **os.environ,
                "MOESUITE_PLIES": str(plies),
                "MOESUITE_REPLIES": str(session_replies),
            },
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=[session_replies],
            encoding="utf-8",
            start_new_session=True,  # Ctrl-C is for this process; the program ends with it
        )
        os.close(session_replies)
        self._replies = os.fdopen(replies, encoding="utf-8")
        self._turn = threading.Lock()
        if not select.select([replies], [], [], PATIENCE)[0]:
            self._process.kill()
            raise UserError(f"the program {program} did not start in {PATIENCE} s; {KIND}")
        self._reply("")

    def _reply(self, question: str) -> Any:
        """Return the answer to a question; skip stale answers, which Ctrl-C leaves behind."""
        while line := self._replies.readline():
            answered, answer = json.loads(line)
            if answered == question:
                return answer
        raise UserError(f"the program gnubg ended without an answer; {KIND}")

    def _answer(self, question: str) -> Any:
        assert self._process.stdin is not None
        with self._turn:  # threads share the pipe, and an answer belongs to its question
            with contextlib.suppress(BrokenPipeError):
                print(question, file=self._process.stdin, flush=True)
            return self._reply(question)

    def moves(self, board: np.ndarray, dice: Dice) -> Boards:
        """Return the board after each legal move."""
        return self.judged(board, dice)[0]

    def judged(self, board: np.ndarray, dice: Dice) -> tuple[Boards, Scores]:
        """Return the board after each legal move, with its equity."""
        if not board[1].any():
            return PASS
        moves = self._answer(f"{encode(board[None])[0]} {dice[0]} {dice[1]}")
        if not moves:
            return PASS
        deepest = max(plies for _, _, plies in moves)
        shallow = [score for _, score, _ in moves]
        deep = [score if plies == deepest else None for _, score, plies in moves]
        return np.stack([moved(board, steps) for steps, _, _ in moves]), deepened(shallow, deep)


def _version(program: str) -> str:
    command = [program, "--version"]
    try:
        answer = subprocess.run(
            command, capture_output=True, encoding="utf-8", timeout=PATIENCE, check=True
        )
        return answer.stdout.splitlines()[0]
    except (OSError, subprocess.SubprocessError, IndexError):
        raise UserError(f"{program} --version says nothing; {KIND}") from None


def moved(board: np.ndarray, steps: Sequence[Sequence[int]]) -> np.ndarray:
    """Return the board after a move of the player of row 1.

    Args:
        board: [2, 25].
        steps: from and to of each man, as its player counts points: 25 is the bar, 0 off the board.
    """
    after = board.copy()
    for start, end in steps:
        after[1, start - 1] -= 1
        if end:
            after[1, end - 1] += 1
            hit = after[0, POINTS - end]
            after[0, BAR] += hit
            after[0, POINTS - end] = 0
    return after
