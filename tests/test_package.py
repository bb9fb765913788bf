"""Packaging: what is installed, and what importing it costs."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

import moesuite
from tests.conftest import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
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
    code = (
        "import sys, moesuite; assert not {'torch', 'hydra', 'pydantic'} & set(sys.modules); "
        "moesuite.moefy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    assert all(getattr(moesuite, name) is not None for name in moesuite.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = moesuite.nothing


def installed_files() -> set[str]:
    """Return what belongs in a wheel.

    Code, YAML, pages and their scripts, under the installed names.
    """
    files = set()
    for name, folder in {"moesuite": "moesuite", **MAPPED}.items():
        for path in (ROOT / folder).rglob("*"):
            kept = path.suffix in (".py", ".yaml", ".html", ".js", ".css", ".typed")
            if kept and "__pycache__" not in path.parts:
                inner = path.relative_to(ROOT / folder).as_posix()
                files.add(f"{name.replace('.', '/')}/{inner}")
    return files


@pytest.mark.slow
def test_the_wheel_holds_only_moesuite_and_runs_from_any_directory(tmp_path: Path) -> None:
    shutil.rmtree(ROOT / "build", ignore_errors=True)  # setuptools packs what lies there
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--outdir", str(tmp_path), str(ROOT)],
        check=True,
        capture_output=True,
    )
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    top = {name.split("/")[0] for name in names}
    assert top == {"moesuite", f"moesuite-{PROJECT['project']['version']}.dist-info"}
    packed = {name for name in names if name.startswith("moesuite/")}
    assert packed == installed_files()
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
