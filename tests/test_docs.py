"""README and CONTRIBUTING name the tree as it is."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

from tests.conftest import ROOT

DOCS = ("README.md", "CONTRIBUTING.md")
TREE = re.search(
    r"## Layout\n.*?```\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL
)


def rooms_in_the_readme() -> dict[str, str]:
    """Return the clause of each folder in README's tree, by its path."""
    assert TREE is not None
    rooms, parent = {}, ""
    for line in TREE[1].splitlines():
        indent, name, clause = re.fullmatch(r"( *)(\w+)/ +(.+)", line).groups()  # type: ignore[union-attr]
        parent = parent if indent else name
        rooms[f"{parent}/{name}" if indent else name] = clause
    return rooms


def rooms_in_the_tree() -> set[str]:
    tops = ("moesuite", "tasks", "leaderboard", "benchmarks")
    inner = {path.parent for top in tops for path in (ROOT / top).glob("*/__init__.py")}
    return {*tops, "tests"} | {path.relative_to(ROOT).as_posix() for path in inner}


def test_the_readme_prints_the_tree_with_a_clause_for_each_room() -> None:
    rooms = rooms_in_the_readme()
    assert set(rooms) == rooms_in_the_tree()
    assert all(len(clause) > 10 for clause in rooms.values())


def words_of(document: str) -> list[str]:
    """Return what a document prints as code, and what it links to."""
    text = re.sub(r"```.*?```", "", (ROOT / document).read_text(encoding="utf-8"), flags=re.DOTALL)
    return re.findall(r"`([^`\n]+)`", text) + re.findall(r"\]\((?!http|#)([^)]+)\)", text)


@pytest.mark.parametrize("document", DOCS)
def test_every_path_exists(document: str) -> None:
    folders = tuple(f"{room}/" for room in rooms_in_the_tree() | {".ci"})
    paths = [part for word in words_of(document) for part in word.split()]
    paths = [path for path in paths if path.startswith(folders) and not re.search("my_|<", path)]
    assert len(paths) >= 3
    assert [path for path in paths if not list(ROOT.glob(path.rstrip("/")))] == []


@pytest.mark.parametrize("document", DOCS)
def test_every_dotted_name_exists(document: str) -> None:
    """Of a module, as `moesuite.records.metrics`, or of an attribute of one."""
    code = " ".join(re.findall(r"`([^`\n]+)`", (ROOT / document).read_text(encoding="utf-8")))
    names = re.findall(r"\b(?:moesuite|tests)(?:\.\w+)+", code)
    assert len(names) >= 3
    for name in names:
        module, _, attribute = name.rpartition(".")
        try:
            importlib.import_module(name)
        except ModuleNotFoundError:
            assert hasattr(importlib.import_module(module), attribute), (document, name)


def test_names_in_contributing_are_in_their_files() -> None:
    """`NAME` in `path`: the recipes say where a table or a function is by both."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    named = re.findall(r"`(\w+)` (?:in|of) `([\w/]+\.(?:py|yaml|js|toml))`", text)
    assert len(named) >= 5
    for name, path in named:
        assert re.search(rf"\b{name}\b", Path(ROOT / path).read_text(encoding="utf-8")), (
            name,
            path,
        )
