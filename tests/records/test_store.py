"""The records folder is written and laid out in one module."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from moesuite.errors import UserError
from moesuite.records import store
from moesuite.records.certificate import Example, Looked, Verdict
from moesuite.records.record import RunRecord
from tests.records.minimal import record

ROOT = Path(__file__).parents[2]
ENGINE = sorted((ROOT / "moesuite").rglob("*.py")) + sorted((ROOT / "tasks").rglob("*.py"))
READERS = sorted((ROOT / "leaderboard" / "ingest").rglob("*.py"))
# what else writes files, and where: none of these folders is a records folder
OTHER_FOLDERS = {
    "moesuite/sources/cache.py": "cache of prepared data",
    "moesuite/sources/tables.py": "cache of decompressed files",
    "tasks/vision/splits.py": "cache of pixels",
    "moesuite/tune/journal.py": "the lock of a study",
    "tasks/text/tokenizer.py": "cache of tokens",
    "tasks/preferences/backgammon/selfplay.py": "cache of positions",
    "tasks/preferences/backgammon/experts/_gnubg_session.py": "a pipe",
}
NAMES = {
    store.CERTIFICATES,
    store.JOB_LOGS,
    store.ROUTING,
    store.PREDICTIONS,
    store.VERIFIED,
    store.RERUNS,
    store.CHECKPOINT,
    store.START_CHECKPOINT,
}
VERDICT = Verdict(
    verdict="equal",
    reason="r",
    metrics={},
    seeds=0,
    created="2026-01-01T00:00:00+00:00",
    code="c",
    git_commit=None,
    git_dirty=None,
    machine="m",
    version="1",
)


def writes(tree: ast.AST) -> Iterator[int]:
    """Yield the lines that write a file.

    `write_text`, `json.dump`, `open(..., "w")` and the like.
    """
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        name = node.func.attr if isinstance(node.func, ast.Attribute) else ""
        of_path = name in ("write_text", "write_bytes")
        dump = ast.unparse(node.func) in ("json.dump", "torch.save", "pickle.dump", "yaml.dump")
        modes = [arg for arg in node.args if isinstance(arg, ast.Constant)]
        modes += [
            word.value
            for word in node.keywords
            if word.arg == "mode" and isinstance(word.value, ast.Constant)
        ]
        opens = {name, getattr(node.func, "id", "")} & {"open", "fdopen"} and any(
            isinstance(mode.value, str) and set(mode.value) & set("wax") for mode in modes
        )
        if (of_path or dump or opens) and "devnull" not in ast.unparse(node):
            yield node.lineno


def inside_atomic(tree: ast.AST) -> set[int]:
    """Return the lines below `with atomic(...)`, which hands out a temporary file."""
    return {
        line
        for node in ast.walk(tree)
        if isinstance(node, ast.With)
        and any("atomic(" in ast.unparse(item.context_expr) for item in node.items)
        for line in range(node.lineno, (node.end_lineno or node.lineno) + 1)
    }


def test_the_search_finds_every_way_to_write() -> None:
    code = """
path.write_text("x")
json.dump(values, stream)
open("file", "w")
path.open(mode="a")
path.open("rb", errors="replace")
with atomic(path) as part:
    torch.save(state, part)
