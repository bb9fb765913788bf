"""Routers and tasks outside the package."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from moesuite.discovery.user_code import own_class
from moesuite.records.store import read_record
from tests.helpers import MY_ROUTER, SHORT, invoke


def test_a_router_outside_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_file.py").write_text(MY_ROUTER, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    assert invoke(monkeypatch, "router=my_file:MyRouter", "router.gain=0.5", *SHORT) == 0
    assert invoke(monkeypatch, "-m", f"router=dense,{tmp_path}/my_file.py:MyRouter", *SHORT) == 0
    records = [
        read_record(path)
        for path in sorted((tmp_path / "runs" / "digits" / "MyRouter").glob("*.json"))
    ]
    assert len(records) == 2
    assert {record.config["router"]["gain"] for record in records} == {0.5, 1.0}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (
            "class MyRouter(:\n",
            "my_file.py: SyntaxError: invalid syntax (my_file.py, line 1); "
            "HYDRA_FULL_ERROR=1 shows",
        ),
        (
            "import nothing\n" + MY_ROUTER,
            "my_file.py: ModuleNotFoundError: No module named 'nothing'; HYDRA_FULL_ERROR",
        ),
    ],
)
def test_a_router_that_cannot_be_imported(
    text: str,
    says: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "my_file.py").write_text(text, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    assert invoke(monkeypatch, "router=my_file.py:MyRouter", *SHORT) == 2
    error = capsys.readouterr().err
    assert says in error and error.count("\n") == 1


def test_two_files_of_one_name_are_two_modules(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "my_file.py").write_text(
            f"class Mine:\n    folder = {folder!r}\n", encoding="utf-8"
        )
    first, second = (
        own_class("router", f"{tmp_path / folder}/my_file.py:Mine", "") for folder in ("a", "b")
    )
    assert (first.folder, second.folder) == ("a", "b")
    assert (
        pickle.loads(pickle.dumps(first)) is first and pickle.loads(pickle.dumps(second)) is second
    )


@pytest.mark.slow
def test_a_task_outside_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "conf" / "task").mkdir(parents=True)
    text = (
        "# @package _global_\ndefaults: [_vision]\n"
        "task: {name: mine, embedded: digits, image_size: 8, channels: 1}\n"
    )
    (tmp_path / "conf" / "task" / "mine.yaml").write_text(text, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    assert invoke(monkeypatch, "--config-dir", "conf", "task=mine", *SHORT) == 0
    assert len(list((tmp_path / "runs" / "mine" / "token_choice").glob("*.json"))) == 1
    assert invoke(monkeypatch, "-m", "--config-dir", "conf", "task=mine", "seed=1,2", *SHORT) == 0
    assert len(list((tmp_path / "runs" / "mine" / "token_choice").glob("*.json"))) == 3
