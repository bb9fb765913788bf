"""Backgammon positions with an expert's judgement of every legal move: made by self-play, cached, or read from files.

Files have a row for each position: `position` (id), `dice` (two numbers), `alternatives` (ids of the boards after each
legal move, as the player who moved sees them), `scores` (of each; the expert's, higher is better).
"""

from __future__ import annotations

import hashlib
import itertools
import json
import math
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from joblib import Parallel, delayed
from rich.console import Console
from rich.progress import Progress, track

from moesuite.task import Source, UserError, cache_folder, load_source
from moesuite.tasks._expert import Dice, Expert, Scores, expert_of
from moesuite.tasks._positions import START, Boards, decode, encode

COLUMNS = ("position", "dice", "alternatives", "scores")
EXPERTS = "experts.json"  # who judged each split
SPLITS = {"train": "train", "test": "test"}
CHUNK = 25  # positions that a process judges at once
AT_ONCE = 20_000  # ids that are read at once
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
        random_moves: share of moves in self-play that are random, in [0, 1]; the others are the expert's at 0-ply.
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
        key = hashlib.sha256(json.dumps(vars(self)).encode()).hexdigest()
        return cache_folder() / "backgammon" / key[:16]


def labelled(source: str | None, recipe: Recipe) -> Source:
    """Return positions with labels: from files, the cache, or made now.

    Raises:
        UserError: for files without a column, or an expert that is neither installed nor has labels in the cache.
    """
    if source is None and not (recipe.folder / "train.parquet").exists():
        make(recipe)
    loaded = load_source(source or str(recipe.folder), None, None, None, SPLITS)
    for role, rows in loaded.splits.items():
        if missing := [name for name in COLUMNS if name not in rows.column_names]:
            raise UserError(
                f"{loaded.description}, split {role} has no column {missing[0]!r}; its columns: "
                f"{', '.join(rows.column_names)}; allowed: {', '.join(COLUMNS)}"
            )
    if source is not None:
        return loaded
    experts = json.loads((recipe.folder / EXPERTS).read_text())
    return replace(loaded, description=f"self-play, train by {experts[0]}, test by {experts[1]}")


def make(recipe: Recipe) -> None:
    """Play and judge; training keeps away from every board of the test split.

    Raises:
        UserError: if the expert is not installed.
    """
    names = [expert_of(recipe.expert, plies).name for plies in (recipe.train_plies, recipe.test_plies)]
    console = Console(stderr=True)
    console.print(
        f"making {recipe.train:,} + {recipe.test:,} backgammon positions, once: {recipe.folder}", soft_wrap=True
    )
    games = self_play(expert_of(recipe.expert, 0), recipe.random_moves, recipe.seed)
    test = list(itertools.islice(games, recipe.test))
    judged = Parallel(n_jobs=-1, return_as="generator")(
        delayed(judge)(test[first : first + CHUNK], recipe.expert, recipe.test_plies)
        for first in range(0, len(test), CHUNK)
    )
    rows = [
        row for chunk in track(judged, names[1], total=math.ceil(len(test) / CHUNK), console=console) for row in chunk
    ]
    met = {row["position"] for row in rows} | {one for row in rows for one in row["alternatives"]}
    train: list[Row] = []
    with Progress(console=console) as progress:
        bar = progress.add_task(names[0], total=recipe.train)
        while len(train) < recipe.train:
            found = judge(list(itertools.islice(games, CHUNK)), recipe.expert, recipe.train_plies)
            train += [row for row in found if met.isdisjoint([row["position"], *row["alternatives"]])]
            progress.update(bar, completed=len(train))
    _write(recipe.folder, {"train": train[: recipe.train], "test": rows}, names)


def _write(folder: Path, splits: dict[str, list[Row]], experts: Sequence[str]) -> None:
    """Write all files or none."""
    import datasets

    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as name:
        whole = Path(name) / "whole"
        whole.mkdir()
        for role, rows in splits.items():
            datasets.Dataset.from_list(rows).to_parquet(str(whole / f"{role}.parquet"))
        (whole / EXPERTS).write_text(json.dumps(experts))
        if not folder.exists():  # another process may have been faster
            whole.rename(folder)


def self_play(expert: Expert, random_moves: float, seed: int) -> Iterator[Position]:
    """Yield boards that were not there before, with dice that leave a choice, from games that never end.

    Args:
        expert: makes the moves that are not random.
        random_moves: share of the random ones, in [0, 1].
        seed: of dice and random moves.
    """
    random, met, board = np.random.default_rng(seed), set[bytes](), START
    while True:
        dice = (int(random.integers(1, 7)), int(random.integers(1, 7)))
        boards = expert.moves(board, dice)
        if len(boards) == 0:
            board = board[::-1].copy()
            continue
        judged, scores = expert.judged(board, dice)
        if len(boards) > 1 and board.tobytes() not in met:
            met.add(board.tobytes())
            yield Position(board, dice, judged, scores)
        at_random = random.random() < random_moves
        after = boards[int(random.integers(len(boards)))] if at_random else judged[int(scores.argmax())]
        board = START if not after[1].any() else after[::-1].copy()


def judge(positions: Sequence[Position], expert: str, plies: int) -> list[Row]:
    """Return positions with the judgement of an expert that looks further than the one that played."""
    rows, names = list[Row](), encode(np.stack([one.board for one in positions]))
    for name, one in zip(names, positions, strict=True):
        boards, scores = expert_of(expert, plies).judged(one.board, one.dice) if plies else (one.after, one.scores)
        rows.append({"position": name, "dice": one.dice, "alternatives": encode(boards), "scores": scores.tolist()})
    return rows


def read(rows: Any, where: str) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return boards [n, 2, 25] and scores [n] of each position with a choice; one without is a pass, and left out.

    Raises:
        UserError: for malformed ids, positions that are not legal, or scores that are not as many as alternatives.
    """
    names, scores = list(rows["alternatives"]), list(rows["scores"])
    for number, (one, own) in enumerate(zip(names, scores, strict=True)):
        if len(one) != len(own):
            raise UserError(
                f"{where}, row {number}: {len(own)} scores of {len(one)} alternatives; allowed: one for each"
            )
    for first in range(0, len(rows), AT_ONCE):
        decode(rows["position"][first : first + AT_ONCE])
    flat = [name for one in names for name in one]
    boards = np.concatenate([decode(flat[i : i + AT_ONCE]) for i in range(0, len(flat), AT_ONCE)] or [decode([])])
    parts = np.split(boards, np.cumsum([len(one) for one in names])[:-1])
    choices = zip(parts, scores, strict=True)
    return [(part, np.asarray(own, dtype=np.float32)) for part, own in choices if len(own) > 1]
