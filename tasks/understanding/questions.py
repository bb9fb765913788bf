"""Examples of GLUE and SuperGLUE, as texts for a head and as prompts with answers in words."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Any, Literal

from pydantic import BaseModel, Field

from moesuite.task import HubSource, UserError
from moesuite.tasks.text.local_copies import LoadedSplit, local_copy
from moesuite.tasks.understanding.answers import Metric, Question, Texts, credit

# between similarities in words (Raffel et al. 2020, https://arxiv.org/abs/1910.10683, section 2.4)
STEP = 0.2


class Subset(BaseModel, extra="forbid"):
    """One set of a benchmark, as declared in its YAML.

    Attributes:
        texts: columns of text, a long one last: prompts are cut at their end.
        labels: names of the classes by number.
        metrics: official metrics; one ranks by itself, several by their mean.
        form: format of a row: pair (texts and a label), score (a number of 0 to 5), or a set's
            own.
        test: splits to evaluate; the labels of those that are named test are not public.
    """

    texts: list[str] = Field(default_factory=list)
    labels: list[str] = Field(default_factory=list)
    metrics: list[Metric]
    form: Literal["pair", "score", "copa", "multirc", "record", "wsc"] = "pair"
    test: list[str] = Field(default_factory=lambda: ["validation"])

    @property
    def is_choice(self) -> bool:
        """Whether alternatives are scored one by one."""
        return self.form in ("copa", "record")

    @property
    def classes(self) -> int:
        """Number of outputs of a head."""
        return 1 if self.form == "score" or self.is_choice else len(self.labels)


@dataclass(frozen=True)
class Benchmark(HubSource):
    """A set of a benchmark.

    Attributes:
        hub: id of the benchmark on the Hugging Face hub; its configurations are the sets.
        source: folder of local copies: for each set a folder of parquet files, in the hub's schema.
        subset: set to train and evaluate, one of `sets`.
        sets: declaration of each set by name: texts, labels, metrics, form, test.
    """

    hub: str | None = None
    source: str | None = None
    subset: str = "rte"
    sets: dict[str, Subset] = field(default_factory=lambda: {})


@dataclass(frozen=True)
class Questions:
    """Examples of each role, the fingerprint of what was read, and one line about it."""

    roles: Mapping[Literal["train", "test"], list[Question]]
    fingerprint: str
    description: str


def read_questions(benchmark: Benchmark) -> Questions:
    """Read a set of a benchmark.

    Raises:
        UserError: for a set that cannot be read, an empty split, a column that is missing, a label
            out of range.
    """
    name, data = benchmark.subset, benchmark
    subset = benchmark.sets[name]
    splits = {
        "train": "train",
        **{f"test{number or ''}": split for number, split in enumerate(subset.test)},
    }
    if data.source is not None:
        data = replace(data, source=local_copy(data.source, name, data.hub or name, only=True))
    loaded = data.load(splits, name)
    if missing := splits.keys() - loaded.splits.keys():
        split = splits[min(missing)]
        raise UserError(
            f"{name}: no split {split!r} in {loaded.description}; name its file {split}.parquet"
        )
    read, questions = FORMS[subset.form], dict[str, list[Question]]()
    for number, (role, rows) in enumerate(loaded.splits.items()):
        if len(rows) == 0:
            raise UserError(f"{name}: split {splits[role]} is empty; expected at least one row")
        part = LoadedSplit(role, rows, f"{name}, split {splits[role]}", max(0, number - 1))
        questions[role] = read(name, subset, part)
    test = list(chain.from_iterable(questions[role] for role in splits if role != "train"))
    test_prompts = {question.prompt for question in test}
    train = [question for question in questions["train"] if question.prompt not in test_prompts]
    about = loaded.description
    if left_out := len(questions["train"]) - len(train):
        about += f"; {left_out} training examples left out: they stand in the test split too"
    return Questions({"train": train, "test": test}, loaded.fingerprint, f"{name} of {about}")


def _prompt(name: str, fields: Mapping[str, str]) -> str:
    """Return the prompt of Raffel et al. 2020, appendix D, e.g. "rte premise: … hypothesis: …"."""
    return " ".join([name, *(f"{key}: {text}" for key, text in fields.items())])


def _head_texts(texts: Sequence[str]) -> Texts:
    """Return one text, or all but the last and the last."""
    return (texts[0],) if len(texts) == 1 else (" ".join(texts[:-1]), texts[-1])


def _columns(part: LoadedSplit, *names: str) -> list[tuple[Any, ...]]:
    """Return rows of some columns."""
    return list(zip(*map(part.column, names), strict=True))


def _class(value: Any, count: int, where: str) -> float:
    if not isinstance(value, int) or not 0 <= value < count:
        hidden = " (labels of the benchmark's own test split are not public)" if value == -1 else ""
        raise UserError(
            f"{where}: label {value!r} is out of range; expected 0 to {count - 1}{hidden}"
        )
    return float(value)


def _pairs(
    name: str, subset: Subset, part: LoadedSplit, group: Callable[[int], str] = lambda _: ""
) -> list[Question]:
    """Read texts with a label."""
    questions = []
    for row, (*texts, label) in enumerate(_columns(part, *subset.texts, "label")):
        answer = _class(label, len(subset.labels), part.where)
        prompt = _prompt(name, dict(zip(subset.texts, texts, strict=True)))
        pair, words = (_head_texts(texts),), tuple(subset.labels)
        questions.append(
            Question(prompt, pair, words, answer, words[int(answer)], group(row), part.group)
        )
    return questions


def _scores(name: str, subset: Subset, part: LoadedSplit) -> list[Question]:
    """Read texts with a score of 0 to 5, which is answered in steps."""
    words = tuple(f"{step * STEP:.1f}" for step in range(round(5 / STEP) + 1))
    questions = []
    for *texts, score in _columns(part, *subset.texts, "label"):
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
    columns = "premise", "question", "choice1", "choice2", "label"
    for premise, question, *choices, label in _columns(part, *columns):
        fields = dict(zip(columns, (premise, question, *choices), strict=False))
        pairs = tuple((f"{premise} What was the {question}?", choice) for choice in choices)
        answer = _class(label, len(choices), part.where)
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
    columns = "text", "span1_index", "span1_text", "span2_index", "span2_text", "label"
    questions = []
    for text, noun_at, noun, pronoun_at, pronoun, label in _columns(part, *columns):
        marked = _marked(_marked(text, pronoun_at, pronoun, "*"), noun_at, noun, "#")
        answer = _class(label, len(subset.labels), part.where)
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
