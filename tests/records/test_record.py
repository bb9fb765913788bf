"""Records: schema, atomic writing, identity."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moesuite.errors import UserError
from moesuite.records.protocol import Protocol
from moesuite.records.record import record_id
from moesuite.records.store import read_record, record_path, write_record
from tests.records.minimal import record

PROTOCOL = Protocol(engine=1, router=1, family=1)


def test_round_trip(tmp_path: Path) -> None:
    path = record_path(tmp_path, "digits", "soft", "abc")
    write_record(path, record())
    assert path == tmp_path / "digits" / "soft" / "abc.json"
    assert read_record(path) == record()


def test_a_router_outside_the_package_is_filed_under_its_class(tmp_path: Path) -> None:
    assert record_path(tmp_path, "t", "my/file.py:Mine", "1") == tmp_path / "t" / "Mine" / "1.json"


def test_a_finished_record_is_not_overwritten_silently(tmp_path: Path) -> None:
    path = tmp_path / "t" / "r" / "abc.json"
    write_record(path, record(status="interrupted"))
    write_record(path, record(status="ok"))
    with pytest.raises(FileExistsError):
        write_record(path, record(seed=1))
    assert read_record(path).seed == 0
    write_record(path, record(seed=1), overwrite=True)
    assert read_record(path).seed == 1


def test_a_failed_write_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(handle: int) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="disk full"):
        write_record(tmp_path / "t" / "r" / "abc.json", record())
    assert list((tmp_path / "t" / "r").iterdir()) == []


def test_not_a_record(tmp_path: Path) -> None:
    path = tmp_path / "t" / "r" / "x.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"id": 1}), encoding="utf-8")
    with pytest.raises(UserError, match="not a run record of schema 3"):
        read_record(path)


words = st.text(max_size=8)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | words,
    lambda v: st.lists(v, max_size=3) | st.dictionaries(words, v, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(words, json_values, max_size=4))
def test_identity_does_not_depend_on_key_order_and_on_everything_else(
    config: dict[str, object],
) -> None:
    reordered = dict(reversed(list(config.items())))
    assert record_id(config, {}, PROTOCOL, "data") == record_id(reordered, {}, PROTOCOL, "data")
    assert record_id(config, {}, PROTOCOL, "data") != record_id(config, {}, PROTOCOL, "other")
    assert (
        record_id(config, {}, PROTOCOL, "data")
        != record_id({**config, "new": 1}, {}, PROTOCOL, "data")
        or config.get("new") == 1
    )


def test_identity_ignores_options_without_effect() -> None:
    config = {
        "seed": 0,
        "records": "a",
        "task": {"name": "t", "source": "x"},
        "trainer": {"log_every_n_steps": 5},
    }
    same = {
        "seed": 0,
        "records": "b",
        "task": {"name": "t", "source": "y"},
        "trainer": {"log_every_n_steps": 9},
    }
    assert record_id(config, {}, PROTOCOL, "d") == record_id(same, {}, PROTOCOL, "d")
    assert record_id(config, {"init": "one"}, PROTOCOL, "d") != record_id(
        config, {"init": "two"}, PROTOCOL, "d"
    )


def test_records_are_read_without_torch() -> None:
    code = (
        "import sys, moesuite.records.record, moesuite.leaderboard.site.render; "
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
