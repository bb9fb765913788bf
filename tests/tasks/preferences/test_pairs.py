"""Pairs of texts as people have them: prompts, votes, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from moesuite.errors import UserError
from moesuite.tasks.preferences.dialogues import Dialogues, read_pairs
from tests.tasks.local_data import dialogue
from tests.tasks.preferences.words import Row, pairs_of


def user(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


def assistant(text: str) -> dict[str, str]:
    return {"role": "assistant", "content": text}


BEFORE = "column prompt stands before both answers"
NOT_REPEATED = "column prompt is not repeated: both answers begin with it"
HH = "\n\nHuman: hi\n\nAssistant:"
PROMPTS: dict[str, tuple[Row, tuple[str, str], str]] = {
    "answers alone": (
        {"prompt": "Why?", "chosen": "So.", "rejected": "No."},
        ("Why?\n\nSo.", "Why?\n\nNo."),
        BEFORE,
    ),
    "a prompt that ends where the answer begins": (
        {"prompt": HH, "chosen": " yes", "rejected": " no"},
        (f"{HH} yes", f"{HH} no"),
        BEFORE,
    ),
    "whole dialogues": (
        {"prompt": HH, "chosen": f"{HH} yes", "rejected": f"{HH} no"},
        (f"{HH} yes", f"{HH} no"),
        NOT_REPEATED,
    ),
    "whole dialogues after the bare words": (
        {"prompt": "hi", "chosen": f"{HH} yes", "rejected": f"{HH} no"},
        (f"{HH} yes", f"{HH} no"),
        NOT_REPEATED,
    ),
    "one answer repeats the prompt": (
        {"prompt": "hi", "chosen": "hi there", "rejected": "go"},
        ("hi there", "hi\n\ngo"),
        "column prompt stands before the answers that do not begin with it",
    ),
    "a word that only looks like it": (
        {"prompt": "I", "chosen": "Indeed", "rejected": "In no way"},
        ("I\n\nIndeed", "I\n\nIn no way"),
        BEFORE,
    ),
    "messages that begin with it": (
        {
            "prompt": "hi",
            "chosen": [user("hi"), assistant("yes")],
            "rejected": [user("hi"), assistant("no")],
        },
        ("user: hi\n\nassistant: yes", "user: hi\n\nassistant: no"),
        NOT_REPEATED,
    ),
    "answers as messages": (
        {"prompt": "hi", "chosen": [assistant("yes")], "rejected": [assistant("no")]},
        ("user: hi\n\nassistant: yes", "user: hi\n\nassistant: no"),
        BEFORE,
    ),
    "all as messages": (
        {"prompt": [user("hi")], "chosen": [assistant("yes")], "rejected": [assistant("no")]},
        ("user: hi\n\nassistant: yes", "user: hi\n\nassistant: no"),
        BEFORE,
    ),
    "a prompt of messages, answers as text": (
        {"prompt": [user("hi")], "chosen": "yes", "rejected": "no"},
        ("user: hi\n\nyes", "user: hi\n\nno"),
        BEFORE,
    ),
}


@pytest.mark.parametrize("case", PROMPTS)
def test_a_prompt_stands_before_both_answers(case: str, tmp_path: Path) -> None:
    row, expected, note = PROMPTS[case]
    assert pairs_of(tmp_path, row) == ([expected], (note,))


def test_a_prompt_by_a_usual_name_and_rows_without_one(tmp_path: Path) -> None:
    rows = [
        {"instruction": "Why?", "chosen": "So.", "rejected": "No."},
        {"instruction": "", "chosen": "a", "rejected": "b"},
    ]
    found, notes = pairs_of(tmp_path, *rows)
    assert found == [("Why?\n\nSo.", "Why?\n\nNo."), ("a", "b")]
    assert notes == (
        "column instruction read as prompt",
        "column instruction stands before both answers of 2 of 4 pairs; the others begin with it, "
        "or have none",
    )
    columns = {"chosen": "chosen", "rejected": "rejected", "prompt": ""}
    found, notes = pairs_of(tmp_path, *rows, columns=columns)
    assert found == [("So.", "No."), ("a", "b")]
    assert notes == ("columns not used: instruction",)


def test_equal_texts_are_left_out_and_counted(tmp_path: Path) -> None:
    found, notes = pairs_of(
        tmp_path, {"chosen": "a", "rejected": "b"}, {"chosen": "c", "rejected": "c"}
    )
    assert found == [("a", "b")] and notes == ("pairs of equal texts left out: 2",)


VOTES: dict[str, tuple[list[Row], list[tuple[str, str]], tuple[str, ...]]] = {
    "PKU-SafeRLHF": (
        [
            {"prompt": "Q", "response_0": "a", "response_1": "b", "better_response_id": 1},
            {"prompt": "Q", "response_0": "c", "response_1": "d", "better_response_id": 0},
        ],
        [("Q\n\nb", "Q\n\na"), ("Q\n\nc", "Q\n\nd")],
        ("the better of response_0 and response_1 by column better_response_id", BEFORE),
    ),
    "SHP: 1 is the first": (
        [{"history": "Q", "human_ref_A": "a", "human_ref_B": "b", "labels": 1, "domain": "x"}],
        [("Q\n\na", "Q\n\nb")],
        (
            "the better of human_ref_A and human_ref_B by column labels",
            "columns not used: domain",
            "column history stands before both answers",
        ),
    ),
    "Chatbot Arena, with ties": (
        [
            {
                "conversation_a": [user("Q"), assistant("a")],
                "conversation_b": [user("Q"), assistant("b")],
                "winner": winner,
            }
            for winner in ("model_b", "tie", "tie (bothbad)")
        ],
        [("user: Q\n\nassistant: b", "user: Q\n\nassistant: a")],
        (
            "the better of conversation_a and conversation_b by column winner",
            "pairs without a preference left out: 4",
        ),
    ),
}


@pytest.mark.parametrize("schema", VOTES)
def test_votes_on_two_answers(schema: str, tmp_path: Path) -> None:
    rows, expected, notes = VOTES[schema]
    assert pairs_of(tmp_path, *rows) == (expected, notes)


@pytest.mark.slow
def test_names_of_columns(tmp_path: Path) -> None:
    """By option, in other letters, and by usual names: those of stack-exchange-paired."""
    columns = {"chosen": "good", "rejected": "bad"}
    found, _ = pairs_of(tmp_path / "own", {"good": "a", "bad": "b"}, columns=columns)
    assert found == [("a", "b")]
    _, notes = pairs_of(tmp_path / "letters", {"Chosen": "a", "REJECTED": "b"})
    assert notes == ("column Chosen read as chosen, column REJECTED read as rejected",)
    row = {"question": "Q", "response_j": "a", "response_k": "b"}
    found, _ = pairs_of(tmp_path / "usual", row)
    assert found == [("Q\n\na", "Q\n\nb")]


PAIR = '{"chosen": "a", "rejected": "b"}'
REFUSED: dict[str, str] = {
    '{"good": "a", "bad": "b"}': "has no column 'chosen'; its columns: good .*votes are read by",
    '{"chosen": "a", "source": "b"}': "no column 'rejected'; .*columns.rejected says which it is",
    '{"chosen": "a", "rejected": "a"}': "split test is empty; expected at least one pair",
    "no json": "test.jsonl: unreadable: .*",
    '{"chosen": "a", "rejected": null}': "a column 'rejected' of null; .*lists of messages",
    '{"chosen": "a", "rejected": 3}': "a column 'rejected' of int64; .*lists of messages",
    PAIR
    + '\n{"chosen": "a", "rejected": null}': "row 1: rejected None; expected a text, or a list",
    '{"chosen": "a", "rejected": [{"role": "user"}]}': r"row 0: rejected \[{'role': 'user'}\]",
    '{"chosen": "a", "rejected": ["b"]}': r"row 0: rejected \['b'\]; expected a text",
    '{"chosen": "a", "rejected": []}': r"row 0: rejected \[\]; expected a text",
    '{"chosen": "a", "rejected": [{"role": "user", "content": null}]}': "row 0: rejected",
    '{"prompt": "Q", "chosen": "a", "rejected": "b"}': (
        "column of the prompt: train none, test prompt; expected the same in each split"
    ),
    '{"response_0": "a", "response_1": "b", "better_response_id": 2}': (
        "row 0: better_response_id 2; expected 0 or 1"
    ),
}


@pytest.mark.parametrize("text", REFUSED)
def test_what_is_refused(text: str, tmp_path: Path) -> None:
    folder = dialogue(tmp_path / "texts", "hh")
    (folder / "test.jsonl").write_text(text + "\n", encoding="utf-8")
    with pytest.raises(UserError, match=REFUSED[text]) as refused:
        read_pairs(Dialogues(source=str(folder)))
    assert "\n" not in str(refused.value)


def test_a_told_column_of_the_prompt_must_be_there(tmp_path: Path) -> None:
    columns = {"chosen": "chosen", "rejected": "rejected", "prompt": "ask"}
    with pytest.raises(UserError, match=r"has no column 'ask'; .*columns.prompt says which it is$"):
        pairs_of(tmp_path, {"chosen": "a", "rejected": "b"}, columns=columns)


def test_what_is_no_table_of_pairs_is_told(tmp_path: Path) -> None:
    (tmp_path / "talk.txt").write_text("hi", encoding="utf-8")
    with pytest.raises(
        UserError,
        match=r"expected pairs of texts in tables .* chosen and rejected.*; it holds 1 .txt \(talk",
    ):
        read_pairs(Dialogues(source=str(tmp_path)))
