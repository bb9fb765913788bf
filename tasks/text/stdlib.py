"""Source code of Python's standard library as data: text, and pairs of docstring and code."""

from __future__ import annotations

import ast
import hashlib
import sys
import sysconfig
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

LEFT_OUT = {
    "test",
    "tests",
    "idle_test",
    "site-packages",
    "dist-packages",
    "__pycache__",
    "_bundled",
}
SHORTEST = 20  # characters of a docstring; shorter ones say too little


@dataclass(frozen=True)
class Library:
    """Source files of the standard library.

    Attributes:
        files: contents by role.
        fingerprint: of the files and their split.
        description: one line for the record.
    """

    files: Mapping[str, list[bytes]]
    fingerprint: str
    description: str


def read_library(shares: Mapping[str, float]) -> Library:
    """Read the standard library without its tests, split by top-level module.

    Modules are assigned in the order of their names' hashes: to the first role of `shares` whose
    share of the bytes has room, else to train.

    Args:
        shares: of the bytes for each role but train, each in (0, 1).
    """
    root = Path(sysconfig.get_paths()["stdlib"])
    paths = [
        path
        for path in sorted(root.rglob("*.py"))
        if not LEFT_OUT & set(path.relative_to(root).parts)
    ]
    digest, modules = hashlib.sha256(), dict[str, list[bytes]]()
    for path in paths:
        name, content = path.relative_to(root), path.read_bytes()
        digest.update(f"{name.as_posix()} {len(content)}\n".encode() + content)
        modules.setdefault(name.parts[0].removesuffix(".py"), []).append(content)
    files: dict[str, list[bytes]] = {"train": [], **{role: [] for role in shares}}
    total = sum(map(len, chain.from_iterable(modules.values())))
    room = {role: share * total for role, share in shares.items()}
    for module in sorted(modules, key=lambda name: hashlib.sha256(name.encode()).hexdigest()):
        size = sum(len(content) for content in modules[module])
        role = next((role for role in room if size <= room[role]), "train")
        if role in room:
            room[role] -= size
        digest.update(f"{module}: {role}\n".encode())
        files[role] += modules[module]
    python = sys.version.split()[0]
    about = f"{len(paths)} source files of the standard library of Python {python}, split by module"
    return Library(files, f"sha256:{digest.hexdigest()}", about)


def documented(library: Library) -> dict[str, list[tuple[str, str]]]:
    """Return pairs of a docstring's first paragraph and the code of its function or class, by role.

    The code lacks its docstring. A docstring or a code that occurs more than once in the library is
    in no pair: it would have several right answers, or be in two splits.
    """
    pairs = {
        role: list(chain.from_iterable(map(_pairs, files))) for role, files in library.files.items()
    }
    every = list(chain.from_iterable(pairs.values()))
    queries = Counter(query for query, _ in every)
    codes = Counter(code for _, code in every)
    return {
        role: [(query, code) for query, code in role_pairs if queries[query] == codes[code] == 1]
        for role, role_pairs in pairs.items()
    }


def _pairs(file: bytes) -> Iterator[tuple[str, str]]:
    """Yield the pairs of a file; nothing if this Python cannot parse it."""
    try:
        tree, lines = ast.parse(file), file.decode().splitlines()
    except (SyntaxError, UnicodeDecodeError):
        return
    for node in ast.walk(tree):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            continue
        text = ast.get_docstring(node)
        query = " ".join((text or "").split("\n\n")[0].split())
        if len(query) < SHORTEST or len(node.body) < 2:
            continue
        docstring = node.body[0]
        code = (
            lines[node.lineno - 1 : docstring.lineno - 1]
            + lines[docstring.end_lineno or 0 : node.end_lineno]
        )
        yield query, "\n".join(line[node.col_offset :] for line in code)
