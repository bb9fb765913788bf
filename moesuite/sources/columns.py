"""Which column of a table is what: by its declared name, a usual name, or its type."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from moesuite.errors import UserError

Kind = Literal["image", "label", "text", "number", "messages", "list"]
# usual names of what a column holds, lower-case
USUAL: Mapping[str, tuple[str, ...]] = {
    "image": ("image", "img", "images", "picture", "photo", "pixels", "jpg", "png"),
    "label": (
        "label", "labels", "class", "category", "target", "fine_label", "cls", "coarse_label",
        "label_text", "intent", "sentiment", "y",
    ),
    "text": ("text", "sentence", "content", "document", "story", "review", "tweet", "utterance"),
    "score": ("score", "similarity_score", "similarity", "relatedness_score", "label", "labels"),
    "sentence1": ("sentence1", "sentence_1", "sentence_a", "text1", "text_a", "s1", "premise"),
    "sentence2": ("sentence2", "sentence_2", "sentence_b", "text2", "text_b", "s2", "hypothesis"),
    "query": ("query", "question", "anchor", "queries"),
    "document": ("document", "answer", "positive", "passage", "doc", "pos", "context"),
    "chosen": (
        "chosen", "preferred", "winner", "response_chosen", "better", "accepted", "response_j",
    ),
    "rejected": (
        "rejected", "dispreferred", "loser", "response_rejected", "worse", "refused", "response_k",
    ),
    "prompt": ("prompt", "instruction", "question", "input", "query", "context", "history"),
}  # fmt: skip
# a task that reads these columns, the most of them first
READ_BY: Mapping[str, set[str]] = {
    "sts": {"sentence1", "sentence2", "score"},
    "preferences_text": {"chosen", "rejected"},
    "stdlib_search": {"query", "document"},
    "imagenet": {"image", "label"},
    "text_classification": {"text", "label"},
    "wikitext2": {"text"},
}


@dataclass(frozen=True)
class Column:
    """A column that a family reads.

    Attributes:
        what: what it holds, a key of `USUAL` or a word of the family's own.
        kind: type of its cells.
        name: declared name; empty: `what`.
        option: option that names the column, for errors, or empty.
        optional: whether rows may lack it.
        guessed: whether the one column of its kind is taken whatever its name.
    """

    what: str
    kind: Kind
    name: str = ""
    option: str = ""
    optional: bool = False
    guessed: bool = True


def match_columns(rows: Any, wanted: Sequence[Column], where: str) -> dict[str, str]:
    """Return the column of each thing that is wanted; what is optional and missing is left out.

    A declared name comes first, then the same in other letters, then a usual name, then the one
    column of the right type that is left.

    Args:
        rows: of `datasets`, with `column_names` and `features`.
        wanted: what the family reads.
        where: name of the rows, for errors.

    Raises:
        UserError: if a column is missing, with those that are there.
    """
    names = list(rows.column_names or [])
    if not names and rows.features is None:  # a stream whose columns are not known
        return {column.what: column.name or column.what for column in wanted}
    fits = {
        column.what: [name for name in names if _is(rows, name, column.kind)] for column in wanted
    }
    matched: dict[str, str] = {}
    for choose in (_declared, _in_other_letters, _usual):
        for column in wanted:
            free = [name for name in fits[column.what] if name not in matched.values()]
            if column.what not in matched and (name := choose(column, free)):
                matched[column.what] = name
    required = [column for column in wanted if not column.optional]
    for column in required:
        free = _guesses(rows, column, fits[column.what], matched)
        if column.guessed and column.what not in matched and len(free) == 1:
            matched[column.what] = free[0]
    for column in required:
        if column.what not in matched:
            free = _guesses(rows, column, fits[column.what], matched)
            fit = _fit(names, matched.values())
            raise _missing(rows, column, free if column.guessed else [], where, fit)
    return matched


def note_of(matched: Mapping[str, str], wanted: Sequence[Column]) -> str:
    """Return one line that says what was taken for what; empty if all is as declared."""
    declared = {column.what: column.name or column.what for column in wanted}
    other = {w: name for w, name in matched.items() if name not in (declared[w], w)}
    return ", ".join(f"column {name} read as {what}" for what, name in other.items())


def _declared(column: Column, names: Sequence[str]) -> str:
    return next((name for name in names if name == (column.name or column.what)), "")


def _in_other_letters(column: Column, names: Sequence[str]) -> str:
    wanted = (column.name or column.what).lower()
    return next((name for name in names if name.lower() == wanted), "")


def _usual(column: Column, names: Sequence[str]) -> str:
    usual = USUAL.get(column.what, ())
    ranked = [name for word in usual for name in names if name.lower() == word]
    return next(iter(ranked), "")


def _guesses(
    rows: Any, column: Column, names: Sequence[str], matched: Mapping[str, str]
) -> list[str]:
    """Return the columns that could be it by their type; floats are classes only by their name."""
    free = [name for name in names if name not in matched.values()]
    floats = ("float", "double") if column.kind == "label" else ()
    return [name for name in free if not _dtype(_feature(rows, name)).startswith(floats)]


def _missing(rows: Any, column: Column, fitting: Sequence[str], where: str, fit: str) -> UserError:
    kinds = {name: _kind_of(rows, name) for name in rows.column_names}
    listed = ", ".join(f"{name} ({kind})" for name, kind in kinds.items())
    name = column.name or column.what
    reason = f"has no column {name!r}"
    if name in kinds:
        reason = f"has a column {name!r} of {kinds[name]}"
    elif len(fitting) > 1:
        reason += f", and more than one that could be it: {', '.join(fitting)}"
    hint = f"; expected a column of {EXPECTED[column.kind]}"
    if column.option:
        typed = f"type for example {column.option}={fitting[0]}" if fitting else ""
        hint += f"; {typed or f'{column.option} says which it is'}"
    return UserError(f"{where} {reason}; its columns: {listed}{hint}{'' if name in kinds else fit}")


def _fit(names: Sequence[str], matched: Collection[str]) -> str:
    """Return which task reads such columns, or nothing; not the one that has matched them all."""
    lower = {name.lower() for name in names}
    known = {name.lower() for name in matched}
    fitting = (task for task, columns in READ_BY.items() if columns <= lower)
    task = next((task for task in fitting if not READ_BY[task] <= known), None)
    return "" if task is None else f"; such columns are read by task={task}"


EXPECTED: Mapping[Kind, str] = {
    "image": "images or of paths to files beside the table (not of lists of pixels, nor base64)",
    "label": "classes, as names or integers",
    "text": "text",
    "number": "numbers",
    "messages": "text or lists of messages",
    "list": "lists",
}


def _is(rows: Any, name: str, kind: Kind) -> bool:
    """Whether the cells of a column can be read as a kind."""
    return KINDS[kind](_feature(rows, name))


def _feature(rows: Any, name: str) -> Any:
    return (rows.features or {}).get(name)


def _dtype(feature: Any) -> str:
    return str(getattr(feature, "dtype", ""))


def _is_text(feature: Any) -> bool:
    return _dtype(feature) in ("string", "large_string")


def _is_label(feature: Any) -> bool:
    dtype = _dtype(feature)
    return (
        hasattr(feature, "names")
        or _is_text(feature)
        or dtype.startswith(("int", "uint", "bool", "float", "double"))  # maybe whole numbers
    )


def _is_number(feature: Any) -> bool:
    # numbers may be written as text; what is none is told by its row
    return _dtype(feature).startswith(("int", "uint", "float", "double", "string", "large_string"))


def _is_image(feature: Any) -> bool:
    import datasets

    struct = isinstance(feature, Mapping) and "bytes" in feature
    return isinstance(feature, datasets.Image) or struct or "binary" in _dtype(feature)


def _is_list(feature: Any) -> bool:
    """Whether cells are lists, or texts that may hold them."""
    import datasets

    return _is_text(feature) or isinstance(feature, datasets.List | datasets.LargeList | list)


KINDS: Mapping[Kind, Callable[[Any], bool]] = {
    "image": _is_image,
    "label": _is_label,
    "text": _is_text,
    "number": _is_number,
    "messages": _is_list,
    "list": _is_list,
}


def _kind_of(rows: Any, name: str) -> str:
    """Return the type of a column in words."""
    feature = _feature(rows, name)
    if _is_image(feature):
        return "images"
    if hasattr(feature, "names"):
        return f"{len(feature.names)} classes"
    return _dtype(feature) or type(feature).__name__.lower()
