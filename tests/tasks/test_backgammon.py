"""Backgammon: positions, rules and labels by GNU Backgammon, games over paired dice."""

from __future__ import annotations

import itertools
import math
import os
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import datasets
import gnubg_nn
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from moesuite.errors import UserError
from moesuite.tasks.preferences.backgammon.expert import Expert, expert_of
from moesuite.tasks.preferences.backgammon.gnubg_package import Package, opponents
from moesuite.tasks.preferences.backgammon.gnubg_program import Program, moved
from moesuite.tasks.preferences.backgammon.labels import labelled, read
from moesuite.tasks.preferences.backgammon.play import network, play
from moesuite.tasks.preferences.backgammon.positions import (
    MEN,
    START,
    VOCABULARY,
    decode,
    encode,
    show,
    tokens,
    won,
)
from moesuite.tasks.preferences.backgammon.selfplay import Recipe, self_play

FIRST = "4HPwATDgc/ABMA"
SMALL = Recipe(
    expert="gnubg-nn", train=60, test=12, train_plies=0, test_plies=0, random_moves=0.3, seed=0
)


@st.composite
def boards(draw: st.DrawFn) -> np.ndarray:
    """A board that the rules allow: no point is held by both."""
    board = np.zeros((2, 25), dtype=np.int8)
    owner = [draw(st.integers(0, 1)) for _ in range(24)]
    for side in (0, 1):
        own = [24, *(i if side else 23 - i for i in range(24) if owner[i] == side)]
        for place in draw(st.lists(st.sampled_from(own), max_size=MEN)):
            board[side, place] += 1
    if not board.any():
        board[1, 24] = 1
    return board


@given(st.lists(boards(), min_size=1, max_size=4))
def test_ids_are_those_of_gnu_backgammon_and_lead_back(found: list[np.ndarray]) -> None:
    stacked = np.stack(found)
    ids = encode(stacked)
    assert ids == [gnubg_nn.position_id(board.tolist()) for board in stacked]
    assert (decode(ids) == stacked).all()
    assert encode(START[None]) == [FIRST]


@pytest.mark.parametrize(
    "position", ["", "4HPwATDgc/ABM", "4HPwATDgc/ABMA=", "4HPwATDgc!ABMA", "//////////////"]
)
def test_what_is_no_position_id(position: str) -> None:
    with pytest.raises(
        UserError, match=r"is no position id; allowed: the 14 letters .* type for example 4HPwATDgc"
    ):
        decode([FIRST, position])


def test_positions_that_the_rules_do_not_allow() -> None:
    both, empty = START.copy(), np.zeros_like(START)
    both[0, 23 - 5] = 1  # where the player has five
    with pytest.raises(UserError, match="not legal: both sides hold a point"):
        decode(encode((both - np.eye(2, 25, 23, dtype=np.int8) * [[1], [0]]).astype(np.int8)[None]))
    with pytest.raises(UserError, match="not legal: no man is left"):
        decode(encode(empty[None]))


def test_tokens_by_hand() -> None:
    """The player's own five on point 6 are 15 + 5; the opponent's two on the player's first point 15 - 2."""
    (row,) = tokens(START[None])
    assert row[5] == 20 and row[0] == 13 and row[23] == 17 and row[18] == 10
    assert (row[24:] == 15).all() and row.max() < VOCABULARY
    bar = START.copy()
    bar[0, 23], bar[0, 24] = 1, 1  # one of the opponent's back men is on the bar
    (row,) = tokens(bar[None])
    assert row[0] == 14 and row[25] == 16 and row[24] == 15
    home = np.zeros((2, 25), dtype=np.int8)
    home[1, 0] = 3
    home[0, 0] = MEN
    assert tokens(home[None])[0, 26:].tolist() == [15 + 12, 15]
    assert show(torch.from_numpy(tokens(bar[None])))[0][:2] == ["1:o1", "2"]
    assert "bar o1" in show(torch.from_numpy(tokens(bar[None])))[0]


