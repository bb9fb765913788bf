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


@pytest.mark.slow
def test_a_plugin_runs_and_its_code_is_a_part_of_the_id(site: Path, tmp_path: Path) -> None:
    words = ["-m", "moesuite.run", "task=small_digits", "router=coin", *CHEAP]
    done = python(site, tmp_path, *words)
    assert done.returncode == 0, done.stderr
    (record,) = (tmp_path / "runs" / "small_digits" / "coin").glob("*.json")
    text = record.read_text(encoding="utf-8")
    assert '"router":' in text and '"task.family":' in text  # hashes of both files
    wrong = python(site, tmp_path, *words, "router.bias=-1")
    assert wrong.returncode == 2 and "router.bias=-1" in wrong.stderr


@pytest.mark.slow
def test_a_plugin_is_certified_by_name(site: Path, tmp_path: Path) -> None:
    done = python(site, tmp_path, "-m", "moesuite.certify", "router=coin")
    assert done.returncode in (0, 1), done.stderr
    assert "coin" in done.stdout and len(list((tmp_path / "runs").rglob("coin*.json"))) == 1


@pytest.mark.slow
def test_a_clash_is_refused_where_the_name_is_chosen(tmp_path: Path) -> None:
    site = install(tmp_path, "soft", "vision")
    done = python(site, tmp_path, "-m", "moesuite.run", "router=soft", *CHEAP)
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert done.stderr.startswith("error: soft: moesuite has this name itself, and soft = moe_plu")
    assert "of the package moe-plugin" in done.stderr
    listed = python(site, tmp_path, "-m", "moesuite", "list", "routers", "tasks")
    refused = [line for line in listed.stdout.splitlines() if "not usable: " in line]
    assert listed.returncode == 0 and [line.split()[2] for line in refused] == ["soft:", "vision:"]
    composed = "import moesuite; moesuite.compose('router=dense'); moesuite.list_routers()"
    assert python(site, tmp_path, "-c", composed).returncode == 0


@pytest.mark.parametrize(
    ("file", "text", "says"),
    [
        ("routing.py", "class Coin(\n", "SyntaxError"),
        ("data_sets/small_digits.yaml", "task: {\n", "while parsing"),
        pytest.param(
            "routing.py", "class Other: ...\n", "unknown class 'Coin'", marks=pytest.mark.slow
        ),
        pytest.param(
            "family.py", None, "no source file of moe_plugin.family", marks=pytest.mark.slow
        ),
    ],
)
def test_a_broken_plugin_stops_no_other_router(
    file: str, text: str | None, says: str, tmp_path: Path
) -> None:
    site = install(tmp_path)
    path = site / "moe_plugin" / file
    path.unlink() if text is None else path.write_text(text, encoding="utf-8")
    listed = python(site, tmp_path, "-m", "moesuite", "list", "routers", "tasks")
    (refused,) = [line for line in listed.stdout.splitlines() if "not usable: " in line]
    assert listed.returncode == 0 and says in refused and "package moe-plugin" in refused
    composed = "import moesuite; moesuite.compose('router=soft', 'task=digits')"
    assert python(site, tmp_path, "-c", composed).returncode == 0
    if file == "routing.py":
        done = python(site, tmp_path, "-m", "moesuite.run", "router=coin", *CHEAP)
        assert done.returncode == 2 and says in done.stderr and done.stderr.count("\n") == 1


@pytest.mark.slow
def test_the_board_shows_a_record_of_a_plugin(site: Path, tmp_path: Path) -> None:
    words = ["-m", "moesuite.run", "task=small_digits", "router=coin", *CHEAP]
    assert python(site, tmp_path, *words).returncode == 0
    board = python(site, tmp_path, "-m", "moesuite.leaderboard", "records=runs", "out=site")
    assert board.returncode == 0, board.stderr
    assert "left out" not in board.stderr + board.stdout
    assert (tmp_path / "site" / "tasks" / "small_digits.html").is_file()
