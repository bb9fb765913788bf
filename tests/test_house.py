"""The rules of the house: short files, small rooms, and imports that go one way."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT

PACKAGES = ("moesuite", "tasks", "leaderboard", "benchmarks")
FOLDERS = (*PACKAGES, "tests")
LONGEST_FILE = 250
LONGEST_FUNCTION = 50
LARGEST_ROOM = 10
CATALOGUE = ROOT / "moesuite" / "routers"  # one file a router: it may grow


def modules(*folders: str) -> list[Path]:
    return [path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]


def imported(path: Path) -> Iterator[str]:
    """Yield the dotted names that a file imports.

    `a.b` for `import a.b`, `a.b.c` for `from a.b import c`.
    """
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def under(name: str, package: str) -> bool:
    return name == package or name.startswith(f"{package}.")


def test_files_are_short() -> None:
    lengths = {path: path.read_text(encoding="utf-8").count("\n") for path in modules(*FOLDERS)}
    assert {path: length for path, length in lengths.items() if length > LONGEST_FILE} == {}


def test_functions_are_short() -> None:
    """From the first statement after the docstring to the last line."""
    long = {}
    for path in modules(*PACKAGES):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.FunctionDef):
                continue
            documented = ast.get_docstring(node) is not None and len(node.body) > 1
            first, last = node.body[1 if documented else 0], node.body[-1].end_lineno or 0
            if last - first.lineno >= LONGEST_FUNCTION:
                long[f"{path}:{node.name}"] = last - first.lineno + 1
    assert long == {}


def test_a_room_holds_at_most_ten_modules() -> None:
    """What every import of a folder reads (`__init__`) and fixtures (`conftest`) do not count."""
    rooms: dict[Path, list[str]] = {}
    for path in modules(*FOLDERS):
        if path.stem not in ("__init__", "conftest") and path.parent != CATALOGUE:
            rooms.setdefault(path.parent, []).append(path.name)
    assert {room: names for room, names in rooms.items() if len(names) > LARGEST_ROOM} == {}


def test_texts_are_read_and_written_by_their_encoding() -> None:
    """Ruff's PLW1514 sees only those paths whose type it can tell."""
    bare = []
    for path in modules(*FOLDERS):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
                continue
            named = any(word.arg in ("encoding", None) for word in node.keywords)
            # by position: after nothing, and after the text
            if {"read_text": 0, "write_text": 1}.get(node.func.attr) == len(
                node.args
            ) and not named:
                bare.append(f"{path}:{node.lineno}")
    assert bare == []


LEADERBOARD_MAY_IMPORT = (
    "moesuite.leaderboard",
    "moesuite.records",
    "moesuite.statistics",
    "moesuite.config.schema",
    "moesuite.config.roles",
    "moesuite.discovery",
    "moesuite.config.cli",
    "moesuite.errors",
)
TASKS_MAY_IMPORT = (
    "moesuite.task",
    "moesuite.tasks",
    "moesuite.sources",
    "moesuite.errors",
    "moesuite.records.metrics",
    "moesuite.records.store",  # writes a file whole or not at all
)
ROUTERS_MAY_IMPORT = (
    "moesuite.routing",
    "moesuite.config.options",  # the catalogue builds by name
    "moesuite.discovery",
    "moesuite.errors",
)
MAY_IMPORT = {
    "leaderboard": LEADERBOARD_MAY_IMPORT,
    "tasks": TASKS_MAY_IMPORT,
    "moesuite/routers": ROUTERS_MAY_IMPORT,
}


@pytest.mark.parametrize("folder", MAY_IMPORT)
def test_folders_import_only_what_their_contract_allows(folder: str) -> None:
    """Import-linter reads `moesuite` only: mapped folders are outside its view."""
    for path in modules(folder):
        for name in imported(path):
            allowed = any(under(name, package) for package in MAY_IMPORT[folder])
            assert allowed or not under(name, "moesuite"), (path, name)


def test_the_leaderboard_imports_no_heavy_library() -> None:
    for path in modules("leaderboard"):
        for name in imported(path):
            assert name.split(".")[0] not in ("torch", "lightning", "timm"), (path, name)


def test_the_rooms_of_the_leaderboard_import_one_way() -> None:
    order = ("columns", "gate", "ingest", "ranking", "site", "separation")
    assert {path.parent.name for path in (ROOT / "leaderboard").glob("*/__init__.py")} <= {*order}
    for place, room in enumerate(order):
        for path in modules(f"leaderboard/{room}"):
            for name in imported(path):
                for later in order[place + 1 :]:
                    assert not under(name, f"moesuite.leaderboard.{later}"), (path, name)


def test_a_task_family_imports_no_other() -> None:
    """Except for `text`, which families of texts share."""
    families = {path.parent.name for path in (ROOT / "tasks").glob("*/task.py")}
    assert {"vision", "language"} <= families
    for family in sorted({*families, "text"}):
        for path in modules(f"tasks/{family}"):
            for name in imported(path):
                for other in families - {family}:
                    assert not under(name, f"moesuite.tasks.{other}"), (path, name)


def test_no_test_imports_another() -> None:
    """What two of them need is a module of its own: tests/helpers.py, or one in their room."""
    for path in modules("tests"):
        for name in imported(path):
            shared = not any(part.startswith("test_") for part in name.split(".")[1:])
            assert shared or not under(name, "tests"), (path, name)


def test_patches_are_of_names_that_exist() -> None:
    """With `raising=False` a patch of a misspelt name does nothing, and the test passes."""
    for path in modules("tests"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func).endswith(".setattr"):
                assert "raising" not in {word.arg for word in node.keywords}, (path, node.lineno)
