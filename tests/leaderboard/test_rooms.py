"""The rooms of the leaderboard: each imports only rooms below it."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import moesuite.leaderboard.site

ROOT = Path(moesuite.leaderboard.site.__file__).parents[1]
PREFIX = "moesuite.leaderboard."
BELOW = {
    "columns": {"columns"},
    "gate": {"gate"},
    "ingest": {"columns", "gate", "ingest"},
    "ranking": {"columns", "ingest", "ranking"},
    "site": {"columns", "ingest", "ranking", "site"},
    "separation": {"ingest", "ranking", "reading", "separation"},
}


def imports(path: Path) -> set[str]:
    """Return the rooms of the leaderboard that a module imports."""
    nodes = [
        n
        for n in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(n, ast.ImportFrom)
    ]
    rooms = {str(n.module).removeprefix(PREFIX) for n in nodes if str(n.module).startswith(PREFIX)}
    names = [n.names for n in nodes if f"{n.module}." == PREFIX]
    return {room.split(".")[0] for room in rooms} | {alias.name for of in names for alias in of}


def test_every_room_has_its_place() -> None:
    folders = {path.name for path in ROOT.iterdir() if (path / "__init__.py").exists()}
    assert folders == BELOW.keys()


@pytest.mark.parametrize("room", BELOW)
def test_a_room_imports_rooms_below_it_only(room: str) -> None:
    modules = sorted((ROOT / room).glob("*.py"))
    assert modules
    for path in modules:
        assert imports(path) <= BELOW[room], path
