"""Fingerprints are of contents, whatever sizes and dates say; the cache is read while safe."""

from __future__ import annotations

import gzip
import io
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from moesuite.errors import UserError
from moesuite.sources import fingerprint as module
from moesuite.sources.fingerprint import content_hashes, fingerprint
from moesuite.sources.source import HubSource
from tests.sources.files import TRAIN_TEST, write

FILES = {"train.csv": "text\nto be\n", "test.csv": "text\nor not\n"}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MOESUITE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a file be settled as soon as it is written, so that its hash is cached at once."""
    monkeypatch.setattr(module, "TICK", -(10**18))


def of(folder: Path, **roles: str) -> str:
    splits = {role: [("", folder / name)] for role, name in (roles or ROLES).items()}
    return fingerprint(splits, folder).value


ROLES = {"train": "train.csv", "test": "test.csv"}


def _same_date(path: Path, content: str) -> None:
    """Overwrite a file in place and give it its old date."""
    before = path.stat()
    path.write_text(content, encoding="utf-8")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    now = path.stat()
    assert (now.st_size, now.st_mtime_ns, now.st_ino) == (
        before.st_size,
        before.st_mtime_ns,
        before.st_ino,
    )


def _replaced(path: Path, content: str) -> None:
    """Put another file of the same size and date in its place."""
    before = path.stat()
    (new := path.with_suffix(".new")).write_text(content, encoding="utf-8")
    os.utime(new, ns=(before.st_atime_ns, before.st_mtime_ns))
    new.replace(path)


@pytest.mark.usefixtures("settled")
@pytest.mark.parametrize(
    "change", [lambda p, c: p.write_text(c, encoding="utf-8"), _same_date, _replaced]
)
def test_changed_contents_of_equal_size(change: Callable[[Path, str], Any], tmp_path: Path) -> None:
    folder = write(tmp_path / "own", FILES)
    before = of(folder)
    assert of(folder) == before and before.startswith("sha256:")
    time.sleep(0.02)  # a tick of the clock of files
    change(folder / "train.csv", "text\nto BE\n")
    assert of(folder) != before


def test_what_it_depends_on(tmp_path: Path) -> None:
    folder = write(tmp_path / "own", FILES)
    before = of(folder)
    folder.rename(tmp_path / "renamed")
    assert of(tmp_path / "renamed") == before  # not on where the folder is
    (tmp_path / "renamed" / "train.csv").rename(tmp_path / "renamed" / "a.csv")
    assert of(tmp_path / "renamed", train="a.csv", test="test.csv") == before  # nor on its names
    assert of(tmp_path / "renamed", train="test.csv", test="a.csv") != before  # but on roles
    named = {"train": [("cat", tmp_path / "renamed" / "a.csv")]}
    other = {"train": [("dog", tmp_path / "renamed" / "a.csv")]}
    assert fingerprint(named, folder) != fingerprint(other, folder)  # and what is read from paths


@pytest.mark.usefixtures("settled")
def test_a_file_is_hashed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write(tmp_path / "own", FILES)
    before = of(folder)
    monkeypatch.setattr(module, "digest", lambda path: pytest.fail("hashed again"))
    assert of(folder) == before


def test_the_hash_of_a_file_that_may_be_written_still_is_not_kept(
    tmp_path: Path, cache: Path
) -> None:
    folder = write(tmp_path / "own", FILES)
    assert of(folder).startswith("sha256:") and not list(cache.rglob("*.json"))


@pytest.mark.usefixtures("settled")
@pytest.mark.parametrize("content", ["", "[1]", "{", '{"a": 1}', '{"a": [1, 2, 3]}'])
def test_a_broken_index_is_made_again(content: str, tmp_path: Path, cache: Path) -> None:
    folder = write(tmp_path / "own", FILES)
    before = of(folder)
    (index,) = cache.rglob("*.json")
    index.write_text(content, encoding="utf-8")
    assert of(folder) == before and len(json.loads(index.read_text(encoding="utf-8"))) == 2


@pytest.mark.usefixtures("settled")
def test_a_cache_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write(tmp_path / "own", FILES)
    before = of(folder)
    (tmp_path / "file").touch()
    monkeypatch.setenv("MOESUITE_CACHE", str(tmp_path / "file"))
    assert of(folder) == before


def test_a_link_to_nothing(tmp_path: Path) -> None:
    (tmp_path / "train.csv").symlink_to(tmp_path / "gone.csv")
    with pytest.raises(UserError, match=r"train.csv cannot be read: No such file or directory"):
        content_hashes([tmp_path / "train.csv"], tmp_path)


def test_two_processes_at_once(tmp_path: Path, cache: Path) -> None:
    folder = write(tmp_path / "own", {f"{n}.csv": str(n) for n in range(50)})
    code = (
        "import sys; from pathlib import Path; from moesuite.sources import fingerprint as m; "
        "m.TICK = -10**18; folder = Path(sys.argv[1]); "
        "print(m.fingerprint({'': [('', f) for f in sorted(folder.iterdir())]}, folder).value)"
    )
    command = [sys.executable, "-c", code, str(folder)]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    values = {process.communicate(timeout=120)[0] for process in both}
    assert len(values) == 1 and values.pop().startswith("sha256:")
    (index,) = cache.rglob("*.json")
    assert len(json.loads(index.read_text(encoding="utf-8"))) == 50


def test_of_a_large_source_a_sample_is_hashed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write(tmp_path / "own", {f"{n}.csv": "x" * 10 for n in range(6)})
    files = sorted(folder.iterdir())
    monkeypatch.setattr(module, "LARGE", 59)
    monkeypatch.setattr(module, "SAMPLE", 2)
    before = fingerprint({"": [("", file) for file in files]}, folder)
    assert before.value.startswith("sample:") and before.note == (
        "fingerprint of 0 GiB: contents of 2 of 6 files, size and time of change of all"
    )
    (folder / "0.csv").write_text("y" * 10, encoding="utf-8")  # in the sample
    changed = fingerprint({"": [("", file) for file in files]}, folder)
    os.utime(folder / "1.csv", ns=(0, 0))  # not in the sample: its date counts
    dated = fingerprint({"": [("", file) for file in files]}, folder)
    assert len({before.value, changed.value, dated.value}) == 3


def test_long_hashing_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write(tmp_path / "own", FILES)
    of(folder)
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(module, "TOLD", 20)
    of(folder)
    said = capsys.readouterr().err
    assert "hashing 2 files, 0.0 GiB, once" in said and "hashed in 0 s; kept in" in said


def _parquet(words: str) -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.table({"text": [words]}), sink, compression="none", use_dictionary=False)
    return sink.getvalue()


FORMATS: dict[str, Callable[[str], bytes]] = {
    "parquet": _parquet,
    "csv": lambda words: f"text\n{words}\n".encode(),
    "jsonl": lambda words: json.dumps({"text": words}).encode() + b"\n",
    "json": lambda words: json.dumps([{"text": words}]).encode(),
    "csv.gz": lambda words: gzip.compress(f"text\n{words}\n".encode(), 0, mtime=0),
}


@pytest.mark.parametrize("suffix", FORMATS)
def test_rows_are_those_of_the_contents(suffix: str, tmp_path: Path) -> None:
    """Other words at the same path, of equal size and date, are read anew."""

    def read(words: str) -> tuple[list[str], str, int]:
        content = FORMATS[suffix](words)
        write(tmp_path / "own", {f"{split}.{suffix}": content for split in ("train", "test")})
        os.utime(tmp_path / "own" / f"train.{suffix}", ns=(10**18, 10**18))
        source = HubSource(source=str(tmp_path / "own")).load(TRAIN_TEST)
        return list(source.splits["train"]["text"]), source.fingerprint, len(content)

    first, second, third = read("to be"), read("or no"), read("to be")
    assert first[2] == second[2] and first[0] == ["to be"] and second[0] == ["or no"]
    assert first == third and first[1] != second[1]
