"""Which files a folder holds: links, circles of links, what is hidden, what may not be read."""

from __future__ import annotations

from pathlib import Path

import pytest

from moesuite import UserError
from moesuite.sources.layout import list_files


def names(folder: Path) -> list[str]:
    return [str(file.relative_to(folder)) for file in list_files(folder)]


def test_hidden_files_and_what_systems_leave_are_not_listed(tmp_path: Path) -> None:
    for name in ("b/x.csv", "a.csv", ".a.csv", ".ipynb_checkpoints/a.csv", "__MACOSX/a.csv"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert names(tmp_path) == ["a.csv", "b/x.csv"]


def test_links_to_files_and_folders_are_followed(tmp_path: Path) -> None:
    (tmp_path / "far").mkdir()
    (tmp_path / "far" / "x.csv").touch()
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "link").symlink_to(tmp_path / "far")
    (tmp_path / "here" / "y.csv").symlink_to(tmp_path / "far" / "x.csv")
    assert names(tmp_path / "here") == ["link/x.csv", "y.csv"]


def test_two_links_in_a_circle_end(tmp_path: Path) -> None:
    """Followed until the system refuses, the two would be 2^40 folders."""
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "x.csv").touch()
    for name in ("up", "top"):
        (tmp_path / "a" / name).symlink_to(tmp_path)
    assert names(tmp_path) == ["a/x.csv"]


def test_a_folder_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(folder: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("os.scandir", refuse)
    with pytest.raises(UserError, match=f"{tmp_path} cannot be read: Permission denied"):
        list_files(tmp_path)
