"""Examples of GLUE and SuperGLUE, as texts for a head and as prompts with answers in words."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from moesuite.task import UserError
from moesuite.tasks.text.local_copies import LoadedSplit
from moesuite.tasks.understanding.answers import Question, Texts, credit
from moesuite.tasks.understanding.columns import USUAL_NAMES, classes_of
from moesuite.tasks.understanding.subset import Subset

# between similarities in words (Raffel et al. 2020, https://arxiv.org/abs/1910.10683, section 2.4)
STEP = 0.2


def _prompt(name: str, fields: Mapping[str, str]) -> str:
    """Return the prompt of Raffel et al. 2020, appendix D, e.g. "rte premise: … hypothesis: …"."""
    return " ".join([name, *(f"{key}: {text}" for key, text in fields.items())])


def _head_texts(texts: Sequence[str]) -> Texts:
    """Return one text, or all but the last and the last."""
    return (texts[0],) if len(texts) == 1 else (" ".join(texts[:-1]), texts[-1])


def _columns(part: LoadedSplit, *names: str) -> list[tuple[Any, ...]]:
    """Return rows of some columns."""
    return list(zip(*(part.column(USUAL_NAMES.get(name, name)) for name in names), strict=True))


def _pairs(
    name: str, subset: Subset, part: LoadedSplit, group: Callable[[int], str] = lambda _: ""
) -> list[Question]:
    """Read texts with a label."""
    questions = []
    answers = classes_of(part, subset.labels)
    for row, (texts, answer) in enumerate(zip(_columns(part, *subset.texts), answers, strict=True)):
        prompt = _prompt(name, dict(zip(subset.texts, texts, strict=True)))
        pair, words = (_head_texts(texts),), tuple(subset.labels)
        questions.append(Question(prompt, pair, words, answer, words[int(answer)], group(row)))
    return questions


def _scores(name: str, subset: Subset, part: LoadedSplit) -> list[Question]:
    """Read texts with a score of 0 to 5, which is answered in steps."""
    words = tuple(f"{step * STEP:.1f}" for step in range(round(5 / STEP) + 1))
    questions = []
    for *texts, score in _columns(part, *subset.texts, "score"):
        if not isinstance(score, int | float) or not 0 <= score <= 5:
            raise UserError(f"{part.where}: label {score!r} is out of range; expected 0 to 5")
        prompt = _prompt(name, dict(zip(subset.texts, texts, strict=True)))
        questions.append(
            Question(prompt, (_head_texts(texts),), words, float(score), words[round(score / STEP)])
        )
    return questions


def _copa(name: str, subset: Subset, part: LoadedSplit) -> list[Question]:
    """Read the choice of a cause or an effect."""
    questions = []
    columns = "premise", "question", "choice1", "choice2"
    rows, answers = _columns(part, *columns), classes_of(part, subset.labels)
    for (premise, question, *choices), answer in zip(rows, answers, strict=True):
        fields = dict(zip(columns, (premise, question, *choices), strict=True))
        pairs = tuple((f"{premise} What was the {question}?", choice) for choice in choices)
        words = tuple(subset.labels)
        questions.append(Question(_prompt(name, fields), pairs, words, answer, words[int(answer)]))
    return questions


def _multirc(name: str, subset: Subset, part: LoadedSplit) -> list[Question]:
    """Read answers to questions on a paragraph, of which any number are right."""
    questions = _columns(part, "paragraph", "question")
    return _pairs(name, subset, part, lambda row: "\n".join(questions[row]))


def _record(name: str, subset: Subset, part: LoadedSplit) -> list[Question]:
    """Read which entity of a passage belongs in the place of @placeholder."""
    del subset
    questions = []
    for passage, query, entities, answers in _columns(
        part, "passage", "query", "entities", "answers"
    ):
        passage = passage.replace("\n@highlight\n", " ")
        names = tuple(dict.fromkeys(entities))
        credits_ = tuple(credit(entity, answers) for entity in names)
        if not any(exact for _, exact in credits_):
            raise UserError(
                f"{part.where}: answers {answers} are not among the entities {list(names)[:5]}"
            )
        answer = float(next(number for number, (_, exact) in enumerate(credits_) if exact))
        pairs = tuple((query.replace("@placeholder", entity), passage) for entity in names)
        prompt = _prompt(name, {"query": query, "entities": ", ".join(names), "passage": passage})
        questions.append(
            Question(prompt, pairs, names, answer, names[int(answer)], credits=credits_)
        )
    return questions


def _wsc(name: str, subset: Subset, part: LoadedSplit) -> list[Question]:
    """Read whether *a pronoun* stands for #a noun#, both marked in the text."""
    columns = "text", "span1_index", "span1_text", "span2_index", "span2_text"
    questions = []
    rows, answers = _columns(part, *columns), classes_of(part, subset.labels)
    for (text, noun_at, noun, pronoun_at, pronoun), answer in zip(rows, answers, strict=True):
        marked = _marked(_marked(text, pronoun_at, pronoun, "*"), noun_at, noun, "#")
        pair = (f"{pronoun}: {noun}", marked)
        words = tuple(subset.labels)
        questions.append(
            Question(_prompt(name, {"text": marked}), (pair,), words, answer, words[int(answer)])
        )
    return questions


def _marked(text: str, word: int, span: str, mark: str) -> str:
    """Put marks around a span that begins at a word, as in Raffel et al. 2020, section 2.4."""
    starts = [match.start() for match in re.finditer(r"\S+", text)]
    if not 0 <= word < len(starts):
        raise UserError(f"wsc: word {word} of {text!r}: it has {len(starts)}")
    at = starts[word]
    return f"{text[:at]}{mark}{text[at : at + len(span)]}{mark}{text[at + len(span) :]}"


FORMS: Mapping[str, Callable[[str, Subset, LoadedSplit], list[Question]]] = {
    "pair": _pairs,
    "score": _scores,
    "copa": _copa,
    "multirc": _multirc,
    "record": _record,
    "wsc": _wsc,
}
