"""What names of splits mean, and which split plays which role.

The words are those of Hugging Face `datasets`
(https://huggingface.co/docs/hub/datasets-file-names-and-splits).
"""

from __future__ import annotations

import re
import shlex
import string
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain

from moesuite.errors import UserError

ROLES = ("train", "val", "test")
WORDS: Mapping[str, tuple[str, ...]] = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation", "dev", "development"),
    "test": ("test", "testing", "eval", "evaluation", "heldout"),
}
WHOLE = "."  # as the name of the training split: all of a folder, whose folders are classes
PHRASE = ("of", "for", "the", "and")  # test_of_time is no test split
WORD = re.compile(r"[-_.\s]+")  # between the words of a name
ENDS = "|".join(word.title() for word in chain(*WORDS.values()))
HUMP = re.compile(rf"(?<=[a-z])(?=({ENDS})\d*$)")  # before the last word of myTrain
AFTER = re.compile(r"(set|data|split)$")  # trainset, testdata


def role_of(name: str) -> str | None:
    """Return the role that a name of a split says: train, val, test, or None.

    The name is a word of `WORDS`, or begins or ends with one: `ptb.train`, `test_prefs`; a number
    at its end says nothing: `val2017`. So does what it is a part of: `trainset`, `testdata`.
    """
    words = [
        AFTER.sub("", word.rstrip(string.digits)) for word in WORD.split(spelled(name).lower())
    ]
    ends = (words[-1],) if words[1:2] and words[1] in PHRASE else (words[0], words[-1])
    said = {role for role, names in WORDS.items() for end in ends if end in names}
    return said.pop() if len(said) == 1 else None


def spelled(name: str) -> str:
    """Return a name with its last word told from the one before: my_Train of myTrain."""
    return HUMP.sub("_", name)


def _synonym(name: str) -> str:
    """Return a name with its words for a split as roles: val_matched of dev-matched."""
    return "_".join(role_of(word) or word for word in WORD.split(name.lower()))


def choose(
    names: Sequence[str], declared: Mapping[str, str], also_val: bool = True
) -> dict[str, list[str]]:
    """Return the names of the splits that play each role; roles without one are missing.

    Args:
        names: splits that are there.
        declared: name of each role's split.
        also_val: take a validation split that is not declared.
    """
    chosen: dict[str, list[str]] = {}
    for role, wanted in declared.items():  # the declared name itself
        if alike := [name for name in names if name.lower() == wanted.lower()]:
            chosen[role] = alike
    taken = set(chain(*chosen.values()))
    for role, wanted in declared.items():  # dev_matched for val_matched
        alike = [n for n in names if _synonym(n) == _synonym(wanted) and n not in taken]
        if role not in chosen and alike:
            chosen[role] = alike
    for role, wanted in declared.items():  # what means the same
        if role not in chosen and (meaning := role_of(wanted)):
            _take(chosen, role, meaning, names)
    if "test" in declared:  # what is usually scored
        for meaning in ("test", "val"):
            if "test" not in chosen:
                _take(chosen, "test", meaning, names)
        if "test" not in chosen and "val" in chosen:
            chosen["test"] = chosen.pop("val")
    if also_val and "val" not in declared and "val" not in chosen:
        _take(chosen, "val", "val", names)
    return {role: chosen[role] for role in sorted(chosen, key=[*ROLES, *chosen].index)}


def _take(chosen: dict[str, list[str]], role: str, meaning: str, names: Sequence[str]) -> None:
    """Give `role` the splits of a meaning that no other role has."""
    if free := [n for n in names if role_of(n) == meaning and n not in chain(*chosen.values())]:
        chosen[role] = free


def check_declared(names: Iterable[str], declared: Mapping[str, str], place: str) -> None:
    """Raise `UserError` for a declared name that no split has and that means none.

    Args:
        names: splits that are there.
        declared: name of each role's split.
        place: the source, for the reader.
    """
    names = list(dict.fromkeys(names))
    lower = {name.lower() for name in names}
    for role, wanted in declared.items():
        if wanted != WHOLE and role_of(wanted) is None and wanted.lower() not in lower:
            there = f"the splits are {', '.join(names)}" if any(names) else "there are no splits"
            example = option_of(role, next((n for n in names if role_of(n) == role), role))
            raise UserError(f"{place}: no split {wanted!r}; {there}; type for example {example}")


def replaced(chosen: Mapping[str, Sequence[str]], declared: Mapping[str, str]) -> list[str]:
    """Return a sentence for each split of a name of its own that another one is read for."""
    usual = set(chain(*WORDS.values()))
    return [
        f"no split {wanted}: {', '.join(chosen[role])} is read for it"
        for role, wanted in declared.items()
        if role in chosen and wanted.lower() not in usual | {WHOLE} and wanted not in chosen[role]
        if _synonym(wanted) not in map(_synonym, chosen[role])
    ]


def option_of(role: str, name: str) -> str:
    """Return what to type to give a role its split, for a shell."""
    plain = re.fullmatch(r"[\w./-]+", name, re.ASCII)
    return shlex.quote(f"task.splits.{role}={name if plain else _quoted(name)}")


def options_of(splits: Mapping[str, str]) -> str:
    """Return what to type to give several roles their splits, for a shell."""
    return " ".join(option_of(role, name) for role, name in splits.items())


def _quoted(name: str) -> str:
    escaped = name.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def said(labels: Mapping[str, str], declared: Mapping[str, str]) -> list[str]:
    """Return sentences on the splits that play the roles, where that is not plain."""
    chosen = {role: names.split(", ") for role, names in labels.items()}
    joined = [f"{role} is {names} together" for role, names in labels.items() if ", " in names]
    return [*scored_split(labels, declared), *joined, *replaced(chosen, declared)]


def scored_split(
    labels: Mapping[str, str | Sequence[str]], declared: Mapping[str, str]
) -> list[str]:
    """Return a sentence where another split than the test split is scored."""
    name = labels.get("test", "test")
    name = name if isinstance(name, str) else ", ".join(name)
    scored = role_of(name.split(", ")[0])
    if scored == "val" and role_of(declared.get("test", "test")) != "val":
        return [f"no test split: the validation split ({name}) is scored"]
    return []
