"""Search the options of a router: capacity, slots, experts, its own parameters, the optimizer.

    python -m moesuite.tune task=<name> router=<name|all> tune=<space> [option=value ...]

tune        a space: {spaces}, or the path of a YAML file; see moesuite/tune/search_space.py
tune.space.<option>=   interval(a,b), range(a,b), choice(a,b,...), tag(log,interval(a,b)), glob(*) or auto:
            one parameter more, or instead
trials      of each router [30]
objective   quality | quality,flops | quality,latency [quality]
max_gflop, max_ms, max_dropped   largest allowed GFLOP executed, ms of a batch, share of tokens
                                dropped under the training capacity [none]
pruner      median | hyperband | none; stops trials early by their quality on the validation split; one objective [none]
winner      fresh seeds that the best trial's options are run with at the end, apart from the search [3]; of one
            objective: a front has no single best trial
study       name [<task>_<router>_<tune>]; the same command goes on with it, in any number of processes
storage     journal file, or an address such as postgresql://... [<records>/studies/<study>.journal]
workers     processes of this machine that share its cores [1]; or with launcher=joblib|submitit|ray, jobs there

Everything else is an option of every run, see python -m moesuite.run --help. Each trial is a run
with a record.
"""

from __future__ import annotations

import os
import subprocess
import sys

from moesuite.config.cli import BAD_INPUT, importing
from moesuite.errors import UserError
from moesuite.experiments.launchers import launch
from moesuite.tune.arguments import Asked, of_each_router, parse
from moesuite.tune.search_space import tune_files

INTERRUPTED = 130


def main() -> None:
    """Run the command line; exits with 2 for bad input, 130 after Ctrl-C."""
    words = sys.argv[1:]
    if {"--help", "-h"} & set(words):
        print((__doc__ or "").format(spaces=", ".join(tune_files())))
        return
    try:
        asked = parse(words)
        if not asked.launcher.is_here:
            hand_over(asked)
        elif int(asked.values["workers"]) > 1:
            share_out(asked)
        each = of_each_router(asked)  # what is mistyped is told before seconds of imports
        with importing():
            from moesuite.tune.report import show
            from moesuite.tune.worker import search
        for one in each:
            show(search(one))
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(BAD_INPUT)
    except KeyboardInterrupt:
        print("interrupted; the same command goes on", file=sys.stderr)
        sys.exit(INTERRUPTED)


def share_out(asked: Asked) -> None:
    """Start further processes with the same command, and give each an equal part of the cores."""
    count = int(asked.values["workers"])
    threads = str(max(1, (os.cpu_count() or 1) // count))
    os.environ["OMP_NUM_THREADS"] = threads  # torch is not imported yet
    words = [word for word in asked.given if not word.startswith("workers=")]
    for _ in range(count - 1):
        command = [sys.executable, "-m", "moesuite.tune", *words, "winner=0"]
        subprocess.Popen(command, stdout=subprocess.DEVNULL)


def hand_over(asked: Asked) -> None:
    """Let jobs of a launcher work, and wait for them; what they leave open this process finishes."""
    from moesuite.tune.worker import planned, work

    for one in of_each_router(asked):
        planned(one)  # what is mistyped is told before any job is sent
    words = [word for word in asked.given if not word.startswith("workers=")]
    for number, ended in enumerate(
        launch(asked.launcher, work, [words] * int(asked.values["workers"])), start=1
    ):
        print(f"worker {number} ended {ended.error}".strip(), file=sys.stderr)


if __name__ == "__main__":
    main()
