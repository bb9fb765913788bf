"""Layout and packaging: what is installed, and that README's commands are those that CI runs."""

from __future__ import annotations

import ast
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


def test_files_and_functions_are_short() -> None:
    for folder in ("moesuite", *MAPPED.values()):
        for path in (ROOT / folder).rglob("*.py"):
            text = path.read_text()
            assert text.count("\n") <= 310, path  # 250 once lines of 100 characters have settled
            for node in ast.walk(ast.parse(text)):
                if isinstance(node, ast.FunctionDef):
                    body = node.body[-1].end_lineno or 0
                    first = (
                        node.body[1]
                        if ast.get_docstring(node) and len(node.body) > 1
                        else node.body[0]
                    )
                    assert body - first.lineno < 52, (path, node.name)


def test_no_test_imports_another() -> None:
    """What two of them need is a module of its own: tests/helpers.py, or one in their room."""
    for path in (ROOT / "tests").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom):
                imported = [f"{node.module}.{alias.name}" for alias in node.names]
            elif isinstance(node, ast.Import):
                imported = [alias.name for alias in node.names]
            else:
                continue
            for name in imported:
                parts = name.split(".")
                modules = parts[1:] if parts[0] == "tests" else []
                assert not any(part.startswith("test_") for part in modules), (path, name)


ALLOWED = {
    "leaderboard": {
        "moesuite.leaderboard",
        "moesuite.records.record",
        "moesuite.statistics.significance",
        "moesuite.errors",
    }
    | {
        "moesuite.records.certificate",
        "moesuite.records.compute",
        "moesuite.config.schema",
        "moesuite.config.roles",
        "moesuite.records.protocol",
    }
    | {
        "moesuite.records.metrics",
        "moesuite.config.partial",
        "moesuite.records.verification",
        "moesuite.statistics.equivalence",
        "moesuite.statistics.order",
    }
    | {"moesuite.records.study", "moesuite.config.discovery"},
    "tasks": {"moesuite.task", "moesuite.tasks", "moesuite.records.metrics"},
    "moesuite/routers": {
        "moesuite.config.discovery",  # the catalogue builds by name
        "moesuite.routing.router",
        "moesuite.routing.assignment",
        "moesuite.routing.losses",
        "moesuite.routing.transport",
        "moesuite.errors",
    },
}


@pytest.mark.parametrize("folder", ALLOWED)
def test_folders_import_only_what_their_contract_allows(folder: str) -> None:
    """Import-linter reads the engine only: mapped folders are outside its view."""
    for path in (ROOT / folder).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [node.module] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            for name in names:
                inside = not (name or "").startswith("moesuite") or any(
                    name == allowed or (name or "").startswith(f"{allowed}.")
                    for allowed in ALLOWED[folder]
                )
                assert inside, (path, name)
                assert folder != "leaderboard" or (name or "").split(".")[0] not in (
                    "torch",
                    "lightning",
                    "timm",
                )


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
