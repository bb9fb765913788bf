"""Which tables of a folder are one data set: each split once, at whatever depth, in one format."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from pathlib import Path

from moesuite.errors import UserError
from moesuite.sources.fingerprint import content_hashes
from moesuite.sources.layout import (
    COMPRESSED,
    READ_BY,
    Assigned,
    homes,
    is_paper,
    listed,
    role_of,
    split_of,
    suffix_of,
)

CODE = (".py", ".sh", ".bat", ".ipynb", ".md", ".rst", ".yaml", ".yml", ".toml", ".cfg", ".log")


def without_packed(files: Iterable[Path]) -> list[Path]:
    """Return each file once: not train.csv.gz beside train.csv."""
    once: dict[Path, Path] = {}
    for file in sorted(files, key=lambda file: (_is_packed(file), file)):
        once.setdefault(file.with_suffix("") if _is_packed(file) else file, file)
    return sorted(once.values())


def _is_packed(file: Path) -> bool:
    return file.suffix.lower() in COMPRESSED


def of_one_format(
    tables: Iterable[Path], folder: Path, declared: Mapping[str, str], formats: Sequence[str]
) -> list[Path]:
    """Return the tables of each split in one format: the first of those that most splits have.

    Args:
        tables: of a data set, maybe several times in several formats.
        folder: the source.
        declared: name of each role's split.
        formats: suffixes, the best first.
    """
    splits: dict[str, dict[str, list[Path]]] = {}
    for file in tables:
        name = split_of(file, folder, declared.values()) or ""
        same = splits.setdefault(role_of(name) or name, {})
        same.setdefault(suffix_of(file), []).append(file)
    counts = Counter(chain.from_iterable(same for name, same in splits.items() if name))
    ranked = sorted(formats, key=lambda suffix: -counts[suffix])
    return sorted(chain(*(same[min(same, key=ranked.index)] for same in splits.values())))


def at_any_depth(tables: Sequence[Path], folder: Path, declared: Mapping[str, str]) -> list[Path]:
    """Return the tables of the folder's data set, those of splits that lie deeper with them.

    Raises:
        UserError: for several data sets, and for a split that may belong to another one.
    """
    sets = homes(tables, folder, declared.values())
    top = sets.pop("", [])
    there = _roles(top, folder, declared)
    deeper = {
        home: files
        for home, files in sets.items()
        if not top or _roles(files, folder, declared) & {"train", "test"} - there
    }
    if len(deeper) > 1 and not there:
        raise UserError(
            f"task.source={folder}: {len(deeper)} data sets in one folder: {listed([*deeper])}; "
            f"expected one; type for example task.source={folder / next(iter(deeper))}"
        )
    more = [*chain(*deeper.values())]
    if len(deeper) > 1 or _roles(more, folder, declared) & there:
        lacking = [f for f in more if role_of(split_of(f, folder, declared.values()) or "")]
        names = listed([str(file.relative_to(folder)) for file in [*top, *lacking]])
        raise UserError(
            f"task.source={folder}: splits at several depths: {names}; expected each split once, "
            "or all files of one data set in one folder; give that folder, or move the others away"
        )
    return sorted([*top, *more])


def _roles(files: Iterable[Path], folder: Path, declared: Mapping[str, str]) -> set[str]:
    """Return the roles that the names of files say."""
    names = (split_of(file, folder, declared.values()) or "" for file in files)
    return {role for name in names if (role := role_of(name))}


def check_test(
    assigned: Assigned,
    files: Iterable[Path],
    folder: Path,
    declared: Mapping[str, str],
    images: bool,
) -> None:
    """Raise `UserError` where a file is a test split by its name, and another one would be scored.

    Args:
        assigned: what is read.
        files: of the folder.
        folder: the source.
        declared: name of each role's split.
        images: whether the family reads images: those of a test split often have no labels.
    """
    scored = assigned.labels.get("test", "").split(", ")[0]
    if role_of(declared.get("test", "test")) != "test" or (scored and role_of(scored) != "val"):
        return
    ignored = (*CODE, *(READ_BY["imagenet"] if images else ()))
    tests = [
        str(file.relative_to(folder))
        for file in files
        if not is_paper(file) and suffix_of(file) not in ignored
        if role_of(split_of(file, folder, declared.values()) or "") == "test"
    ]
    if tests:
        instead = f"{scored} would be scored" if scored else "a part of train would be scored"
        suffix = suffix_of(next(chain.from_iterable(assigned.roles.values())))
        raise UserError(
            f"task.source={folder}: a test split that is not read, and {instead}: {listed(tests)}; "
            f"expected it beside the others, as test{suffix}; to do without it, move it away"
        )


def repeated(roles: Mapping[str, Sequence[Path]], folder: Path) -> list[str]:
    """Return a sentence for each role that reads the same contents more than once."""
    notes = []
    for role, files in roles.items():
        sizes = Counter(file.stat().st_size for file in files)
        alike = [file for file in files if sizes[file.stat().st_size] > 1]
        if count := len(alike) - len({*content_hashes(alike, folder)}):
            notes.append(f"{count:,} of {len(files):,} files of {role} repeat others: read twice")
    return notes
