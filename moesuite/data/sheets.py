"""What is found as small tables, which the terminal and the page show alike."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from moesuite.data.figures import Quantiles
from moesuite.data.survey import Survey
from moesuite.preview import Example

CLASSES = 20  # lines of the table of labels
CHARACTERS = 160  # of a text, about two lines
TEXTS = 4  # of an example: alternatives of a choice may be many


@dataclass(frozen=True)
class Sheet:
    """A table: what it is about, headings, and rows; all columns but the first hold figures."""

    title: str
    headings: list[str]
    rows: list[list[str]]


def sheets(survey: Survey) -> list[Sheet]:
    """Return the tables of a survey, without empty ones."""
    every = (_splits, _labels, _scores, _repeats, _texts, _pixels)
    return [sheet for make in every if (sheet := make(survey)).rows]


def _splits(survey: Survey) -> Sheet:
    splits = survey.splits
    names = list(dict.fromkeys(name for split in splits.values() for name in split.figures))
    rows = [
        [
            role,
            "streamed" if split.size is None else f"{split.size:,}",
            *(f"{split.figures[name]:,}" if name in split.figures else "" for name in names),
        ]
        for role, split in splits.items()
    ]
    return Sheet("splits", ["split", "examples", *names], rows)


def _repeats(survey: Survey) -> Sheet:
    counted = {role: split.repeats for role, split in survey.splits.items() if split.repeats}
    rows = [
        [
            role,
            f"{each.total:,}",
            f"{each.within:,}",
            "" if role == "train" else f"{each.in_train:,}",
            *([] if each.near is None else [f"{each.near:,}"]),
        ]
        for role, each in counted.items()
    ]
    headings = ["split", "compared", "equal to an earlier one", "in train, too"]
    if any(len(row) > len(headings) for row in rows):
        headings.append("examples nearly so")
        rows = [row + [""] * (len(headings) - len(row)) for row in rows]
    return Sheet(f"duplicates, by {survey.unit}", headings, rows)


def _labels(survey: Survey) -> Sheet:
    counts = {role: split.labels for role, split in survey.splits.items() if split.labels}
    names = list(dict.fromkeys(name for each in counts.values() for name in each))
    rows = [
        [name, *(f"{each.get(name, 0):,}" for each in counts.values())] for name in names[:CLASSES]
    ]
    if more := len(names) - CLASSES:
        rest = [sum(each.get(name, 0) for name in names[CLASSES:]) for each in counts.values()]
        rows += [[f"and {more} more", *(f"{count:,}" for count in rest)]] if more > 0 else []
    return Sheet("labels", ["class", *counts], rows)


def _scores(survey: Survey) -> Sheet:
    rows = [
        [role, *(f"{value:.4g}" for value in (each.least, each.median, each.ninety, each.most))]
        for role, split in survey.splits.items()
        if (each := split.scores)
    ]
    return Sheet("scores", ["split", "least", "median", "90 %", "most"], rows)


def _texts(survey: Survey) -> Sheet:
    rows = [
        [
            role,
            f"{each.texts:,}",
            f"{each.characters.median:,.0f}",
            *_whole(each.tokens),
            f"{each.limit:,}",
            f"{100 * each.cut:.1f} %",
        ]
        for role, split in survey.splits.items()
        if (each := split.lengths)
    ]
    headings = ["split", "texts", "characters, median", "tokens: least", "median", "90 %", "most"]
    return Sheet(f"texts{_sampled(survey)}", [*headings, "kept", "cut"], rows)


def _pixels(survey: Survey) -> Sheet:
    rows = [
        [
            role,
            f"{each.images:,}",
            " / ".join(_size(each.width)),
            " / ".join(_size(each.height)),
            ", ".join(f"{mode} {count:,}" for mode, count in each.modes.items()),
            _channels(each.mean),
            _channels(each.std),
        ]
        for role, split in survey.splits.items()
        if (each := split.pixels)
    ]
    if rows and survey.mean:
        rows.append(["task", *[""] * 4, _channels(survey.mean), _channels(survey.std)])
    three = "least / median / most"
    headings = ["split", "images", f"width, {three}", f"height, {three}", "modes", "mean", "std"]
    return Sheet(f"images{_sampled(survey)}", headings, rows)


def _sampled(survey: Survey) -> str:
    is_part = any(split.size and split.sampled < split.size for split in survey.splits.values())
    return ", of a sample that is evenly spaced (sample=null: of all)" if is_part else ""


def _whole(values: Quantiles) -> Iterator[str]:
    for value in (values.least, values.median, values.ninety, values.most):
        yield f"{value:,.0f}"


def _size(values: Quantiles) -> Iterator[str]:
    for value in (values.least, values.median, values.most):
        yield f"{value:,.0f}"


def _channels(values: list[float]) -> str:
    return " ".join(f"{value:.3f}" for value in values)


def caption(example: Example) -> str:
    """Return an example in words: its label, and its texts cut, or the size of its image."""
    value = example.label
    name = value if isinstance(value, str) or value is None else f"{value:.4g}"
    label = "" if name is None else f"[{name}] "
    if example.image is not None:
        width, height = example.image.size
        return f"{label}{width}x{height} {example.mode}"
    texts = [" ".join(text.split()) for text in example.texts[:TEXTS]]
    lines = [text if len(text) <= CHARACTERS else f"{text[: CHARACTERS - 1]}…" for text in texts]
    if more := len(example.texts) - TEXTS:
        lines += [f"and {more} more texts"] if more > 0 else []
    return label + "\n  ".join(lines)
