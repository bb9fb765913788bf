"""Backgammon positions of self-play with an expert's judgement of every legal move: made once, and cached."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from filelock import AcquireReturnProxy, FileLock, Timeout
from joblib import Parallel, cpu_count, delayed
from joblib.externals.loky import get_reusable_executor
from rich.console import Console
from rich.progress import Progress, track

from moesuite.task import UserError, cache_folder, cached, changed
from moesuite.tasks.preferences.backgammon.expert import Dice, Expert, Scores, expert_of, version_of
from moesuite.tasks.preferences.backgammon.positions import START, Boards, encode

EXPERTS = "experts.json"  # who judged each split
CHUNK = 25  # positions that a process judges at once
PASSES = 1000  # in a row, which no game of backgammon has
Row = dict[str, Any]


@dataclass(frozen=True)
class Position:
    """A position with a choice.

    Attributes:
        board, dice: of the player who is to move.
        after, scores: the boards after each legal move, and what the expert says of them at 0-ply.
    """

    board: np.ndarray
    dice: Dice
    after: Boards
    scores: Scores


@dataclass(frozen=True)
class Recipe:
    """How positions are made.

    Attributes:
        expert: who plays and judges, see `expert_of`.
        train, test: positions of each split, >= 1.
        train_plies, test_plies: of the expert that judges them.
        random_moves: share of moves in self-play that are random, in [0, 1]; the others are the
            expert's at 0-ply.
        seed: of dice and random moves.
    """

    expert: str
    train: int
    test: int
    train_plies: int
    test_plies: int
    random_moves: float
    seed: int

    @property
    def folder(self) -> Path:
        """Where the cache keeps them."""
        key = json.dumps(vars(self)) + version_of(self.expert)
        return cache_folder() / "backgammon" / hashlib.sha256(key.encode()).hexdigest()[:16]


def made(recipe: Recipe) -> Path:
    """Return the folder of positions: from the cache, or made now, by one process while others wait.

    Raises:
        UserError: for an expert that is neither installed nor has labels in the cache.
    """
    folder = recipe.folder
    if folder.exists() and not changed(folder):
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with _alone(folder.with_suffix(".lock")):
        return cached(folder, partial(_make, recipe))


def _alone(path: Path) -> AcquireReturnProxy:
    lock = FileLock(path)
    try:
        return lock.acquire(blocking=False)
    except Timeout:
        Console(stderr=True).print(
            "another process makes these backgammon positions; waiting for it"
        )
        return lock.acquire()


def _make(recipe: Recipe, folder: Path) -> None:
    """Play and judge; training keeps away from every board of the test split."""
    names = [
        expert_of(recipe.expert, plies).name for plies in (recipe.train_plies, recipe.test_plies)
    ]
    console = Console(stderr=True)
    console.print(
        f"making {recipe.train:,} + {recipe.test:,} backgammon positions, once: {recipe.folder}",
        soft_wrap=True,
    )
    games = self_play(expert_of(recipe.expert, 0), recipe.random_moves, recipe.seed)
    test = list(itertools.islice(games, recipe.test))
    rows = _judged(test, recipe, names[1], console)
    met = {row["position"] for row in rows} | {one for row in rows for one in row["alternatives"]}
    train: list[Row] = []
    with Progress(console=console) as progress:
        bar = progress.add_task(names[0], total=recipe.train)
        while len(train) < recipe.train:
            found = judge(list(itertools.islice(games, CHUNK)), recipe.expert, recipe.train_plies)
            train += [
                row for row in found if met.isdisjoint([row["position"], *row["alternatives"]])
            ]
            progress.update(bar, completed=len(train))
    _write(folder, {"train": train[: recipe.train], "test": rows}, names)


def _judged(
    positions: Sequence[Position], recipe: Recipe, name: str, console: Console
) -> list[Row]:
    """Judge the test split, in processes: never in threads, as joblib would in a process of its own."""
    chunks = [positions[first : first + CHUNK] for first in range(0, len(positions), CHUNK)]
    work = Parallel(n_jobs=min(cpu_count(), len(chunks)), backend="loky", return_as="generator")(
        delayed(judge)(chunk, recipe.expert, recipe.test_plies) for chunk in chunks
    )
    try:
        return list(
            itertools.chain.from_iterable(track(work, name, total=len(chunks), console=console))
        )
    finally:
        get_reusable_executor().shutdown(
            kill_workers=True
        )  # a worker of a sweep would else wait for it at its end


def _write(folder: Path, splits: dict[str, list[Row]], experts: Sequence[str]) -> None:
    import datasets

    for role, rows in splits.items():
        datasets.Dataset.from_list(rows).to_parquet(str(folder / f"{role}.parquet"))
    (folder / EXPERTS).write_text(json.dumps(experts))


def self_play(expert: Expert, random_moves: float, seed: int) -> Iterator[Position]:
    """Yield boards that were not there before, with dice that leave a choice, from games that never end.

    Args:
        expert: makes the moves that are not random.
        random_moves: share of the random ones, in [0, 1].
        seed: of dice and random moves.

    Raises:
        UserError: for an expert that finds no legal moves.
    """
    random, met, board, passes = np.random.default_rng(seed), set[bytes](), START, 0
    while passes < PASSES:
        dice = (int(random.integers(1, 7)), int(random.integers(1, 7)))
        boards = expert.moves(board, dice)
        passes = 0 if len(boards) else passes + 1
        if passes:
            board = board[::-1].copy()
            continue
        judged, scores = expert.judged(board, dice)
        if len(boards) > 1 and board.tobytes() not in met:
            met.add(board.tobytes())
            yield Position(board, dice, judged, scores)
        at_random = random.random() < random_moves
        after = (
            boards[int(random.integers(len(boards)))] if at_random else judged[int(scores.argmax())]
        )
        board = START if not after[1].any() else after[::-1].copy()
    raise UserError(
        f"task.expert: {expert.name} has no legal move {PASSES:,} times in a row; allowed: one that knows them"
    )


def judge(positions: Sequence[Position], expert: str, plies: int) -> list[Row]:
    """Return positions with the judgement of an expert that looks further than the one that played."""
    rows, names = list[Row](), encode(np.stack([one.board for one in positions]))
    for name, one in zip(names, positions, strict=True):
        boards, scores = (
            expert_of(expert, plies).judged(one.board, one.dice)
            if plies
            else (one.after, one.scores)
        )
        rows.append(
            {
                "position": name,
                "dice": one.dice,
                "alternatives": encode(boards),
                "scores": scores.tolist(),
            }
        )
    return rows
