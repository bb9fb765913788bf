"""`moesuite <verb>`, the same as `python -m moesuite <verb>` and `python -m moesuite.<verb>`."""

from __future__ import annotations

import runpy
import sys
from importlib.metadata import version

from moesuite.errors import unknown

BAD_INPUT = 2  # exit code
VERBS = {
    "run": "train and measure one router on one task, or a sweep with -m",
    "tune": "search capacity, slots, experts, a router's own parameters, the optimizer",
    "certify": "measure how routers behave: causality, determinism, gradients, ...",
    "data": "show how data is read, without training: splits, examples, labels, duplicates",
    "profile": "account a configuration without training: FLOPs, parameters, memory",
    "recommend": "which router, how many experts and which capacity to upcycle a model with",
    "compute": "cost tables of papers, recomputed",
    "support": "try a small model of every family of timm and transformers",
    "verify": "run records again, and say whether the same comes out",
    "leaderboard": "turn run records into a page",
    "list": "list routers, tasks, backbones, benchmarks and search spaces",
    "completion": "print a completion script for bash, zsh or fish",
}


USAGE = """\
usage: moesuite <verb> [option=value ...]
       moesuite <verb> --help
       moesuite --version
"""


def main() -> None:
    """Hand over to the module of the verb; exits with 2 for an unknown one."""
    verb = sys.argv[1] if len(sys.argv) > 1 else "--help"
    if verb in ("-h", "--help"):
        print(USAGE)
        print("\n".join(f"  {name:12} {text}" for name, text in VERBS.items()))
    elif verb in ("-V", "--version"):
        print(f"moesuite {version('moesuite')}")
    elif verb in VERBS:
        del sys.argv[1]
        runpy.run_module(f"moesuite.{verb}", run_name="__main__", alter_sys=True)
    else:
        print(f"error: {unknown('verb', verb, VERBS, 'moesuite run')}", file=sys.stderr)
        sys.exit(BAD_INPUT)


if __name__ == "__main__":
    main()
