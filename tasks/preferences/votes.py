"""Tables of two answers and a vote, as PKU-SafeRLHF, SHP and Chatbot Arena publish them.

https://huggingface.co/datasets/PKU-Alignment/PKU-SafeRLHF,
https://huggingface.co/datasets/stanfordnlp/SHP,
https://huggingface.co/datasets/lmsys/chatbot_arena_conversations
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from moesuite.task import UserError


@dataclass(frozen=True)
class Votes:
    """Columns of two answers and of the better one.

    Attributes:
        answers: columns of the two.
        column: the vote.
        better: vote -> number of the better answer; None: neither.
        prompt: column of what both answer; empty: they are whole dialogues.
    """

    answers: tuple[str, str]
    column: str
    better: Mapping[str, int | None]
    prompt: str = ""

    @property
    def note(self) -> str:
        """What was taken for what."""
        return f"the better of {' and '.join(self.answers)} by column {self.column}"


SCHEMAS = (
    Votes(("response_0", "response_1"), "better_response_id", {"0": 0, "1": 1}, "prompt"),
    Votes(("human_ref_A", "human_ref_B"), "labels", {"1": 0, "0": 1}, "history"),
    Votes(
        ("conversation_a", "conversation_b"),
        "winner",
        {"model_a": 0, "model_b": 1, "tie": None, "tie (bothbad)": None},
    ),
)
WORDS = ", or ".join(", ".join([*votes.answers, votes.column]) for votes in SCHEMAS)


def votes_in(names: Iterable[str]) -> Votes | None:
    """Return the schema whose columns are all there, or None."""
    there = set(names)
    return next((votes for votes in SCHEMAS if {*votes.answers, votes.column} <= there), None)


def better_of(rows: Any, votes: Votes, where: str) -> list[int | None]:
    """Return the number of the better answer of each row; None: neither.

    Raises:
        UserError: for a vote of another kind.
    """
    better = []
    for number, cell in enumerate(rows[votes.column]):
        vote = str(int(cell) if isinstance(cell, float) and cell.is_integer() else cell)
        if vote not in votes.better:
            raise UserError(
                f"{where}, row {number}: {votes.column} {cell!r}; expected "
                f"{' or '.join(votes.better)}"
            )
        better.append(votes.better[vote])
    return better
