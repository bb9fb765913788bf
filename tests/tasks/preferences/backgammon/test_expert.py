"""Experts: GNU Backgammon as a package and as a program, and your own."""

from __future__ import annotations

import itertools
import os
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest

from moesuite.errors import UserError
from moesuite.tasks.preferences.backgammon.expert import Expert, expert_of
from moesuite.tasks.preferences.backgammon.experts.gnubg_nn import Package
from moesuite.tasks.preferences.backgammon.labels import labelled, read
from moesuite.tasks.preferences.backgammon.positions import (
    START,
    encode,
)
from moesuite.tasks.preferences.backgammon.selfplay import Recipe, self_play
from tests.tasks.preferences.backgammon.recipes import MY_EXPERT, SMALL


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


def test_two_plies_rank_filtered_moves_below_evaluated_ones() -> None:
    shallow, deep = Package(0).judged(START, (3, 1)), Package(2).judged(START, (3, 1))
    assert (shallow[0] == deep[0]).all() and not np.allclose(shallow[1], deep[1])
    changed = ~np.isclose(shallow[1], deep[1])
    assert deep[1][~changed].max() <= deep[1][changed].min()


def test_concurrent_requests_get_the_answers_of_sequential_ones(expert: Expert) -> None:
    asked = [(one.board, one.dice) for one in itertools.islice(self_play(Package(), 0.5, 3), 60)]
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(lambda one: expert.judged(*one), asked))
    for (board, dice), (after, scores) in zip(asked, found, strict=True):
        boards, own = expert.judged(board, dice)
        assert (after == boards).all() and (scores == own).all()


@pytest.mark.parametrize("expert", ["gnubg"], indirect=True)
def test_a_late_answer_is_not_taken_for_the_next_one(
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
    """Two implementations, other versions of the same networks.

    Half of the scores within 0.01, most choices equal.
    """
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


def test_an_expert_of_your_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOESUITE_CACHE", str(tmp_path))
    (tmp_path / "my_expert.py").write_text(MY_EXPERT, encoding="utf-8")
    source = labelled(
        None, replace(SMALL, expert=f"{tmp_path}/my_expert.py:Cautious", train=8, test=3)
    )
    assert source.description == "self-play, train by cautious, 0-ply, test by cautious, 0-ply"
    (boards, scores), *_ = read(source.splits["test"], "test")
    assert (scores == -(boards[:, 1, :24] == 1).sum(axis=1)).all()


def test_labels_of_an_edited_expert_are_not_reused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MOESUITE_CACHE", str(tmp_path))
    mine = tmp_path / "my_expert.py"
    recipe = replace(SMALL, expert=f"{mine}:Cautious")
    folders = []
    for text in (MY_EXPERT, MY_EXPERT.replace("-(boards", "(boards"), MY_EXPERT):
        mine.write_text(text, encoding="utf-8")
        folders.append(recipe.folder)
    assert folders[0] == folders[2] != folders[1]
    assert replace(SMALL, seed=1).folder != SMALL.folder == replace(SMALL).folder


def test_an_expert_that_always_passes_does_not_play_forever(tmp_path: Path) -> None:
    (tmp_path / "my_expert.py").write_text(MY_EXPERT, encoding="utf-8")
    passing = expert_of(f"{tmp_path}/my_expert.py:Passing", 0)
    with pytest.raises(UserError, match=r"gnubg-nn .* has no legal move 1,000 times in a row"):
        next(self_play(passing, 0.5, 0))
