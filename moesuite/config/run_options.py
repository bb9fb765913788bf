"""Every option of a run with its meaning, grouped, for `--help` and shell completion.

Fields of `RunConfig`, the signatures of the chosen router and task family, and of Lightning's
Trainer, all read from source. No torch, no Hydra.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from moesuite.config.option_help import OptionRow, option_of
from moesuite.config.options import choices_of, is_section, values_of, word
from moesuite.config.schema import RunConfig
from moesuite.discovery.annotations import evaluated
from moesuite.discovery.names import family_options, router_options
from moesuite.discovery.signature import SourceOption, signature_options

BUILT_HERE = ("callbacks", "logger", "plugins", "use_distributed_sampler")  # set by `train`
SHORT = 160  # characters of a meaning from Lightning's documentation, to the end of the sentence
SHARE = "number 0.0 to 1.0: a share; or integer >= 0: batches"
# Ranges that Lightning states in prose or only checks.
TRAINER_RANGES = {
    "num_nodes": "integer >= 1",
    "devices": "integer >= -1, list of indices, or auto",
    "fast_dev_run": "true | false or integer >= 1",
    "max_epochs": "integer >= -1 or null",
    "min_epochs": "integer >= 1 or null",
    "max_steps": "integer >= -1",
    "min_steps": "integer >= 1 or null",
    "max_time": "DD:HH:MM:SS, mapping of hours, minutes, ..., or null",
    "limit_train_batches": SHARE,
    "limit_val_batches": SHARE,
    "limit_test_batches": SHARE,
    "limit_predict_batches": SHARE,
    "overfit_batches": SHARE,
    "val_check_interval": "number 0.0 to 1.0: share of an epoch; or integer >= 1: batches",
    "check_val_every_n_epoch": "integer >= 1 or null",
    "num_sanity_val_steps": "integer >= -1",
    "log_every_n_steps": "integer >= 0",
    "accumulate_grad_batches": "integer >= 1",
    "gradient_clip_val": "number >= 0 or null",
    "reload_dataloaders_every_n_epochs": "integer >= 0",
    "precision": "32-true, 16-mixed, bf16-mixed, 64-true, ..., or null",
    "default_root_dir": "folder or null",
}
LAUNCHER = (
    OptionRow(
        "launcher",
        "here | joblib | submitit | ray",
        "here",
        "where the runs of a sweep (-m) or a benchmark go",
        ("here", "joblib", "submitit", "ray"),
    ),
    OptionRow("launcher.n_jobs", "integer >= 1, or -1: all cores", "-1", "joblib: processes"),
    OptionRow("launcher.slurm_partition", "text", None, "submitit: partition of SLURM"),
    OptionRow("launcher.timeout_min", "integer >= 1", None, "submitit: minutes of a job"),
    OptionRow("launcher.address", "text", None, "ray: address of a running cluster"),
    OptionRow("launcher.num_cpus", "number >= 0", None, "ray: cores of a run; num_gpus likewise"),
    OptionRow("launcher.<option>", "", None, "any other option of that library"),
)


@cache
def declared_trainer_options() -> Mapping[str, SourceOption]:
    """Return every option of Lightning's Trainer that is a plain value, from its source."""
    spec = importlib.util.find_spec("lightning")
    assert spec is not None and spec.origin is not None
    source = Path(spec.origin).parent / "pytorch" / "trainer" / "trainer.py"
    options = signature_options(source, "Trainer", skip=1)
    return {name: option for name, option in options.items() if name not in BUILT_HERE}


def trainer_options() -> dict[str, Any]:
    """Return the options of Lightning's Trainer and their defaults."""
    return {name: option.default for name, option in declared_trainer_options().items()}


def run_options(
    router: str = "token_choice",
    family: str = "vision",
    values: Mapping[str, Any] | None = None,
) -> dict[str, list[OptionRow]]:
    """Return the options of a run by group.

    Args:
        router: its name.
        family: of the task; a family of a user's own, `module:Class`, has no options here.
        values: of a composed configuration by dotted name, shown as defaults.

    Raises:
        UserError: for an unknown router.
    """
    run, sections = list[OptionRow](), dict[str, list[OptionRow]]()
    for name, field in RunConfig.model_fields.items():
        if is_section(field.annotation):
            inner = field.annotation.model_fields.items()
            sections[name] = [option_of(f"{name}.{option}", of) for option, of in inner]
        elif name not in ("task", "router", "trainer", "logger"):
            run.append(option_of(name, field))
    task = {} if ":" in family else family_options(family)
    groups = {
        "Run": run,
        "Data": sections["data"],
        f"Task ({family})": [
            *_rows("task", task),
            OptionRow("task.recipe", "mapping", None, "the task's defaults of other options"),
        ],
        f"Router ({router})": _rows("router", router_options(router)),
        "Backbone": sections["backbone"],
        "Optimizer": sections["optim"],
        "Trainer": [_of_trainer(*option) for option in declared_trainer_options().items()],
        "Launcher": list(LAUNCHER),
    }
    return {title: _with_values(rows, values or {}) for title, rows in groups.items()}


def _rows(prefix: str, options: Mapping[str, SourceOption]) -> list[OptionRow]:
    return [row_of(f"{prefix}.{name}", option) for name, option in options.items()]


def row_of(name: str, option: SourceOption) -> OptionRow:
    """Return the row of an option that a signature declares."""
    kind = evaluated(option.type, option.file)
    meaning = option.meaning.rstrip(".")
    return OptionRow(name, values_of(kind), word(option.default), meaning, choices_of(kind))


def _of_trainer(name: str, option: SourceOption) -> OptionRow:
    row = row_of(f"trainer.{name}", option)
    meaning = re.sub(r":\w+:`~?(?:[\w.]*\.)?(\w+)`", r"\1", option.meaning)
    meaning = re.sub(r"\s*Default: `*[^`\s]*`*\.?$", "", meaning.replace("``", "")).strip()
    end = meaning.find(". ", SHORT)
    meaning = meaning if end < 0 else meaning[:end]
    return replace(row, meaning=meaning.rstrip("."), values=TRAINER_RANGES.get(name, row.values))


def _with_values(rows: Iterable[OptionRow], values: Mapping[str, Any]) -> list[OptionRow]:
    return [
        replace(row, default=word(values[row.name])) if row.name in values else row for row in rows
    ]
