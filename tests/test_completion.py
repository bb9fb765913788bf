"""Shell completion: candidates, and real shells that ask for them."""

from __future__ import annotations

import os
import pty
import select
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from moesuite.__main__ import VERBS
from moesuite.completion import candidates, script
from moesuite.errors import UserError
from tests.helpers import long_except

RUN = ("moesuite", "run"), ("python", "-m", "moesuite.run"), ("python3", "-m", "moesuite", "run")


def test_verbs_and_kinds() -> None:
    assert {*VERBS, "--version"} <= {*candidates(["moesuite", ""])}
    assert candidates(["moesuite", "cert"]) == ["certify"]
    assert candidates(["/usr/bin/python3", "-m", "moesuite", "com"]) == ["compute", "completion"]
    assert candidates(["moesuite", "list", "ro"]) == ["routers"]
    assert candidates(["moesuite", "completion", "z"]) == ["zsh"]


@pytest.mark.parametrize("run", RUN, ids=" ".join)
def test_options_names_and_values_of_a_run(run: tuple[str, ...]) -> None:
    assert candidates([*run, "num_"]) == ["num_experts="]
    assert candidates([*run, "router=token_c"]) == ["router=token_choice"]
    assert candidates([*run, "router=dense,so"]) == ["router=dense,soft"]
    assert candidates([*run, "optim.schedule=c"]) == [
        "optim.schedule=cosine",
        "optim.schedule=constant",
    ]
    assert candidates([*run, "measure="]) == ["measure=true", "measure=false"]
    assert "benchmark=quick" in candidates([*run, "benchmark="])
    assert "backbone=vit_mini" in candidates([*run, "backbone=vit"])
    # options follow the router and the task before them
    assert candidates([*run, "router=usmoe", "router.al"]) == ["router.alpha="]
    assert candidates([*run, "task=wikitext2", "task.object"]) == ["task.objective="]
    assert candidates([*run, "task.object"]) == []


def test_options_of_other_verbs_and_other_programs() -> None:
    assert "router=all" in candidates(["moesuite", "certify", "router="])
    assert candidates(["moesuite", "leaderboard", "--s"]) == ["--serve"]
    assert "tune=capacity" in candidates(["moesuite", "tune", "tune="])
    assert candidates(["moesuite", "data", "ne"]) == ["near="]
    assert candidates(["moesuite", "data", "task=digits", "task.si"]) == ["task.size="]
    assert candidates(["moesuite", "data", "router"]) == []
    assert candidates(["python", "-m", "pytest", "router="]) == []
    assert candidates(["python", "script.py", "router="]) == []


@pytest.mark.parametrize("verb", long_except(VERBS, "run", "leaderboard"))
def test_no_verb_imports_torch_for_its_options(verb: str) -> None:
    code = (
        "import sys; from moesuite.completion import candidates;"
        f" assert '--help' in candidates(['moesuite', '{verb}', '--h']);"
        " assert not {'torch', 'lightning', 'transformers'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_unknown_shells_are_refused() -> None:
    with pytest.raises(UserError, match="unknown shell 'bsh'; nearest: bash"):
        script("bsh")


def shell(name: str, text: str, folder: Path) -> list[str]:
    """Run a script in a shell without its start-up files; return its lines."""
    if shutil.which(name) is None:
        if os.environ.get("MOESUITE_REQUIRE_SHELLS"):
            pytest.fail(f"{name} is not installed")
        pytest.skip(f"{name} is not installed")
    bare = {"bash": ["--norc", "--noprofile"], "zsh": ["-f"], "fish": ["--no-config"]}[name]
    environment = {**os.environ, "HOME": str(folder), "TERM": "dumb"}
    done = subprocess.run(
        [name, *bare], input=text, cwd=folder, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


LINES = {
    "moesuite run router=token_c": "router=token_choice",
    "moesuite cert": "certify",
    "python -m moesuite.run num_": "num_experts=",
    "python -m moesuite.run -m optim.schedule=rs": "optim.schedule=rsqrt",
}


def test_bash_completes(tmp_path: Path) -> None:
    """As readline does: words are cut at =, and what is behind the last cut is replaced."""
    text = script("bash") + "compopt() { :; }\n"
    for line in LINES:
        words = line.replace("=", " = ").split()
        text += (
            f"COMP_LINE={line!r}; COMP_POINT=${{#COMP_LINE}}; COMP_WORDS=({' '.join(words)});"
            f' COMP_CWORD={len(words) - 1}; _moesuite; echo "${{COMPREPLY[@]}}"\n'
        )
    expected = [
        candidate.partition("=")[2] if "=" in line else candidate
        for line, candidate in LINES.items()
    ]
    assert shell("bash", text, tmp_path) == expected


def test_bash_binds_both_commands(tmp_path: Path) -> None:
    text = script("bash") + "complete -p moesuite python\n"
    assert shell("bash", text, tmp_path).count("_moesuite") == 2


@pytest.mark.parametrize("line", [line for line in LINES if "=" in LINES[line]])
def test_bash_completes_at_the_terminal(line: str, tmp_path: Path) -> None:
    """The Tab key of an interactive shell, with readline."""
    shell("bash", "", tmp_path)
    (tmp_path / "script").write_text(script("bash"), encoding="utf-8")
    child, terminal = pty.fork()
    if child == 0:
        os.chdir(tmp_path)
        os.execvp("bash", ["bash", "--norc", "--noprofile", "-i"])
    seen = b""
    steps = (b"ready\r", f"{line}\t"), (LINES[line].encode(), "\x03exit\n")
    try:
        os.write(
            terminal, b"source ./script; bind 'set enable-bracketed-paste off'; echo rea''dy\n"
        )
        for wanted, keys in steps:
            deadline = time.monotonic() + 60
            while wanted not in seen and time.monotonic() < deadline:
                if select.select([terminal], [], [], 1)[0]:
                    seen += os.read(terminal, 4096)
            assert wanted in seen, seen
            os.write(terminal, keys.encode())
    finally:
        os.close(terminal)
        os.waitpid(child, 0)


def test_zsh_completes(tmp_path: Path) -> None:
    """`compadd` is zsh's own; here it prints what it gets."""
    text = "compdef() { :; }\n_files() { echo files; }\ncompadd() { print -rl -- ${@:#-*}; }\n"
    text += script("zsh")
    for line in LINES:
        words = line.split()
        text += f"words=({' '.join(words)}); CURRENT={len(words)}; _moesuite\n"
    assert shell("zsh", text, tmp_path) == list(LINES.values())


def test_fish_completes(tmp_path: Path) -> None:
    text = script("fish") + "".join(f"complete --do-complete '{line}'\n" for line in LINES)
    assert shell("fish", text, tmp_path) == list(LINES.values())
