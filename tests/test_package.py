"""Packaging: what is installed, and what importing it costs."""

from __future__ import annotations

import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

import moesuite
from tests.conftest import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
MAPPED = {
    "moesuite.tasks": "tasks",
    "moesuite.benchmarks": "benchmarks",
    "moesuite.leaderboard": "leaderboard",
}


def packages_in_the_tree() -> set[str]:
    found = set()
    for name, folder in {"moesuite": "moesuite", **MAPPED}.items():
        for init in (ROOT / folder).rglob("__init__.py"):
            inner = init.parent.relative_to(ROOT / folder).parts
            found.add(".".join([name, *inner]))
    return found


def test_the_package_list_equals_the_folders() -> None:
    assert set(PROJECT["tool"]["setuptools"]["packages"]) == packages_in_the_tree()


def test_the_public_names_import_lazily() -> None:
    code = "import sys, moesuite; assert not {'torch', 'hydra', 'pydantic'} & set(sys.modules); moesuite.moefy"
    subprocess.run([sys.executable, "-c", code], check=True)
    assert all(getattr(moesuite, name) is not None for name in moesuite.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = moesuite.nothing


@pytest.mark.slow
def test_the_wheel_holds_only_moesuite_and_runs_from_any_directory(tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--outdir", str(tmp_path), str(ROOT)],
        check=True,
        capture_output=True,
    )
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    top = {name.split("/")[0] for name in names}
    assert top == {"moesuite", f"moesuite-{PROJECT['project']['version']}.dist-info"}
    for needed in (
        "config/conf/config.yaml",
        "tasks/vision/digits.yaml",
        "leaderboard/site/templates/overview.html",
        "leaderboard/site/static/table.js",
        "leaderboard/ranking/claims.yaml",
        "routers/soft.py",
        "py.typed",
    ):
        assert f"moesuite/{needed}" in names
    zipfile.ZipFile(wheel).extractall(tmp_path / "site")
    # -P: without the folder of the checkout; the extracted wheel comes before the editable
    # installation
    code = """
import sys, moesuite, moesuite.tasks
assert moesuite.__file__.startswith(sys.argv[1]) and moesuite.tasks.__file__.startswith(sys.argv[1])
moesuite.compose("task=cifar10")
"""
    subprocess.run(
        [sys.executable, "-P", "-c", code, str(tmp_path / "site")],
        check=True,
        cwd=tmp_path,
        env={"PYTHONPATH": str(tmp_path / "site"), "PATH": ""},
    )
