"""The simulation of boards: equal routers are seldom separated, real differences are found.

Its command reports bad input in one line.
"""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from scipy import stats

from moesuite.benchmarks.significance import (
    SignificanceOptions,
    any_apart,
    any_group,
    draw,
    run,
    share_found,
    simulate,
)
from moesuite.config.cli import parse
from moesuite.errors import UserError
from moesuite.statistics.order import MIN_SEEDS, MIN_TASKS

EVERY_CELL = [*product(range(1, 11), range(1, 11))]


def level(
    routers: int, tasks: int, seeds: int, boards: int, spread: float = 0.0
) -> tuple[int, int]:
    """Count boards of equal routers with a separated pair, over tasks and within the first."""
    over, within = (
        np.random.default_rng([routers, tasks, seeds]),
        np.random.default_rng([seeds, tasks, routers]),
    )
    equal = [0.0] * routers
    wrong = sum(any_apart(draw(over, equal, tasks, seeds, 1.0, spread)) for _ in range(boards))
    return wrong, sum(
        any_group(draw(within, equal, 1, seeds, 0.0, spread))
        for _ in range(boards if tasks == 1 else 0)
    )


def allowed(boards: int, cells: int) -> int:
    """Return the count that a rate of 5 % exceeds in any cell with a chance of 1 in 1,000."""
    return int(stats.binom.ppf(1 - 0.001 / cells, boards, 0.05))


def test_in_no_cell_are_equal_routers_apart_on_more_than_5_of_100_boards() -> None:
    """Five routers, 1 to 10 tasks and seeds: 20 boards each; below the minimum none at all.

    Together 960 boards.
    """
    found = {cell: level(5, *cell, boards=20)[0] for cell in EVERY_CELL}
    below = [
        wrong for (tasks, seeds), wrong in found.items() if tasks < MIN_TASKS or seeds < MIN_SEEDS
    ]
    above = [
        wrong
        for (tasks, seeds), wrong in found.items()
        if tasks >= MIN_TASKS and seeds >= MIN_SEEDS
    ]
    assert sum(below) == 0 and len(above) == 48
    assert sum(above) <= allowed(20 * 48, 1) and max(above) <= allowed(20, 48)


@pytest.mark.slow
@pytest.mark.parametrize(("routers", "spread"), [(5, 0.0), (5, 1.0), (20, 0.0), (20, 1.0)])
def test_every_cell_holds_its_level(routers: int, spread: float) -> None:
    """200 boards in each cell, with equal and with unequal sizes of noise and interaction."""
    for tasks, seeds in EVERY_CELL:
        over, within = level(routers, tasks, seeds, 200, spread)
        assert max(over, within) <= allowed(200, 110), (tasks, seeds)


def test_a_real_difference_is_found() -> None:
    """Better by 5 of the noise on ten tasks: practically always.

    On four tasks never, for there is no order.
    """
    power = {}
    for tasks in (4, 10):
        generator = np.random.default_rng(0)
        boards = (draw(generator, [5.0, 0.0, 0.0], tasks, 3, 1.0, 0.0) for _ in range(50))
        power[tasks] = simulate(boards, share_found)
    assert power == {4: 0.0, 10: pytest.approx(1.0, abs=0.02)}


def test_the_command_prints_level_and_power(capsys: pytest.CaptureFixture[str]) -> None:
    run(parse(SignificanceOptions, ["routers=3", "tasks=1,5", "seeds=1,5", "boards=4"]))
    text = capsys.readouterr().out
    assert (
        "3 equal routers, 4 boards" in text
        and "within 1" in text
        and "3 routers, one better" in text
    )


@pytest.mark.parametrize(
    ("word", "says"),
    [
        ("router=5", "unknown option 'router'; nearest: routers"),
        (
            "routers=1",
            "routers=1: input should be greater than or equal to 2; type for example routers=5,20",
        ),
        ("tasks=1.5", "tasks=1.5: input should be a valid integer"),
        ("boards=5,6", "boards=5,6: input should be a valid integer"),
        ("spread=wide", "spread=wide: input should be a valid number"),
        ("seeds=5000", "seeds=5000: input should be less than or equal to 1000"),
    ],
)
def test_a_mistyped_option_is_one_clear_line(word: str, says: str) -> None:
    with pytest.raises(UserError) as error:
        parse(SignificanceOptions, [word])
    assert says in str(error.value) and "\n" not in str(error.value)