def test_points_by_hand() -> None:
    board = np.zeros((4, 2, 25), dtype=np.int8)
    board[0] = START
    board[1, 0, 3] = 14  # one is off: a single game
    board[2, 0, 3] = 15  # none is off, none is behind: gammon
    board[3, 0, [3, 20]] = 14, 1  # one in the winner's home: backgammon
    assert won(board).tolist() == [0, 1, 2, 3]


def test_the_expert_judges_every_legal_move() -> None:
    expert = Package()
    for one in itertools.islice(self_play(expert, 0.5, 3), 200):
        assert sorted(encode(one.after)) == sorted(encode(expert.moves(one.board, one.dice)))
        assert one.scores.shape == (len(one.after),) and np.abs(one.scores).max() <= 3
    best = expert.judged(START, (3, 1))
    assert encode(best[0][:1]) == encode(_made_five_point()[None]) and best[1].argmax() == 0


def _made_five_point() -> np.ndarray:
    board = START.copy()
    board[1, [7, 5, 4]] += np.array([-1, -1, 2], dtype=np.int8)  # 8/5 6/5
    return board


def test_two_plies_keep_what_the_filter_dropped_below_what_it_looked_at() -> None:
    shallow, deep = Package(0).judged(START, (3, 1)), Package(2).judged(START, (3, 1))
    assert (shallow[0] == deep[0]).all() and not np.allclose(shallow[1], deep[1])
    changed = ~np.isclose(shallow[1], deep[1])
    assert deep[1][~changed].max() <= deep[1][changed].min()


@pytest.fixture(params=["gnubg-nn", "gnubg"])
def expert(request: pytest.FixtureRequest) -> Expert:
    """Either GNU Backgammon; of the program, CI has it."""
    try:
        return expert_of(request.param, 0)
    except UserError as missing:
        if os.environ.get("MOESUITE_REQUIRE_GNUBG") == "1":
            pytest.fail(str(missing))
        pytest.skip(str(missing))


def test_who_asks_at_once_gets_the_answers_of_one_after_the_other(expert: Expert) -> None:
    asked = [(one.board, one.dice) for one in itertools.islice(self_play(Package(), 0.5, 3), 60)]
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(lambda one: expert.judged(*one), asked))
    for (board, dice), (after, scores) in zip(asked, found, strict=True):
        boards, own = expert.judged(board, dice)
        assert (after == boards).all() and (scores == own).all()


