"""`python -m moesuite.verify <record> ...`: run records again, and say whether the same comes out.

    python -m moesuite.verify runs/digits/soft/0123456789ab.json
    python -m moesuite.verify runs/digits/*/*.json
    python -m moesuite.verify <record> seeds=1,2 source=<folder of its data>

Words: files of finished runs; seeds=<numbers> runs these seeds too, where fewer than three are
recorded beside it; source=<folder or file> is where the data is here. Each record is run from its
configuration, with the same protocol versions, on the same data. The verdict is one of

    equal       all metrics agree to 1e-4 of their size, and so does what the configuration decides
    within      they differ by no more than runs of other seeds do in 95 % of cases (at least three seeds)
    different   they do not, or the command of the record, which is composed and never executed, gives another run

and is kept beside the record (`<id>/verified.json`), where the leaderboard finds it. Exit code 0:
all are equal or within; 1: one is different; 2: one could not be run; 130: Ctrl-C; the same command
goes on from the last checkpoint.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from moesuite.config.cli import BAD_INPUT, importing
from moesuite.config.options import checked
from moesuite.config.schema import RunConfig
from moesuite.errors import RunFailed, UserError
from moesuite.records.certificate import Verdict
from moesuite.records.protocol import protocol_words
from moesuite.records.record import RunRecord, record_id
from moesuite.records.store import (
    RunFiles,
    has_checkpoint,
    neighbours,
    read_record,
    read_verdicts,
    remove_reruns,
    write_verdicts,
)
from moesuite.records.verification import is_seed_of, judge

DIFFERENT, INTERRUPTED = 1, 130
QUIET = {"force": False, "logger": {}, "measure": False, "energy": False}


def read_words(words: Sequence[str]) -> tuple[list[Path], list[int], str | None]:
    """Return records, further seeds, and where data is; see the module.

    Raises:
        UserError: for an unknown option, seeds that are no numbers, or no record.
    """
    paths, seeds, source = list[Path](), list[int](), None
    for word in words:
        option, is_option, value = word.partition("=")
        if option == "source" and is_option:
            source = value
        elif option == "seeds" and is_option:
            if not all(part.isdecimal() for part in value.split(",")):
                raise UserError(
                    f"{word}: allowed are numbers with commas between; type for example seeds=1,2"
                )
            seeds = [int(part) for part in value.split(",")]
        elif word.startswith("-") or (is_option and not Path(word).exists()):
            raise UserError(
                f"{word}: allowed are records, seeds=<numbers> and source=<folder>; see --help"
            )
        else:
            paths.append(Path(word))
    if not paths:
        raise UserError(
            "no record; type for example python -m moesuite.verify runs/digits/soft/<id>.json"
        )
    return paths, seeds, source


def finished_record(path: Path) -> RunRecord:
    """Read a record that can be verified.

    Raises:
        UserError: for what is none, did not finish, or is not what its id says.
    """
    if not path.is_file():
        raise UserError("there is no such file; allowed: <records>/<task>/<router>/<id>.json")
    record = read_record(path)
    if record.status != "ok":
        raise UserError(f"its status is {record.status}; allowed: a finished run")
    made = record_id(record.config, record.contents, record.protocol, record.data_fingerprint)
    if record.id != made or record.seed != record.config.get("seed"):
        raise UserError(
            f"its content hashes to {made}, not to its id: configuration, protocol or data were changed"
        )
    return record


def config_of(
    record: RunRecord, records: Path, source: str | None, seed: int | None = None
) -> RunConfig:
    """Return the configuration that runs a record again.

    Args:
        record: of the run.
        records: folder of the new records.
        source: where data is here; None: where it was.
        seed: another one; the seeds that follow it do so.
    """
    values = {**record.config, **QUIET, "records": str(records)}
    values["task"] = {**values["task"], **({} if source is None else {"source": source})}
    config = checked(RunConfig, values)
    if seed is None:
        return config
    values |= {"seed": seed, **({"router_seed": seed} if config.router_seed == config.seed else {})}
    for name in ("backbone", "data"):
        if values[name]["seed"] == config.seed:
            values[name] = {**values[name], "seed": seed}
    return checked(RunConfig, values)


def check_identity(record: RunRecord, config: RunConfig) -> None:
    """Check that this code, this data and these checkpoints are those of a record.

    Raises:
        UserError: for the first that is not, with what to do.
    """
    from moesuite.experiments.sweep import more_than_one
    from moesuite.records.identity import identity
    from moesuite.train.build import shared_task

    if more_than_one(config.trainer["devices"]):
        raise UserError(
            "a run of several devices; allowed: one; run its command into another folder and compare"
        )
    try:
        task = shared_task(config.task)
    except UserError as error:
        raise UserError(
            f"{error}; to verify with its data elsewhere, type source=<folder>"
        ) from None
    here = identity(config, task)
    if here.protocol != record.protocol:
        where = f"moesuite {record.environment.get('moesuite', '?')}, commit {record.git_commit or 'unknown'}"
        raise UserError(
            f"its protocol is {protocol_words(record.protocol)}; of this code: {protocol_words(here.protocol)}; verify "
            f"it with the code that made it ({where}), or run its command again for a record of this protocol"
        )
    if task.fingerprint != record.data_fingerprint:
        raise UserError(
            f"its data is {record.data_fingerprint}, here it is {task.fingerprint} ({task.description}); type "
            "source=<folder of the same data>"
        )
    for option, content in record.contents.items():
        if here.contents.get(option) != content:
            raise UserError(
                f"{option}={config.model_dump()[option]} holds other weights than the run began from"
            )


def verify(path: Path, seeds: Sequence[int], source: str | None) -> Verdict:
    """Run a record again, and keep the verdict beside it.

    Raises:
        UserError: for what cannot be run.
        RunFailed: if the rerun fails.
    """
    record = finished_record(path)
    files = RunFiles(path)
    verdicts = read_verdicts(files, record.id)
    with importing():
        from moesuite.records.provenance import code_version
        from moesuite.train.fit import fit
        from moesuite.verify.replay import command_problem
    code = code_version(record.router)  # other code does not go on where this one stopped
    config = config_of(record, files.reruns / code[:12], source)
    check_identity(record, config)
    problem = command_problem(record)
    again = fit(config, record.command)[0]
    others = {other.seed: other for other in neighbours(path) if is_seed_of(other, record)}
    for seed in seeds:
        if seed != record.seed and seed not in others:
            print(f"  seed {seed}", flush=True)
            others[seed] = fit(config_of(record, files.reruns / code[:12], source, seed))[0]
    verdict = judge(record, again, list(others.values()))
    if problem:
        reason = f"{problem}; its configuration: {verdict.verdict}, {verdict.reason}"
        verdict = verdict.model_copy(update={"verdict": "different", "reason": reason})
    write_verdicts(files, record.id, [*verdicts, verdict])
    remove_reruns(files)
    return verdict


def told(verdict: Verdict) -> list[str]:
    """Return the lines of a verdict."""
    names = {
        "equal": "equal",
        "within": "within the tolerance of its seeds",
        "different": "DIFFERENT",
    }
    lines = [f"{names[verdict.verdict]}: {verdict.reason}"]
    for name, metric in verdict.metrics.items():
        limit = (
            ""
            if metric.tolerance is None
            else f", tolerance of {verdict.seeds} seeds {metric.tolerance:.3g}"
        )
        figures = f"recorded {metric.recorded:.6g}, again {metric.again:.6g}, difference {metric.difference:.3g}"
        lines.append(f"  {name}: {figures}{limit}")
    return lines


def main() -> None:
    """Run the command line."""
    if {"--help", "-h"} & set(sys.argv[1:]):
        print(__doc__)
        return
    try:
        paths, seeds, source = read_words(sys.argv[1:])
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(BAD_INPUT)
    codes = set[int]()
    for number, path in enumerate(paths, start=1):
        print(f"[{number}/{len(paths)}] {path}", flush=True)
        try:
            verdict = verify(path, seeds, source)
        except (UserError, RunFailed, OSError) as error:
            print(f"error: {_but_path(path, error)}", file=sys.stderr)
            codes.add(BAD_INPUT)
        except KeyboardInterrupt:
            print(_interrupted(path, number), file=sys.stderr)
            sys.exit(INTERRUPTED)
        else:
            print("\n".join(told(verdict)), flush=True)
            codes.add(DIFFERENT if verdict.verdict == "different" else 0)
    sys.exit(max(codes))


def _interrupted(path: Path, number: int) -> str:
    """Return what is left of a verification that was stopped, and what the same command does."""
    begun = has_checkpoint(RunFiles(path).reruns)
    goes_on = "goes on from the last checkpoint" if begun else "begins anew"
    before = "; the records before it have their verdicts, leave them out" if number > 1 else ""
    return f"interrupted, without a verdict on {path}: the same command {goes_on}{before}"


def _but_path(path: Path, error: Exception) -> str:
    text = str(error)
    return text if text.startswith(str(path)) else f"{path}: {text}"


if __name__ == "__main__":
    main()
