"""Columns and labels of a set: as on the hub, in the benchmark's own files, or by usual names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from moesuite.sources.layout import listed
from moesuite.task import Column, UserError
from moesuite.tasks.text.local_copies import LoadedSplit, plain
from moesuite.tasks.understanding.subset import Subset

# column -> the word under which `moesuite.sources.columns` knows its usual names
USUAL_NAMES: Mapping[str, str] = {
    "sentence": "text",
    "premise": "sentence1",
    "hypothesis": "sentence2",
    "question1": "sentence1",
    "question2": "sentence2",
}
# the same columns in the files of https://gluebenchmark.com/tasks
OFFICIAL: Mapping[str, tuple[str, ...]] = {
    "sentence1": ("#1 String",),
    "sentence2": ("#2 String",),
    "label": ("Quality", "is_duplicate", "gold_label"),
    "premise": ("sentence1",),
    "hypothesis": ("sentence2",),
    **{  # WSC keeps them in one column
        f"span{n}_{part}": (f"target.span{n}_{part}",) for n in (1, 2) for part in ("index", "text")
    },
}
# of files without a header: column by its place, 1 for the first
HEADLESS: Mapping[str, Mapping[str, str]] = {"cola": {"sentence": "column4", "label": "column2"}}
COPA = ("premise", "question", "choice1", "choice2")
WSC = ("text", "span1_text", "span2_text")
WSC_NUMBERS = ("span1_index", "span2_index")


def wanted_columns(name: str, subset: Subset, there: Sequence[str]) -> list[Column]:
    """Return the columns of a set.

    Args:
        name: of the set.
        subset: its declaration.
        there: names of the columns of a split.
    """
    by_place = HEADLESS.get(name, {})

    def called(column: str) -> str:
        if by_place.get(column) in there:
            return by_place[column]
        names = (column, *OFFICIAL.get(column, ()))
        return next((other for other in names if other in there), column)

    def texts(names: Sequence[str]) -> list[Column]:
        return [Column(USUAL_NAMES.get(text, text), "text", called(text)) for text in names]

    label = Column("label", "label", called("label"))
    if subset.form == "score":
        score = "score" if "score" in there and "label" not in there else "label"
        return [*texts(subset.texts), Column("score", "number", score)]
    if subset.form == "copa":
        return [*texts(COPA), label]
    if subset.form == "wsc":
        numbers = [Column(each, "number", called(each)) for each in WSC_NUMBERS]
        return [*texts(WSC), *numbers, label]
    if subset.form == "record":
        lists = [Column(each, "messages") for each in ("entities", "answers")]
        return [*texts(("passage", "query")), *lists]
    return [*texts(subset.texts), label]


def check_declared(name: str, subset: Subset, rows: Any, where: str) -> None:
    """Raise `UserError` for a declaration of pairs without texts or labels, with one that fits."""
    if subset.form != "pair" or (subset.texts and len(subset.labels) > 1):
        return
    strings = [
        column
        for column, feature in (rows.features or {}).items()
        if getattr(feature, "dtype", "") in ("string", "large_string") and column != "label"
    ]
    labels = sorted({str(value) for value in rows["label"]}) if "label" in rows.column_names else []
    texts, names = ",".join(strings[:2] or ["text"]), ",".join(labels[:10] or ["no", "yes"])
    raise UserError(
        f"{where}: task.sets.{name} lacks texts or labels; its columns: "
        f"{listed(rows.column_names, 10)}; type for example "
        f"'+task.sets.{name}={{texts:[{texts}],labels:[{names}],metrics:[accuracy]}}'"
    )


def classes_of(part: LoadedSplit, labels: Sequence[str]) -> list[float]:
    """Return the index in `labels` of each label of a split, by name or by number.

    Raises:
        UserError: for a label that is none of them, or a column with other names.
    """
    feature = (part.rows.features or {}).get(part.columns["label"])
    names = getattr(feature, "names", None)
    places = {plain(label): float(place) for place, label in enumerate(labels)}
    cells = part.column("label")
    if names is not None and not all(map(str.isdigit, names)):
        if {*map(plain, names)} != {*places}:
            raise UserError(
                f"{part.where}: its labels are {listed(names, 10)}; expected {listed(labels, 10)}"
            )
        cells = [names[cell] if cell >= 0 else cell for cell in cells]
    return [_class(cell, places, labels, part.where) for cell in cells]


def _class(value: Any, places: Mapping[str, float], labels: Sequence[str], where: str) -> float:
    if isinstance(value, str):
        if plain(value) in places:
            return places[plain(value)]
        if value.isdigit():
            value = int(value)
    if not isinstance(value, int) or not 0 <= value < len(labels):
        hidden = " (labels of the benchmark's own test split are not public)" if value == -1 else ""
        named = f", or {listed(labels, 10)}" if isinstance(value, str) else ""
        raise UserError(
            f"{where}: label {value!r} is out of range; expected 0 to {len(labels) - 1}{named}"
            f"{hidden}"
        )
    return float(value)
