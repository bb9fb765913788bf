"""Routers, task families and tasks of an installed package are found by name everywhere."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ENTRY_POINTS = """
[moesuite.routers]
{router} = moe_plugin.routing:Coin

[moesuite.tasks]
{family} = moe_plugin.family:Small
moe_plugin = moe_plugin.data_sets
"""
ROUTING = '''
from typing import Annotated

from annotated_types import Ge

from moesuite.routers.random import Random


class Coin(Random):
    """A coin decides."""

    def __init__(self, spec, k: Annotated[int, Ge(1)] = 1, bias: Annotated[float, Ge(0)] = 0.5):
        """Build the router.

        Args:
            spec: the layer.
            k: experts per token.
            bias: of the coin, in heads per toss.
        """
        super().__init__(spec, k)
        self.bias = bias
'''
FAMILY = '''
from moesuite.tasks.vision.task import Vision


class Small(Vision):
    """Digits that nobody else has."""

    def __init__(self, name: str = "small", shade: float = 0.0):
        """Declare the task.

        Args:
            name: of the task.
            shade: of grey, in [0, 1].
        """
        from moesuite.tasks.vision.source import ImageFormat, ImageSource

        super().__init__(
            name,
            ImageSource(embedded="digits"),
            ImageFormat(num_classes=10, image_size=8, channels=1, mean=[0.3], std=[0.4]),
        )
'''
YAML = """\
# @package _global_
# Digits again.
defaults: [_small_family, override /backbone: vit_mini]
task: {name: small_digits}
"""
CHEAP = (
    "trainer.max_steps=1",
    "measure=false",
    "logger=none",
    "trainer.enable_progress_bar=false",
    "backbone.kwargs.embed_dim=16",
    "data.batch_size=256",
)


def install(folder: Path, router: str = "coin", family: str = "small_family") -> Path:
    """Install the plugin from a wheel into a site directory of its own, by pip, offline."""
    wheel, info = folder / "moe_plugin-1.0-py3-none-any.whl", "moe_plugin-1.0.dist-info"
    files = {
        "moe_plugin/__init__.py": "",
        "moe_plugin/routing.py": ROUTING,
        "moe_plugin/family.py": FAMILY,
        "moe_plugin/data_sets/__init__.py": "",
        "moe_plugin/data_sets/small_digits.yaml": YAML,
        f"{info}/METADATA": "Metadata-Version: 2.1\nName: moe-plugin\nVersion: 1.0\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/entry_points.txt": ENTRY_POINTS.format(router=router, family=family),
    }
    record = "".join(f"{name},,\n" for name in [*files, f"{info}/RECORD"])
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, text in {**files, f"{info}/RECORD": record}.items():
            archive.writestr(name, text)
    site = folder / "site"
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index"]
    subprocess.run([*pip, "--target", str(site), str(wheel)], check=True, capture_output=True)
    return site


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return install(tmp_path_factory.mktemp("plugin"))


def python(site: Path, folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(site), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, *words]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


def test_a_plugin_is_listed_and_known_in_python(site: Path, tmp_path: Path) -> None:
    code = """
import sys, moesuite
assert "coin" in moesuite.list_routers() and "small_digits" in moesuite.list_tasks()
config = moesuite.compose("task=small_digits", "router=coin", "router.bias=0.25")
assert config.task["family"] == "small_family" and config.router["bias"] == 0.25
assert "torch" not in sys.modules and "moe_plugin.routing" not in sys.modules
"""
    done = python(site, tmp_path, "-c", code)
    assert done.returncode == 0, done.stderr
    listed = python(site, tmp_path, "-m", "moesuite", "list").stdout
    assert "coin " in listed and "A coin decides." in listed and "small_digits" in listed
    explained = python(site, tmp_path, "-m", "moesuite.run", "router=coin", "--help").stdout
    assert "router.bias=0.5" in explained and "of the coin, in heads per toss" in explained


def test_a_plugin_runs_and_its_code_is_a_part_of_the_id(site: Path, tmp_path: Path) -> None:
    words = ["-m", "moesuite.run", "task=small_digits", "router=coin", *CHEAP]
    done = python(site, tmp_path, *words)
    assert done.returncode == 0, done.stderr
    (record,) = (tmp_path / "runs" / "small_digits" / "coin").glob("*.json")
    text = record.read_text()
    assert '"router":' in text and '"task.family":' in text  # hashes of both files
    wrong = python(site, tmp_path, *words, "router.bias=-1")
    assert wrong.returncode == 2 and "router.bias=-1" in wrong.stderr


def test_a_plugin_is_certified_by_name(site: Path, tmp_path: Path) -> None:
    done = python(site, tmp_path, "-m", "moesuite.certify", "router=coin")
    assert done.returncode in (0, 1), done.stderr
    assert "coin" in done.stdout and len(list((tmp_path / "runs").rglob("coin*.json"))) == 1


@pytest.mark.parametrize(
    ("router", "family", "says"),
    [
        ("soft", "small_family", "router soft: moesuite has a router of this name, and soft = "),
        ("coin", "vision", "task family vision: moesuite has a task family of this name"),
    ],
)
def test_a_clash_is_an_error_in_words(router: str, family: str, says: str, tmp_path: Path) -> None:
    site = install(tmp_path, router, family)
    done = python(site, tmp_path, "-m", "moesuite.run", "--help")
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.startswith(f"error: {says}") and done.stderr.count("\n") == 1
    assert "of the package moe-plugin" in done.stderr