@pytest.mark.parametrize("expert", ["gnubg"], indirect=True)
def test_an_answer_that_nobody_waited_for_is_not_the_next_one(
    expert: Expert, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C between question and answer."""
    opening, other = expert.judged(START, (3, 1)), expert.judged(START, (6, 4))
    with monkeypatch.context() as patch:
        patch.setattr(expert, "_reply", _interrupted)
        with pytest.raises(KeyboardInterrupt):
            expert.judged(START, (3, 1))
    assert (expert.judged(START, (6, 4))[1] == other[1]).all() and len(other[1]) != len(opening[1])


def _interrupted(question: str) -> None:
    raise KeyboardInterrupt


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("expert", ["gnubg"], indirect=True)  # the one that has to share a pipe
@pytest.mark.usefixtures("expert")
def test_processes_of_a_sweep_make_the_same_labels_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = replace(SMALL, expert="gnubg", test=60, test_plies=1)
    with ProcessPoolExecutor(2, get_context("spawn")) as processes:
        found = list(processes.map(_labelled_in, [str(tmp_path / "two")] * 2, [recipe] * 2))
    monkeypatch.setenv("MOESUITE_CACHE", str(tmp_path / "one"))
    alone = labelled(None, recipe)
    assert found == [(alone.fingerprint, alone.description)] * 2


def _labelled_in(cache: str, recipe: Recipe) -> tuple[str, str]:
    os.environ["MOESUITE_CACHE"] = cache
    source = labelled(None, recipe)
    return source.fingerprint, source.description


def test_a_player_without_a_legal_move_passes(expert: Expert) -> None:
    board = np.zeros((2, 25), dtype=np.int8)
    board[1, 24], board[0, :6] = 1, 2  # on the bar before a closed home
    assert len(expert.moves(board, (3, 4))) == 0 and len(expert.judged(board, (3, 4))[0]) == 0


def test_the_package_and_the_program_know_the_same_rules_and_judge_alike(expert: Expert) -> None:
    """Two implementations, other versions of the same networks: half of the scores within 0.01, most choices equal."""
    same, apart = [], []
    for one in itertools.islice(self_play(Package(), 0.5, 3), 100):
        after, scores = expert.judged(one.board, one.dice)
        ours, theirs = (
            dict(zip(encode(b), s.tolist(), strict=True))
            for b, s in ((one.after, one.scores), (after, scores))
        )
        assert ours.keys() == theirs.keys()
        apart += [abs(ours[name] - theirs[name]) for name in ours]
        same.append(max(ours, key=ours.__getitem__) == max(theirs, key=theirs.__getitem__))
    assert np.median(apart) < 0.01 and max(apart) < 0.2 and np.mean(same) > 0.9


def test_moves_by_hand() -> None:
    board = START.copy()
    board[1, [23, 24]], board[0, [2, 23]] = (
        [1, 1],
        [1, 1],
    )  # a man on the bar; blots where it enters, and on the ace point
    entered = moved(board, [(25, 22), (6, 1)])
    assert entered[1, [24, 21, 5, 0]].tolist() == [0, 1, 4, 1] and entered[
        0, [2, 23, 24]
    ].tolist() == [0, 0, 2]
    assert moved(START, [(6, 0)]).sum() == 29 and (START.sum(axis=1) == 15).all()


MY_EXPERT = """
from moesuite.tasks.preferences.backgammon.gnubg_package import Package


class Cautious(Package):
    \"\"\"Leaves as few blots as it can.\"\"\"

    def __init__(self, plies):
        super().__init__(plies)
        self.name = f"cautious, {plies}-ply"

    def judged(self, board, dice):
        boards, scores = super().judged(board, dice)
        return boards, -(boards[:, 1, :24] == 1).sum(axis=1).astype(scores.dtype)


class Nobody:
    def __init__(self, plies):
        pass


class Shallow(Package):
    def __init__(self):
        super().__init__(0)


class Passing(Package):
    def moves(self, board, dice):
        return super().moves(board, dice)[:0]
"""


def test_an_expert_of_your_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOESUITE_CACHE", str(tmp_path))
    (tmp_path / "my_expert.py").write_text(MY_EXPERT)
    source = labelled(
        None, replace(SMALL, expert=f"{tmp_path}/my_expert.py:Cautious", train=8, test=3)
    )
    assert source.description == "self-play, train by cautious, 0-ply, test by cautious, 0-ply"
    (boards, scores), *_ = read(source.splits["test"], "test")
    assert (scores == -(boards[:, 1, :24] == 1).sum(axis=1)).all()


def test_labels_of_an_expert_that_was_edited_are_not_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MOESUITE_CACHE", str(tmp_path))
    mine = tmp_path / "my_expert.py"
    recipe = replace(SMALL, expert=f"{mine}:Cautious")
    folders = []
    for text in (MY_EXPERT, MY_EXPERT.replace("-(boards", "(boards"), MY_EXPERT):
        mine.write_text(text)
        folders.append(recipe.folder)
    assert folders[0] == folders[2] != folders[1]
    assert replace(SMALL, seed=1).folder != SMALL.folder == replace(SMALL).folder


def test_an_expert_that_always_passes_does_not_play_forever(tmp_path: Path) -> None:
    (tmp_path / "my_expert.py").write_text(MY_EXPERT)
    passing = expert_of(f"{tmp_path}/my_expert.py:Passing", 0)
    with pytest.raises(UserError, match=r"gnubg-nn .* has no legal move 1,000 times in a row"):
        next(self_play(passing, 0.5, 0))


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("gnbg", r"unknown expert in task.expert .gnbg.; nearest: gnubg"),
        ("my_expert.py:Nobody", "is no expert; allowed: a class with name, moves and judged"),
        (
            "my_expert.py:Somebody",
            "my_expert.py has no class Somebody; type for example task.expert=my_file:MyExpert",
        ),
        (
            "my_expert.py:Shallow",
            r"made with the plies: too many positional .*; allowed: __init__\(self, plies\)",
        ),
        (
            "broken.py:Expert",
            r"broken.py: ModuleNotFoundError: No module named 'nothing'; HYDRA_FULL_ERROR=1 shows",
        ),
        ("your_expert.py:Anybody", "no file your_expert.py in this folder"),
        (
            "gnubg",
            "the program gnubg is not installed; type apt-get install gnubg, or task.expert=gnubg-nn",
        ),
    ],
)
def test_experts_that_are_none(
    name: str, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("shutil.which", lambda *_, **__: None)
    Path("my_expert.py").write_text(MY_EXPERT)
    Path("broken.py").write_text("import nothing\n\n\nclass Expert: ...\n")
    expert_of.cache_clear()
    for _ in range(2):  # once more: nothing of the first time is left
        with pytest.raises(UserError, match=says):
            expert_of(name, 0)


@pytest.mark.parametrize(
    ("script", "says"),
    [
        (
            "echo GNU Backgammon without Python",
            "ended without an answer; allowed: GNU Backgammon with Python",
        ),
        (
            "[ $1 = --version ] && echo GNU Backgammon || exec sleep 60",
            r"gnubg did not start in 0\.5 s; allowed: GNU",
        ),
        ("exit 3", "gnubg --version says nothing; allowed: GNU Backgammon"),
        ("exit 0", "gnubg --version says nothing; allowed: GNU Backgammon"),
        ("exec sleep 60", "gnubg --version says nothing; allowed: GNU Backgammon"),
    ],
)
def test_a_program_that_does_not_answer(
    script: str, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "gnubg").write_text(f"#!/bin/sh\n{script}\n")
    (tmp_path / "gnubg").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr("moesuite.tasks.preferences.backgammon.gnubg_program.PATIENCE", 0.5)
    with pytest.raises(UserError, match=says):
        Program()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MOESUITE_CACHE", str(tmp_path))
    labelled(None, SMALL)
    return SMALL.folder


def test_labels_are_cached_and_splits_share_no_board(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = labelled(None, SMALL)
    seen = {
        role: {board.tobytes() for boards, _ in read(rows, role) for board in boards}
        | {board.tobytes() for board in decode(list(rows["position"]))}
        for role, rows in source.splits.items()
    }
    assert not seen["train"] & seen["test"]
    assert (
        source.description.startswith("self-play, train by gnubg-nn ")
        and "0-ply" in source.description
    )
    assert [len(source.splits[role]) for role in ("train", "test")] == [60, 12]
    expert_of.cache_clear()
    monkeypatch.setitem(sys.modules, "gnubg_nn", None)  # not installed: what is cached is enough
    assert labelled(None, SMALL).fingerprint == source.fingerprint
    assert labelled(str(folder), SMALL).fingerprint == source.fingerprint
    with pytest.raises(UserError, match=r'not installed; type pip install -e "\.\[backgammon\]"'):
        labelled(None, Recipe("gnubg-nn", 61, 12, 0, 0, 0.3, 0))
    half_written = [
        path for path in folder.parent.iterdir() if path != folder and path.suffix != ".lock"
    ]
    assert not half_written


def test_the_same_recipe_is_the_same_file(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = labelled(None, SMALL).fingerprint
    monkeypatch.setenv("MOESUITE_CACHE", str(tmp_path / "again"))
    assert labelled(None, SMALL).fingerprint == first


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (
            lambda table: table.remove_columns("scores"),
            "has no column 'scores'; its columns: position, dice",
        ),
        (
            lambda table: table.map(lambda row: {"alternatives": ["x", *row["alternatives"][1:]]}),
            "'x' is no position",
        ),
        (
            lambda table: table.map(lambda row: {"position": "4HPwATDgc"}),
            "'4HPwATDgc' is no position id",
        ),
        (lambda table: table.map(lambda row: {"scores": row["scores"][:1]}), "row 0: 1 scores of"),
        (
            lambda table: _with(table, "scores", lambda own: [math.nan, *own[1:]]),
            r"row 0: scores \[nan, .*finite numbers",
        ),
        (
            lambda table: _with(table, "scores", lambda own: [-math.inf, *own[1:]]),
            r"row 0: scores \[-inf, .*finite num",
        ),
        (
            lambda table: _with(table, "scores", lambda own: [None, *own[1:]]),
            r"row 0: scores \[None, .*finite numbers",
        ),
        (
            lambda table: _with(table, "scores", lambda own: list(map(str, own))),
            r"row 0: scores \['.*finite numbers",
        ),
        (
            lambda table: _with(table, "scores", lambda _: 1.0),
            r"row 0: scores 1.0; allowed: a list of finite numbers",
        ),
        (
            lambda table: _with(table, "scores", lambda _: None),
            r"row 0: scores None; allowed: a list of finite numbers",
        ),
        (
            lambda table: _with(table, "position", lambda _: None),
            "row 0: position None; allowed: a position id",
        ),
        (
            lambda table: _with(table, "position", lambda _: 3),
            "row 0: position 3; allowed: a position id",
        ),
        (
            lambda table: _with(table, "alternatives", lambda own: own[0]),
            "row 0: alternatives '.*a list of position ids",
        ),
        (
            lambda table: _with(table, "alternatives", lambda own: [None, *own[1:]]),
            r"alternatives \[None, .*of position",
        ),
    ],
)
def test_files_that_are_wrong(
    change: Callable[[Any], Any], says: str, folder: Path, tmp_path: Path
) -> None:
    for role in ("train", "test"):
        table = datasets.load_dataset(
            "parquet", data_files=str(folder / f"{role}.parquet"), split="train"
        )
        (tmp_path / "own").mkdir(exist_ok=True)
        change(table).to_parquet(str(tmp_path / "own" / f"{role}.parquet"))
    with pytest.raises(UserError, match=says):
        source = labelled(str(tmp_path / "own"), SMALL)
        read(source.splits["train"], "here")


def _with(table: datasets.Dataset, column: str, change: Callable[[Any], Any]) -> datasets.Dataset:
    return datasets.Dataset.from_dict(
        {**table.to_dict(), column: [change(own) for own in table[column]]}
    )


def test_a_pass_is_no_choice(folder: Path) -> None:
    rows = labelled(None, SMALL).splits["test"]
    without = rows.map(
        lambda row, i: {"alternatives": [], "scores": []} if i == 0 else row, with_indices=True
    )
    assert len(read(without, "here")) == len(read(rows, "here")) - 1
    assert read(rows.select([]), "here") == []


def test_paired_dice_cancel_luck() -> None:
    """A player that chooses always the same wins as much with one side as it loses with the other."""
    points = play(
        lambda games: [0 for _ in games], lambda games: [0 for _ in games], Package(), 20, 0
    )
    assert points.mean == 0 and points.half == 0


@pytest.mark.slow
def test_known_strengths() -> None:
    """pubeval beats random by 2.5 points a game, gnubg 0-ply beats pubeval by 0.7 (1,000 games of each: 2.49, 0.71)."""
    expert, found = Package(), opponents(1)
    easy = play(found["pubeval"](), found["random"](), expert, 200, 0)
    assert abs(easy.mean - 2.49) < 3 * easy.half and easy.half < 0.15
    hard = play(found["gnubg"](), found["pubeval"](), expert, 400, 0)
    assert abs(hard.mean - 0.71) < 2 * hard.half and hard.mean > hard.half


class Scores(torch.nn.Module):
    """A score that counts men at home."""

    def __init__(self, pairs: bool) -> None:
        super().__init__()
        self.weight, self.pairs = torch.nn.Parameter(torch.ones(1)), pairs

    def forward(self, input_ids: torch.Tensor) -> object:
        home = input_ids[:, :6].sum(dim=1) - (input_ids[:, 28:34].sum(dim=1) if self.pairs else 0)
        return type("Output", (), {"logits": self.weight * home[:, None]})


def test_networks_of_one_and_two_inputs_play_the_same() -> None:
    games = [Package().moves(START, dice) for dice in ((6, 5), (1, 2), (3, 3))]
    one, two = (network(Scores(pairs), 1 + pairs)(games) for pairs in (False, True))
    assert list(one) == list(two)
    scores = [tokens(own)[:, :6].astype(int).sum(axis=1) for own in games]
    assert [int(own.argmax()) for own in scores] == list(one)
