"""`moesuite <verb>`, the same as `python -m moesuite <verb>` and `python -m moesuite.<verb>`."""

from __future__ import annotations

import runpy
import sys

from moesuite.errors import unknown

VERBS = {
    "run": "train and measure one router on one task, or a sweep with -m",
    "tune": "search capacity, slots, experts, a router's own parameters, the optimizer",
    "certify": "measure how routers behave: causality, determinism, gradients, ...",
    "profile": "account a configuration without training: FLOPs, parameters, memory",
    "compute": "cost tables of papers, recomputed",
    "verify": "run records again, and say whether the same comes out",
    "leaderboard": "turn run records into a page",
}


def main() -> None:
    """Hand over to the module of the verb; exits with 2 for an unknown one."""
    verb = sys.argv[1] if len(sys.argv) > 1 else "--help"
    if verb in ("-h", "--help"):
        print("usage: moesuite <verb> [option=value ...]\n")
        print("\n".join(f"  {name:12} {text}" for name, text in VERBS.items()))
        return
    if verb not in VERBS:
        print(f"error: {unknown('verb', verb, VERBS, 'moesuite run')}", file=sys.stderr)
        sys.exit(2)
    del sys.argv[1]
    runpy.run_module(f"moesuite.{verb}", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
