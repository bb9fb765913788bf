"""The output folder of an earlier build: changed sources of pages rebuild everything."""

from __future__ import annotations

import ast
import json
from importlib.util import find_spec
from pathlib import Path

import pytest

from moesuite.leaderboard.site import output_folder
from moesuite.leaderboard.site.build import build
from moesuite.leaderboard.site.output_folder import INDEX, KEPT, ROOMS, generator
from tests.leaderboard.boards import contents, example


def imported(module: str, known: set[str]) -> set[str]:
    """Add a module to those known, and all of the package that importing it imports."""
    spec = find_spec(module)
    if module in known or spec is None or spec.origin is None:
        return known
    known.add(module)
    for node in ast.parse(Path(spec.origin).read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("moesuite."):
            imported(str(node.module), known)
            submodules = [f"{node.module}.{name.name}" for name in node.names]
            for submodule in filter(is_module, submodules):
                imported(submodule, known)
    return known


def is_module(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except ModuleNotFoundError:  # of a name in a module
        return False


def test_pages_depend_on_no_other_room() -> None:
    modules = imported("moesuite.leaderboard.site.build", set())
    rooms = {module.split(".")[1] for module in modules}
    assert {"records", "statistics", "config", "leaderboard"} <= rooms <= {*ROOMS}


@pytest.mark.parametrize("room", ROOMS)
def test_a_change_in_a_room_of_the_pages_is_noticed(
    room: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = generator()
    place = output_folder._place(f"moesuite.{room}")
    source = place if place.is_file() else next(iter(sorted(place.rglob("*.py"))))
    read = Path.read_bytes
    changed = b"# changed"
    monkeypatch.setattr(Path, "read_bytes", lambda p: read(p) + changed * (p == source))
    generator.cache_clear()
    try:
        assert generator() != before
    finally:
        monkeypatch.undo()
        generator.cache_clear()


def test_a_folder_of_an_earlier_version_is_built_anew(runs: Path, tmp_path: Path) -> None:
    """Entries and benchmarks of another form are kept, and a page that is no longer written."""
    out = tmp_path / "site"
    build([str(runs)], out)
    whole = contents(out)
    kept = out / KEPT
    index = json.loads((kept / INDEX).read_text(encoding="utf-8"))
    index["outputs"]["mine"].append("tasks/gone.html")
    (kept / INDEX).write_text(
        json.dumps({**index, "generator": "of an earlier version"}), encoding="utf-8"
    )
    for path in [*kept.glob("entries/*.json"), *kept.glob("boards/*.json")]:
        path.write_text('{"data": "sha256:0", "paper": ""}', encoding="utf-8")
    for name in ("tasks/mine.html", "tasks/gone.html"):
        (out / name).write_text("of an earlier version", encoding="utf-8")
    assert build([str(runs)], out).read == len(example())
    assert contents(out) == whole
