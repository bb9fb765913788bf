"""Pairs of a chosen and a rejected text, as in Anthropic HH-RLHF and UltraFeedback."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from moesuite.sources.layout import listed
from moesuite.task import (
    Column,
    HubSource,
    Readable,
    Source,
    UserError,
    match_columns,
    note_of,
)
from moesuite.tasks.preferences.prompts import after_prompt, begins_with_prompt, is_dialogue
from moesuite.tasks.preferences.votes import WORDS, better_of, votes_in

READABLE = Readable(
    "pairs of texts in tables (parquet, csv, tsv, jsonl, json, arrow, save_to_disk) with the "
    "columns chosen and rejected, and maybe prompt"
)
SIDES = ("chosen", "rejected")
Pair = tuple[str, str]


@dataclass(frozen=True)
class Dialogues(HubSource):
    """Pairs of texts of which one was preferred.

    Attributes:
        splits: name of the split of each role: train, test, optionally val.
        columns: names of the columns of the chosen and the rejected text, and of the prompt, which
            stands before both; an empty name of the prompt: none.
    """

    splits: dict[str, str] = field(default_factory=lambda: {"train": "train", "test": "test"})
    columns: dict[str, str] = field(
        default_factory=lambda: {"chosen": "chosen", "rejected": "rejected", "prompt": "prompt"}
    )


@dataclass(frozen=True)
class Cells:
    """Cells of a table.

    Attributes:
        rows: number of the row, prompt, chosen and rejected text of each pair.
        ties: rows where neither was preferred.
        prompt: name of the column of the prompt, or empty.
        notes: what was taken for what, if all is not as declared, and what is not used.
    """

    rows: Iterable[tuple[int, Any, Any, Any]]
    ties: int
    prompt: str
    notes: tuple[str, ...]


def read_pairs(data: Dialogues) -> tuple[dict[str, list[Pair]], Source]:
    """Return (chosen, rejected) of each role, without pairs of equal texts, and the source.

    Raises:
        UserError: for a source that is missing or lacks a column, for what is no text, or if
            nothing is left.
    """
    loaded = data.load(data.splits, readable=READABLE)
    roles, prompts = dict[str, list[Pair]](), dict[str, str]()
    counts, notes = Counter[str](), list(loaded.notes)
    for role, rows in loaded.splits.items():
        where = f"{loaded.description}, split {role}"
        cells = _cells(rows, data.columns, where)
        pairs = list(_pairs(cells, where, counts))
        roles[role] = [pair for pair in pairs if pair[0] != pair[1]]
        if not roles[role]:
            raise UserError(f"{where} is empty; expected at least one pair of two texts")
        counts.update(ties=cells.ties, equal=len(pairs) - len(roles[role]))
        notes += cells.notes
        prompts[role] = cells.prompt
    if len(set(prompts.values())) > 1:
        columns = ", ".join(f"{role} {name or 'none'}" for role, name in prompts.items())
        raise UserError(
            f"{loaded.description}: column of the prompt: {columns}; expected the same in each "
            "split; type for example task.columns.prompt= for none"
        )
    notes += _counted(counts, prompts["train"])
    return roles, replace(loaded, notes=tuple(dict.fromkeys(filter(None, notes))))


def _cells(rows: Any, columns: Mapping[str, str], where: str) -> Cells:
    """Return the cells of pairs, by the names of columns, or by a vote."""
    named = set(rows.column_names) & {columns[side] for side in SIDES}
    if not named and (votes := votes_in(rows.column_names)):
        better = better_of(rows, votes, where)
        prompt = votes.prompt if votes.prompt in rows.column_names else ""
        answers = list(zip(*(rows[name] for name in votes.answers), strict=True))
        prompts = rows[prompt] if prompt else [""] * len(answers)
        pairs = (
            (number, prompts[number], answers[number][first], answers[number][1 - first])
            for number, first in enumerate(better)
            if first is not None
        )
        unused = _unused(rows, [*votes.answers, votes.column, prompt])
        return Cells(pairs, better.count(None), prompt, (votes.note, unused))
    wanted = [
        Column(side, "messages", columns[side], f"task.columns.{side}", guessed=False)
        for side in SIDES
    ]
    if name := columns.get("prompt", "prompt"):  # must be there if it is told
        optional = name == "prompt"
        option = "task.columns.prompt"
        wanted.append(Column("prompt", "messages", name, option, optional, guessed=False))
    try:
        matched = match_columns(rows, wanted, where)
    except UserError as error:
        if named:
            raise
        raise UserError(f"{error}; votes are read by the columns {WORDS}") from None
    prompt = matched.get("prompt", "")
    prompts = rows[prompt] if prompt else [""] * len(rows)
    cells = zip(prompts, *(rows[matched[side]] for side in SIDES), strict=True)
    numbered = ((number, *row) for number, row in enumerate(cells))
    notes = (note_of(matched, wanted), _unused(rows, matched.values()))
    return Cells(numbered, 0, prompt, notes)


def _unused(rows: Any, used: Iterable[str]) -> str:
    """Return a sentence on the columns that are not read; empty for none."""
    unused = [name for name in rows.column_names if name not in {*used}]
    return f"columns not used: {listed(unused)}" if unused else ""


def _pairs(cells: Cells, where: str, counts: Counter[str]) -> Iterator[Pair]:
    """Yield the texts of pairs, the prompt before both; count where it was put there."""
    rows = [_checked(number, prompt or "", sides, where) for number, prompt, *sides in cells.rows]
    prompts = [prompt for prompt, _ in rows]
    whole = [begins_with_prompt(prompts, [sides[side] for _, sides in rows]) for side in (0, 1)]
    for prompt, sides in rows:
        (chosen, rejected), put = after_prompt(prompt, sides, whole)
        counts["before" if put else "without"] += 1
        counts["once"] += put and any(whole)
        yield chosen, rejected


def _checked(number: int, prompt: Any, sides: Sequence[Any], where: str) -> tuple[Any, list[Any]]:
    """Return the cells of a row, which are dialogues."""
    for name, cell in zip(("prompt", *SIDES), (prompt, *sides), strict=True):
        if not is_dialogue(cell):
            raise UserError(
                f"{where}, row {number}: {name} {cell!r}; expected a text, or a list of "
                "messages with role and content"
            )
    return prompt, [*sides]


def _counted(counts: Counter[str], prompt: str) -> Iterator[str]:
    """Yield what was done to pairs, and how many were left out."""
    before, pairs = counts["before"], counts["before"] + counts["without"]
    if prompt and before == 0:
        yield f"column {prompt} is not repeated: both answers begin with it"
    elif prompt and counts["once"]:
        yield f"column {prompt} stands before the answers that do not begin with it"
    elif prompt and before < pairs:
        yield (
            f"column {prompt} stands before both answers of {before:,} of {pairs:,} pairs; "
            "the others begin with it, or have none"
        )
    elif prompt:
        yield f"column {prompt} stands before both answers"
    if counts["equal"]:
        yield f"pairs of equal texts left out: {counts['equal']:,}"
    if counts["ties"]:
        yield f"pairs without a preference left out: {counts['ties']:,}"
