"""Commands explain themselves and refuse typos before the slow imports."""

from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.parametrize("verb", ["tune", "certify", "verify", "leaderboard", "compute", "profile"])
def test_help_imports_neither_torch_nor_optuna(verb: str) -> None:
    code = (
        f"import sys, runpy; sys.argv[1:] = ['--help']; "
        f"runpy.run_module('moesuite.{verb}', run_name='__main__', alter_sys=True); "
        "print(sorted({'torch', 'optuna', 'lightning'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "Options:" in done.stdout and "Exit codes:" in done.stdout
    assert done.stdout.splitlines()[-1] == "[]"
