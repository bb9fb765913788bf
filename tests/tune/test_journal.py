"""The journal of a study outlives workers that are killed while they hold or write it."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from pathlib import Path

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from moesuite.errors import UserError
from moesuite.tune import journal
from moesuite.tune.heartbeat import this_worker
from moesuite.tune.journal import locked
from moesuite.tune.storage import open_storage

DEAD = f"{this_worker().rpartition(':')[0]}:{2**22 + 1} 0"  # no process has such a number


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    optuna.logging.set_verbosity(optuna.logging.ERROR)


def study(path: Path | str) -> optuna.Study:
    return optuna.create_study(storage=open_storage(str(path)), study_name="s", load_if_exists=True)


@pytest.mark.timeout(30)
@pytest.mark.parametrize("path", ["s.journal", "studies/s.journal"])
@pytest.mark.parametrize("kind", ["ours", "relative link", "link of another machine"])
def test_the_lock_of_a_killed_worker_is_removed(
    kind: str, path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A relative path of the journal, and links that lead nowhere: Optuna waited for ever."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(journal, "GRACE", 60.0 if kind == "ours" else 0.05)
    study(path).tell(study(path).ask(), 0.5)
    lock = Path(f"{path}.lock")
    if kind == "ours":
        lock.write_text(DEAD, encoding="utf-8")
    else:
        lock.symlink_to(path if kind == "relative link" else "/of/another/machine/s.journal")
    study(path).tell(study(path).ask(), 0.7)
    assert [trial.value for trial in study(path).get_trials()] == [0.5, 0.7]
    assert not lock.is_symlink() and not lock.exists()
    assert list(tmp_path.rglob("*.rename")) == []


@pytest.mark.timeout(30)
def test_a_lock_that_is_held_is_waited_for(tmp_path: Path) -> None:
    """Of this process, which lives, and of Optuna's own kind, whose link shows the journal."""
    path = tmp_path / "s.journal"
    ours, order = study(path), list[str]()
    other = JournalFileBackend(str(path))

    def write() -> None:
        ours.set_user_attr("a", 1)
        order.append("written")

    for hold in (lambda: locked(path), lambda: journal_lock(other)):
        order.clear()
        with hold():
            thread = threading.Thread(target=write)
            thread.start()
            time.sleep(0.1)
            order.append("released")
        thread.join()
        assert order == ["released", "written"]


def journal_lock(backend: JournalFileBackend):  # type: ignore[no-untyped-def]
    from optuna.storages.journal._file import get_lock_file

    return get_lock_file(backend._lock)


def test_a_worker_that_was_stopped_leaves_the_lock_of_the_next(tmp_path: Path) -> None:
    path, lock = tmp_path / "s.journal", tmp_path / "s.journal.lock"
    with locked(path):
        lock.write_text("next.machine:1 0", encoding="utf-8")  # it took the lock for left
    assert lock.read_text(encoding="utf-8") == "next.machine:1 0"


def test_of_two_that_remove_a_lock_the_slower_one_puts_a_new_one_back(tmp_path: Path) -> None:
    lock = tmp_path / "s.journal.lock"
    lock.write_text("new", encoding="utf-8")
    journal._remove(lock, (0, 0))  # judged: another file
    assert lock.read_text(encoding="utf-8") == "new" and len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("lost", [1, 7, 40])
def test_a_torn_last_line_loses_at_most_itself(lost: int, tmp_path: Path) -> None:
    """Without its end alone it is whole; torn it is dropped by the next line written."""
    path = tmp_path / "s.journal"
    study(path).set_user_attr("first", 1)
    study(path).set_user_attr("last", 2)
    whole = path.read_bytes()
    path.write_bytes(whole[:-lost])
    assert study(path).user_attrs["first"] == 1  # read as it is
    study(path).set_user_attr("next", 3)
    kept = {"last": 2} if lost == 1 else {}
    assert study(path).user_attrs == {"first": 1, **kept, "next": 3}
    JournalStorage(JournalFileBackend(str(path)))  # whatever else reads it can


def test_a_line_torn_longer_than_a_block_is_dropped(tmp_path: Path) -> None:
    path = tmp_path / "s.journal"
    study(path).set_user_attr("first", 1)
    with path.open("ab") as stream:
        stream.write(b'{"op_code":2,"x":"' + b"y" * 3 * journal.BLOCK)
    study(path).set_user_attr("next", 3)
    assert study(path).user_attrs == {"first": 1, "next": 3}


def test_a_broken_line_before_the_last_is_named(tmp_path: Path) -> None:
    path = tmp_path / "s.journal"
    study(path)
    with path.open("ab") as stream:
        stream.write(b'{"op_code":2,"x{}\n{}\n')
    lines = path.read_bytes().count(b"\n")
    with pytest.raises(UserError, match=rf"line {lines - 1} is no entry of a journal.*study="):
        open_storage(str(path))


def test_processes_that_write_at_once_lose_nothing(tmp_path: Path) -> None:
    path = tmp_path / "s.journal"
    study(path)
    code = (
        "import sys; from pathlib import Path; from moesuite.tune.journal import Journal\n"
        "for n in range(40): Journal(sys.argv[1]).append_logs([{'n': n}])"
    )
    workers = [subprocess.Popen([sys.executable, "-c", code, str(path)]) for _ in range(2)]
    assert [worker.wait() for worker in workers] == [0, 0]
    lines = path.read_text(encoding="utf-8").splitlines()
    assert sum(line.startswith('{"n":') for line in lines) == 80
    assert [file.name for file in tmp_path.iterdir()] == ["s.journal"]
