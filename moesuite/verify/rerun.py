"""Run one record again from its configuration, and judge what comes out. Imports torch late."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from moesuite.config.cli import importing
from moesuite.config.options import checked
from moesuite.config.schema import RunConfig
from moesuite.errors import UserError
from moesuite.records.certificate import Verdict
from moesuite.records.protocol import protocol_words
from moesuite.records.record import RunRecord, record_id
from moesuite.records.store import (
    RunFiles,
    neighbours,
    read_record,
    read_verdicts,
    remove_reruns,
    write_verdicts,
)
from moesuite.records.verification import is_seed_of, judge

# options of a rerun, whatever those of the record are
QUIET = {"force": False, "logger": {}, "measure": False, "energy": False, "predictions": False}


def verify(path: Path, seeds: Sequence[int], source: str | None) -> Verdict:
    """Run a record again, and store the verdict beside it.

    Args:
        path: of the record.
        seeds: further ones to run, where no record beside this one has them.
        source: folder or file of the data here; None: as recorded.

    Raises:
        UserError: for a record that cannot be run.
        RunFailed: if the rerun fails.
    """
    record = verifiable_record(path)
    files = RunFiles(path)
    verdicts = read_verdicts(files, record.id)
    with importing():
        from moesuite.records.provenance import code_version
        from moesuite.train.fit import fit
        from moesuite.verify.replay import command_problem
    # other code must not resume where this one stopped
    reruns = files.reruns / code_version(record.router)[:12]
    config = rerun_config(record, reruns, source)
    check_identity(record, config)
    problem = command_problem(record)
    rerun = fit(config, record.command)[0]
    others = {other.seed: other for other in neighbours(path) if is_seed_of(other, record)}
    for seed in seeds:
        if seed != record.seed and seed not in others:
            print(f"  seed {seed}", flush=True)
            others[seed] = fit(rerun_config(record, reruns, source, seed))[0]
    verdict = judge(record, rerun, list(others.values()))
    if problem:
        reason = f"{problem}; its configuration: {verdict.verdict}, {verdict.reason}"
        verdict = verdict.model_copy(update={"verdict": "different", "reason": reason})
    write_verdicts(files, record.id, [*verdicts, verdict])
    remove_reruns(files)
    return verdict


def verifiable_record(path: Path) -> RunRecord:
    """Read a record that can be verified.

    Raises:
        UserError: for a file that is no record of a finished run, or whose id does not match.
    """
    if not path.is_file():
        raise UserError("no such file; expected <records>/<task>/<router>/<id>.json")
    record = read_record(path)
    if record.status != "ok":
        raise UserError(f"its status is {record.status}; expected a finished run")
    identity = record_id(record.config, record.contents, record.protocol, record.data_fingerprint)
    if record.id != identity or record.seed != record.config.get("seed"):
        raise UserError(
            f"its content hashes to {identity}, not to its id: configuration, protocol or data "
            "were changed"
        )
    return record


def rerun_config(
    record: RunRecord, records: Path, source: str | None, seed: int | None = None
) -> RunConfig:
    """Return the configuration that runs a record again.

    Args:
        record: of the run.
        records: folder of the new records.
        source: folder or file of the data here; None: as recorded.
        seed: another one, also for the seeds that equal it in the record.
    """
    values = {**record.config, **QUIET, "records": str(records)}
    if source is not None:
        values["task"] = {**values["task"], "source": source}
    config = checked(RunConfig, values)
    if seed is None:
        return config
    values["seed"] = seed
    if config.router_seed == config.seed:
        values["router_seed"] = seed
    for name in ("backbone", "data"):
        if values[name]["seed"] == config.seed:
            values[name] = {**values[name], "seed": seed}
    return checked(RunConfig, values)


def _named(config: RunConfig, option: str) -> Any:
    """Return the value of an option, which may be one of a section."""
    section, _, name = option.partition(".")
    value = config.model_dump()[section]
    return value.get(name) if name else value


def check_identity(record: RunRecord, config: RunConfig) -> None:
    """Check that protocol, data and checkpoints here are those of a record.

    Raises:
        UserError: for the first that differs, with what to do.
    """
    from moesuite.experiments.sweep import more_than_one
    from moesuite.records.identity import identity
    from moesuite.train.build import shared_task

    if more_than_one(config.trainer["devices"]):
        raise UserError(
            "a run of several devices; expected one device; run its command into another folder "
            "and compare"
        )
    try:
        task = shared_task(config.task)
    except UserError as error:
        raise UserError(
            f"{error}; to verify with its data elsewhere, type source=<folder>"
        ) from None
    current = identity(config, task)
    if current.protocol != record.protocol:
        version = record.environment.get("moesuite", "?")
        raise UserError(
            f"its protocol is {protocol_words(record.protocol)}; of this code: "
            f"{protocol_words(current.protocol)}; verify it with the code that made it (moesuite "
            f"{version}, commit {record.git_commit or 'unknown'}), or run its command again for a "
            "record of this protocol"
        )
    if task.fingerprint != record.data_fingerprint:
        raise UserError(
            f"its data is {record.data_fingerprint}, here it is {task.fingerprint} "
            f"({task.description}); type source=<folder of the same data>"
        )
    for option, content in record.contents.items():
        if current.contents.get(option) != content:
            raise UserError(
                f"{option}={_named(config, option)} holds other weights than the run started from"
            )
