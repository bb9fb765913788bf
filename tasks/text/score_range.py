"""Similarity scores as numbers of 0 to 5."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from moesuite.task import UserError
from moesuite.tasks.text.local_copies import LoadedSplit

TOP = 5.0


def score_numbers(parts: Mapping[str, LoadedSplit]) -> tuple[dict[str, list[float]], str]:
    """Return the scores of each split as numbers of 0 to 5; those of 0 to 1 are multiplied by 5.

    Args:
        parts: all splits of a data set: their scores have one range.

    Returns:
        The scores of each role, and a sentence where they were multiplied.

    Raises:
        UserError: for a score that is no number, or out of range.
    """
    numbers = {role: _numbers(part) for role, part in parts.items()}
    if max(map(max, numbers.values())) > 1:
        return numbers, ""
    scaled = {role: [TOP * score for score in scores] for role, scores in numbers.items()}
    return scaled, f"scores of 0 to 1 are read as 0 to {TOP:g}"


def _numbers(part: LoadedSplit) -> list[float]:
    cells = part.column("score")
    scores = [_number(cell) for cell in cells]
    for row, score in enumerate(scores):
        if not 0 <= score <= TOP:
            raise UserError(
                f"{part.where}, row {row}: score {cells[row]!r} is out of range; expected 0 to "
                f"{TOP:g}, or 0 to 1 in all rows; scale the scores"
            )
    return scores


def _number(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        return np.nan
