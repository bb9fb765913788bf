"""Search the options of a router: capacity, slots, experts, its own options, the optimizer.

    python -m moesuite.tune task=digits router=soft tune=slots trials=20
    python -m moesuite.tune task=digits router=all tune=router trials=30 pruner=median workers=2
    python -m moesuite.tune task=digits tune=capacity objective=quality,flops max_gflop=0.01

Each trial is a run with a record. The same command resumes a study, and works on it beside others.
"""

from __future__ import annotations

import os
import subprocess
import sys

from moesuite.config.cli import importing, run_command
from moesuite.experiments.launchers import launch
from moesuite.tune.arguments import TuneCommand, TuneOptions, command_of, commands_by_router


def tune(options: TuneOptions) -> None:
    """Work on the study of each router until its budget is spent."""
    command = command_of(options, sys.argv[1:])
    if not command.launcher.is_here:
        run_on_launcher(command)
    elif options.workers > 1:
        start_workers(command)
    commands = commands_by_router(command)  # fail on typos before the slow imports
    with importing():
        from moesuite.tune.report import print_study
        from moesuite.tune.worker import search
    for router_command in commands:
        print_study(search(router_command))


def start_workers(command: TuneCommand) -> None:
    """Start further processes with the same command, and give each an equal part of the cores."""
    count = command.options.workers
    threads = str(max(1, (os.cpu_count() or 1) // count))
    os.environ["OMP_NUM_THREADS"] = threads  # torch is not imported yet
    line = [sys.executable, "-m", "moesuite.tune", *without_workers(command), "winner=0"]
    for _ in range(count - 1):
        subprocess.Popen(line, stdout=subprocess.DEVNULL)


def run_on_launcher(command: TuneCommand) -> None:
    """Let jobs of a launcher work and wait for them; this process finishes what they leave open."""
    from moesuite.tune.worker import plan_study, work

    for router_command in commands_by_router(command):
        plan_study(router_command)  # fail on typos before any job is sent
    jobs = [without_workers(command)] * command.options.workers
    for number, ended in enumerate(launch(command.launcher, work, jobs), start=1):
        print(f"worker {number} ended {ended.error}".strip(), file=sys.stderr)


def without_workers(command: TuneCommand) -> list[str]:
    """Return the command line of one worker."""
    return [word for word in command.typed if not word.startswith("workers=")]


def main() -> None:
    """Run the command line; exits with 2 for bad input, 130 after Ctrl-C."""
    run_command(
        tune,
        TuneOptions,
        __doc__,
        interrupted="interrupted; the same command resumes the study",
    )


if __name__ == "__main__":
    main()