"""
    tree = ast.parse(code)
    assert sorted(set(writes(tree)) - inside_atomic(tree)) == [2, 3, 4, 5]


def test_only_the_store_writes_into_a_records_folder() -> None:
    found = set()
    for path in ENGINE:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        name = str(path.relative_to(ROOT))
        lines = set(writes(tree)) - inside_atomic(tree)
        found |= {f"{name}:{line}" for line in lines if name not in OTHER_FOLDERS}
        assert lines or name not in OTHER_FOLDERS, f"{name} writes nothing: take it off the list"
    assert not found, "write through moesuite.records.store"


def test_names_of_the_records_folder_are_declared_once() -> None:
    for path in ENGINE + READERS:
        if path == ROOT / "moesuite" / "records" / "store.py":
            continue
        constants = {
            node.value
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
            if isinstance(node, ast.Constant) and isinstance(node.value, str)
        }
        assert not constants & NAMES, path


def test_all_files_of_a_run_lie_beside_its_record(tmp_path: Path) -> None:
    path = store.record_path(tmp_path, "digits", "soft", "abc")
    files = store.RunFiles(path)
    assert files.folder == tmp_path / "digits" / "soft" / "abc"
    assert files.records == tmp_path
    for file in (
        files.checkpoint,
        files.start_checkpoint,
        files.routing,
        files.predictions,
        files.verified,
        files.reruns,
    ):
        assert file.parent == files.folder


def test_a_failed_write_leaves_the_older_file(tmp_path: Path) -> None:
    path = tmp_path / "file.json"
    store.write_text(path, "older")
    with pytest.raises(RuntimeError, match="stop"), store.atomic(path) as part:
        part.write_text("newer", encoding="utf-8")
        raise RuntimeError("stop")
    assert [item.name for item in tmp_path.iterdir()] == ["file.json"]
    assert path.read_text(encoding="utf-8") == "older"


def save(folder: Path, what: RunRecord, overwrite: bool = False, rank: int = 0) -> store.RunFiles:
    files = store.RunFiles(store.record_path(folder, "t", "r", "abc"))
    store.save_run(files, what, [Example(words=["a"], layers=[])], overwrite, rank)
    return files


def test_only_rank_0_writes(tmp_path: Path) -> None:
    files = save(tmp_path, record(), rank=1)
    assert list(tmp_path.iterdir()) == []
    save(tmp_path, record())
    assert store.read_record(files.record) == record()
    looked = Looked.model_validate_json(files.routing.read_text(encoding="utf-8"))
    assert looked.id == record().id and looked.examples[0].words == ["a"]


def test_a_finished_record_of_another_process_stays(tmp_path: Path) -> None:
    files = save(tmp_path, record(status="interrupted"))
    assert store.finished_record(files.record) is None
    save(tmp_path, record(status="ok"))
    save(tmp_path, record(status="failed", seed=1))
    finished = store.finished_record(files.record)
    assert finished is not None and finished.seed == 0
    save(tmp_path, record(seed=1), overwrite=True)
    assert store.read_record(files.record).seed == 1


def test_records_are_listed_without_certificates_studies_and_files_of_runs(tmp_path: Path) -> None:
    files = save(tmp_path, record())
    store.write_verdicts(files, "abc", [VERDICT])
    for folder in (store.CERTIFICATES, store.STUDIES):
        store.write_text(tmp_path / folder / "x.json", "{}")
    assert store.record_paths(tmp_path) == [files.record]
    (files.record.parent / "broken.json").write_text("{", encoding="utf-8")
    assert store.neighbours(files.record) == [record()]


def test_verdicts_are_read_back(tmp_path: Path) -> None:
    files = store.RunFiles(tmp_path / "t" / "r" / "abc.json")
    assert store.read_verdicts(files, "abc") == []
    store.write_verdicts(files, "abc", [VERDICT, VERDICT])
    assert store.read_verdicts(files, "abc") == [VERDICT, VERDICT]
    with pytest.raises(UserError, match="of the run abc"):
        store.read_verdicts(files, "other")
    files.verified.write_text("[]", encoding="utf-8")
    with pytest.raises(UserError, match="holds no verdicts"):
        store.read_verdicts(files, "abc")


def test_reruns_are_removed_after_their_verdict(tmp_path: Path) -> None:
    files = store.RunFiles(tmp_path / "t" / "r" / "abc.json")
    assert not any(files.reruns.rglob(store.CHECKPOINT))
    checkpoint = files.reruns / "code" / "t" / "r" / "abc" / store.CHECKPOINT
    store.write_text(checkpoint, "x")
    assert any(files.reruns.rglob(store.CHECKPOINT))
    store.remove_reruns(files)
    assert not files.reruns.exists()
