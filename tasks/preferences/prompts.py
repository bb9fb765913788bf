"""Texts of dialogues: messages in one text, and a prompt before the answers to it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

Message = Mapping[str, Any]
Cell = str | Sequence[Message]  # a text, or messages with role and content
# what may stand before the first words of a text: "\n\nHuman: "
LEAD = re.compile(r"\s*(?:(?:human|user|question|prompt)\s*:\s*)?", re.IGNORECASE)


def is_dialogue(cell: Any) -> bool:
    """Whether a cell holds a text, or a list of messages with role and content."""
    if not isinstance(cell, list):
        return isinstance(cell, str)
    return bool(cell) and all(map(_is_message, cell))


def _is_message(value: Any) -> bool:
    return isinstance(value, Mapping) and "role" in value and isinstance(value.get("content"), str)


def text_of(cell: Cell) -> str:
    """Return a text; of a dialogue its messages with their roles."""
    if isinstance(cell, str):
        return cell
    return "\n\n".join(f"{message['role']}: {message['content']}" for message in cell)


def begins_with_prompt(prompts: Sequence[Cell], answers: Sequence[Cell]) -> bool:
    """Whether each answer of a column begins with its prompt; rows without a prompt say nothing."""
    said = [
        begins(answer, prompt)
        for prompt, answer in zip(prompts, answers, strict=True)
        if text_of(prompt).strip()
    ]
    return bool(said) and all(said)


def after_prompt(
    prompt: Cell, answers: Sequence[Cell], whole: Sequence[bool]
) -> tuple[list[str], bool]:
    """Return answers as texts with the prompt before them, and whether it was put there.

    It is not repeated where all of them begin with it, as whole dialogues do.

    Args:
        prompt: empty for none.
        answers: to the same prompt.
        whole: of each, whether it begins with the prompt, as all of its column do.
    """
    texts = [text_of(answer) for answer in answers]
    if not text_of(prompt).strip() or all(begins(answer, prompt) for answer in answers):
        return texts, False
    if isinstance(prompt, str) and not all(isinstance(answer, str) for answer in answers):
        prompt = [{"role": "user", "content": prompt}]
    opening = text_of(prompt)
    return [
        text if begun else _joined(opening, text) for text, begun in zip(texts, whole, strict=True)
    ], True


def begins(answer: Cell, prompt: Cell) -> bool:
    """Whether an answer begins with the prompt."""
    if not isinstance(answer, str) and isinstance(prompt, str):
        asked = (message["content"] for message in answer if message["role"] == "user")
        return any(content.strip() == prompt.strip() for content in asked)
    text, opening = (LEAD.sub("", text_of(cell), count=1).strip() for cell in (answer, prompt))
    after = text[len(opening) : len(opening) + 1]
    # "I" does not begin "Indeed"
    return text.startswith(opening) and not (opening[-1:].isalnum() and after.isalnum())


def _joined(prompt: str, answer: str) -> str:
    """Return both; with an empty line between them where neither has a space there."""
    spaced = prompt[-1:].isspace() or answer[:1].isspace()
    return prompt + ("" if spaced else "\n\n") + answer
