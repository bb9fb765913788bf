"""Backgammon positions of self-play, labelled by an expert; made once and cached."""

from __future__ import annotations

import hashlib
import itertools
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from annotated_types import Ge, Le
from filelock import AcquireReturnProxy, FileLock, Timeout
from joblib import Parallel, cpu_count, delayed
from joblib.externals.loky import get_reusable_executor

from moesuite.task import UserError, cache_folder, cached, changed, track
from moesuite.tasks.preferences.backgammon.expert import Dice, Expert, Scores, expert_of, version_of
from moesuite.tasks.preferences.backgammon.positions import START, Boards, encode

EXPERTS = "experts.json"  # names of the experts that judged each split
CHUNK = 25  # positions that a process judges at once
PASSES = 1000  # in a row, which no game of backgammon has
Row = dict[str, Any]
Plies = Annotated[int, Ge(0), Le(3)]


@dataclass(frozen=True)
class Position:
    """A position with a choice.

    Attributes:
        board: from the view of the player to move.
        dice: of this player.
        after: the board after each legal move.
        scores: of each of them, by the expert at 0-ply.
    """

    board: np.ndarray
    dice: Dice
    after: Boards
    scores: Scores


@dataclass(frozen=True)
class Recipe:
    """What made positions depend on; its fields are a part of the key of the cache.

    Attributes:
        expert: plays and judges, see `expert_of`.
        train: positions of the training split, >= 1.
        test: positions of the test split, >= 1.
        train_plies: rolls that the expert looks ahead to judge the training split.
        test_plies: rolls that the expert looks ahead to judge the test split.
        random_moves: share of random moves in self-play, in [0, 1]; the others are the expert's at
            0-ply.
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
        """The folder of the cache for these positions."""
        key = json.dumps(vars(self)) + version_of(self.expert)
        return cache_folder() / "backgammon" / hashlib.sha256(key.encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Positions:
    """Positions of self-play with the expert's labels.

    Attributes:
        expert: backgammon expert: gnubg-nn (the extra), gnubg (the program), or
            path/to/file.py:Class of your own.
        positions: training positions to make, >= 1.
        test_positions: test positions to make, >= 1.
        train_plies: rolls that the expert looks ahead for the training labels, 0 to 3.
        test_plies: rolls that the expert looks ahead for the test labels, 0 to 3.
        random_moves: share of random moves in self-play, in [0, 1].
    """

    expert: str = "gnubg-nn"
    positions: Annotated[int, Ge(1)] = 20000
    test_positions: Annotated[int, Ge(1)] = 1000
    train_plies: Plies = 0
    test_plies: Plies = 2
    random_moves: Annotated[float, Ge(0), Le(1)] = 0.2

    @property
    def recipe(self) -> Recipe:
        """Recipe of the positions, with seed 0."""
        return Recipe(
            expert=self.expert,
            train=self.positions,
            test=self.test_positions,
            train_plies=self.train_plies,
            test_plies=self.test_plies,
            random_moves=self.random_moves,
            seed=0,
        )


def made(recipe: Recipe) -> Path:
    """Return the folder of positions, from the cache or made now.

    One process makes them while others wait.

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
        told = "another process makes these backgammon positions; waiting for it"
        print(told, file=sys.stderr, flush=True)
        return lock.acquire()


def _make(recipe: Recipe, folder: Path) -> None:
    """Play and judge; the training split has no board of the test split."""
    plies = recipe.train_plies, recipe.test_plies
    names = [expert_of(recipe.expert, number).name for number in plies]
    told = f"making {recipe.train:,} + {recipe.test:,} backgammon positions, once: {recipe.folder}"
    print(told, file=sys.stderr, flush=True)
    games = self_play(expert_of(recipe.expert, 0), recipe.random_moves, recipe.seed)
    test = list(itertools.islice(games, recipe.test))
    rows = _judged(test, recipe, names[1])
    test_boards = {row["position"] for row in rows}
    test_boards.update(*(row["alternatives"] for row in rows))

    def training_rows() -> Iterator[Row]:
        while chunk := list(itertools.islice(games, CHUNK)):
            for row in judge(chunk, recipe.expert, recipe.train_plies):
                if test_boards.isdisjoint([row["position"], *row["alternatives"]]):
                    yield row

    rows_of_train = track(training_rows(), names[0], recipe.train, "positions")
    train = list(itertools.islice(rows_of_train, recipe.train))
    _write(folder, {"train": train, "test": rows}, names)


def _judged(positions: Sequence[Position], recipe: Recipe, name: str) -> list[Row]:
    """Judge the test split in processes; nested in a worker, joblib would default to threads."""
    chunks = [positions[first : first + CHUNK] for first in range(0, len(positions), CHUNK)]
    work = Parallel(n_jobs=min(cpu_count(), len(chunks)), backend="loky", return_as="generator")(
        delayed(judge)(chunk, recipe.expert, recipe.test_plies) for chunk in chunks
    )
    try:
        judged_chunks = track(work, name, len(chunks), f"times {CHUNK} positions")
        return list(itertools.chain.from_iterable(judged_chunks))
    finally:
        # a worker of a sweep would wait for these processes at its end
        get_reusable_executor().shutdown(kill_workers=True)


def _write(folder: Path, splits: dict[str, list[Row]], experts: Sequence[str]) -> None:
    import datasets

    for role, rows in splits.items():
        datasets.Dataset.from_list(rows).to_parquet(str(folder / f"{role}.parquet"))
    (folder / EXPERTS).write_text(json.dumps(experts), encoding="utf-8")


def self_play(expert: Expert, random_moves: float, seed: int) -> Iterator[Position]:
    """Yield distinct boards with dice that leave a choice, from an endless series of games.

    Args:
        expert: makes the moves that are not random.
        random_moves: share of random moves, in [0, 1].
        seed: of dice and random moves.

    Raises:
        UserError: for an expert that finds no legal moves.
    """
    random, seen = np.random.default_rng(seed), set[bytes]()
    board, passes = START, 0
    while passes < PASSES:
        dice = (int(random.integers(1, 7)), int(random.integers(1, 7)))
        boards = expert.moves(board, dice)
        passes = 0 if len(boards) else passes + 1
        if passes:
            board = board[::-1].copy()
            continue
        judged, scores = expert.judged(board, dice)
        if len(boards) > 1 and board.tobytes() not in seen:
            seen.add(board.tobytes())
            yield Position(board, dice, judged, scores)
        if random.random() < random_moves:
            after = boards[int(random.integers(len(boards)))]
        else:
            after = judged[int(scores.argmax())]
        board = START if not after[1].any() else after[::-1].copy()
    raise UserError(
        f"task.expert: {expert.name} has no legal move {PASSES:,} times in a row; expected one "
        "that knows them"
    )


def judge(positions: Sequence[Position], expert: str, plies: int) -> list[Row]:
    """Return positions with an expert's scores; at 0-ply they are known from self-play."""
    rows, names = list[Row](), encode(np.stack([position.board for position in positions]))
    for name, position in zip(names, positions, strict=True):
        boards, scores = position.after, position.scores
        if plies:
            boards, scores = expert_of(expert, plies).judged(position.board, position.dice)
        rows.append(
            {
                "position": name,
                "dice": position.dice,
                "alternatives": encode(boards),
                "scores": scores.tolist(),
            }
        )
    return rows
