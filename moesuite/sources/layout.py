"""Which files of a folder belong to which split: by the usual names, in any case.

`train/`, `val-00000-of-00002.parquet`, `ptb.valid.txt`, `dev.tsv`, `Test/`: the words are those of
Hugging Face `datasets` (https://huggingface.co/docs/hub/datasets-file-names-and-splits).
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, takewhile
from pathlib import Path

from moesuite.errors import UserError
from moesuite.sources.roles import WORDS as WORDS
from moesuite.sources.roles import choose as choose
from moesuite.sources.roles import role_of as role_of
from moesuite.sources.roles import spelled

COMPRESSED = (".gz", ".zst", ".bz2", ".xz")
JUNK = ("__MACOSX", "Thumbs.db", "desktop.ini", "lost+found", "__pycache__")  # never data
# what describes data and is none
PAPERS = (
    "readme", "license", "licence", "copying", "notice", "changelog", "changes", "citation",
    "authors", "contributing", "dataset_infos", "dataset_info", "dataset_dict", "state",
    "croissant", "requirements", "index",
)  # fmt: skip
# a task that reads files of these suffixes
READ_BY: Mapping[str, tuple[str, ...]] = {
    "imagenet": (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif"),
    "tinyshakespeare": (".txt", ".tokens", ".text", ".raw"),
}
SHARD = re.compile(r"[-_.]?\d+(-of-\d+(-[0-9a-f]{8,})?)?$")  # of train-0-of-2, train_1, part3
Above = tuple[tuple[int, int], ...]  # device and inode of each folder above


@dataclass(frozen=True)
class Assigned:
    """Files by the role that they play.

    Attributes:
        roles: train, val, test, and whatever else is declared -> files, sorted.
        labels: role -> name of the split in the folder, for the reader.
        unused: files of splits that play no role, or of no split.
    """

    roles: Mapping[str, list[Path]]
    labels: Mapping[str, str] = field(default_factory=dict)
    unused: Sequence[Path] = ()


def list_files(folder: Path) -> list[Path]:
    """Return all files below a folder, sorted; without hidden ones and what systems leave there."""
    return sorted(_walk(folder, ()))


def _walk(folder: Path, above: Above) -> Iterator[Path]:
    files, folders, above = entries_of(folder, above)
    yield from (folder / name for name in files)
    for name in folders:
        yield from _walk(folder / name, above)


def entries_of(folder: Path, above: Above = ()) -> tuple[list[str], list[str], Above]:
    """Return the names of the files and folders in a folder, sorted, and `above` of the latter.

    Links are followed, except back to one of the folders `above` that lead here: it is empty.

    Raises:
        UserError: for a folder that may not be read.
    """
    files, folders = list[str](), list[str]()
    try:
        state = folder.stat()
        if (state.st_dev, state.st_ino) in above:
            return [], [], above
        with os.scandir(folder) as entries:
            for entry in entries:
                if not entry.name.startswith((".", "~$")) and entry.name not in JUNK:
                    (folders if entry.is_dir() else files).append(entry.name)
    except OSError as error:
        raise UserError(
            f"{folder} cannot be read: {error.strerror}; type for example chmod u+rx {folder}"
        ) from None
    return sorted(files), sorted(folders), (*above, (state.st_dev, state.st_ino))


def suffix_of(file: Path) -> str:
    """Return what a file is by its name, lower-case, without compression: .csv of x.CSV.gz."""
    suffixes = [suffix.lower() for suffix in file.suffixes if suffix.lower() not in COMPRESSED]
    return next(reversed(suffixes), "")


def stem_of(file: Path) -> str:
    """Return the name of a file without format, compression and shard: train of train-1.csv.gz."""
    path = Path(file.stem) if file.suffix.lower() in COMPRESSED else file
    return SHARD.sub("", path.stem) or path.stem


def is_paper(file: Path) -> bool:
    """Whether a file describes data, such as README.md or LICENSE."""
    return file.name.split(".")[0].lower() in PAPERS


def split_of(file: Path, folder: Path, declared: Iterable[str] = ()) -> str | None:
    """Return the name of the split that a file belongs to, lower-case, or None.

    It is the nearest folder that is named like a split and nothing else, or the file's own name.

    Args:
        file: below `folder`.
        folder: the source.
        declared: names of splits beside the usual ones.
    """
    exact = {name.lower() for name in chain(declared, *WORDS.values())}
    folders = [part.lower() for part in file.relative_to(folder).parts[:-1]]
    for part in reversed(folders):
        if part in exact:
            return part
    stem = stem_of(file)
    if stem.lower() in exact:
        return stem.lower()
    if role_of(stem) is not None:
        return spelled(stem).lower()
    parts = file.relative_to(folder).parts[:-1]
    return next(
        (spelled(part).lower() for part in reversed(parts) if role_of(part) is not None), None
    )


def assign(
    files: Iterable[Path], folder: Path, declared: Mapping[str, str], also_val: bool = True
) -> Assigned:
    """Give each split that is found its role.

    A split of exactly the declared name comes first, then one whose name means the same. Without
    a test split the validation split is scored.

    Args:
        files: below `folder`.
        folder: the source.
        declared: name of each role's split, for example {train: train, test: validation}.
        also_val: take a validation split that is not declared.
    """
    splits: dict[str, list[Path]] = {}
    strays = []
    files = list(files)
    complete = _complete(files)
    for file in files:
        name = split_of(file, folder, declared.values())
        if file.parent in complete and role_of(stem_of(file)):
            name = spelled(stem_of(file)).lower()  # of test/data/train.txt
        if name is None:
            strays.append(file)
        else:
            splits.setdefault(name, []).append(file)
    names = choose(list(splits), declared, also_val)
    used = set(chain.from_iterable(names.values()))
    unused = chain(strays, *(splits[name] for name in splits if name not in used))
    return Assigned(
        {role: sorted(chain(*(splits[name] for name in names[role]))) for role in names},
        {role: ", ".join(names[role]) for role in names},
        sorted(unused),
    )


def _complete(files: Iterable[Path]) -> set[Path]:
    """Return the folders with a file called train and one to score, whatever is above them."""
    roles: dict[Path, set[str]] = {}
    for file in files:
        stem = stem_of(file).lower()
        roles.setdefault(file.parent, set()).update(r for r in WORDS if stem in WORDS[r])
    return {folder for folder, said in roles.items() if "train" in said and len(said) > 1}


def homes(
    files: Iterable[Path], folder: Path, declared: Iterable[str] = ()
) -> dict[str, list[Path]]:
    """Return files by the folder that holds all splits of a data set, relative to the source.

    Whatever lies below the folder of a split belongs to it: `train/a/1.txt` is at home where
    `test/b/c/2.txt` is.
    """
    exact = {name.lower() for name in chain(declared, *WORDS.values())}
    homes_: dict[str, list[Path]] = {}
    for file in files:
        parts = file.relative_to(folder).parts[:-1]
        whole = takewhile(lambda part: part.lower() not in exact and role_of(part) is None, parts)
        homes_.setdefault("/".join(whole), []).append(file)
    return homes_


def listed(names: Sequence[str], most: int = 5) -> str:
    """Return names with commas, the first few of many."""
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def found_in(path: Path) -> str:
    """Return in words what a file or folder holds, for errors."""
    if path.is_file():
        return f"it is a {suffix_of(path) or 'file without a suffix'}"
    whole = list_files(path)
    if not (files := [file for file in whole if not is_paper(file)]):
        papers = listed([str(file.relative_to(path)) for file in whole])
        return f"it holds only what describes data: {papers}" if papers else "it is empty"
    counts = Counter(suffix_of(file) or "files without a suffix" for file in files)
    kinds = [f"{count:,} {suffix}" for suffix, count in counts.most_common(4)]
    names = listed([str(file.relative_to(path)) for file in files], 3)
    return f"it holds {', '.join(kinds)} ({names}){_fit(counts)}"


def _fit(counts: Mapping[str, int]) -> str:
    """Return which task reads such files, or nothing."""
    suffix = max(counts, key=lambda name: counts[name])
    task = next((task for task, suffixes in READ_BY.items() if suffix in suffixes), None)
    return "" if task is None else f"; such files are read by task={task}"
