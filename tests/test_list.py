"""`moesuite list`, `--version`, and the same from Python."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import version

import pytest

import moesuite
from moesuite.discovery.names import benchmark_files, router_names, task_files
from moesuite.errors import UserError
from moesuite.list import KINDS, ListOptions, entries, run


def command(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *words], capture_output=True, text=True)


def test_everything_is_listed_in_one_line_each_without_torch() -> None:
    code = (
        "import sys; sys.argv = ['list']; from moesuite.list import main; main();"
        " assert not {'torch', 'hydra', 'transformers'} & set(sys.modules)"
    )
    done = command("-c", code)
    assert done.returncode == 0, done.stderr
    lines = [line for line in done.stdout.splitlines() if line]
    names = {line.split()[0] for line in lines if line.startswith("  ")}
    assert {*router_names(), *task_files(), *benchmark_files(), "vit_mini", "capacity"} <= names
    entries_of_all = [entry for kind in KINDS for entry in entries(kind)]
    assert len(lines) == len(entries_of_all) + len(KINDS)
    assert max(map(len, lines)) <= 100 and all(entry.summary for entry in entries_of_all)


def test_one_kind_is_listed_with_its_options(capsys: pytest.CaptureFixture[str]) -> None:
    run(ListOptions(kinds=["routers"]))
    routers = capsys.readouterr().out
    assert "balance_weight=0.01" in routers and "tasks:" not in routers
    run(ListOptions(kinds=["tasks", "spaces"]))
    text = capsys.readouterr().out
    assert "task.image_size=32" in text and "layers=choice(last_two" in text
    with pytest.raises(UserError, match="unknown kind 'rooters'; nearest: routers"):
        run(ListOptions(kinds=["rooters"]))


def test_names_and_version_in_python_and_on_the_command_line() -> None:
    assert moesuite.list_routers() == router_names() and "soft" in moesuite.list_routers()
    assert moesuite.list_tasks() == sorted(task_files()) and "digits" in moesuite.list_tasks()
    assert moesuite.__version__ == version("moesuite")
    assert command("-m", "moesuite", "--version").stdout == f"moesuite {moesuite.__version__}\n"
    assert "list" in command("-m", "moesuite").stdout
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = moesuite.nothing


@pytest.mark.parametrize(
    ("verb", "says"),
    [
        ("list", "; nearest: --config-dir; all: --config-dir; type for example --config-dir conf"),
        ("completion", "; this command has none but --help"),
    ],
)
def test_an_unknown_option_is_refused(verb: str, says: str) -> None:
    refused = command("-m", "moesuite", verb, "--foo")
    assert refused.returncode == 2 and refused.stdout == ""
    assert refused.stderr == f"error: unknown option '--foo'{says}\n"
