"""A finished run, loaded from its record and its last checkpoint, to go on with by hand.

run = moesuite.load_run("runs/digits/soft/0123456789ab.json")
for batch in run.loader("test"):
    output = run.predict(batch)
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from lightning.pytorch.utilities import rank_zero_only
from torch import nn
from torch.utils.data import DataLoader, IterableDataset

from moesuite.config.options import as_path, checked
from moesuite.config.schema import RunConfig
from moesuite.errors import UserError
from moesuite.models.forward import call, evaluating, placed
from moesuite.nn.stats import RoutingWeights, routing_weights
from moesuite.progress import track
from moesuite.records.record import RunRecord
from moesuite.records.store import RunFiles, finished_record, read_record, record_path
from moesuite.surgery.checkpoint import load_moe
from moesuite.task import ROLES, Batch, Task
from moesuite.train.build import build_models, shared_task
from moesuite.train.dataloaders import eval_loader, example_batch
from moesuite.train.results.predictions import Predictions, write_predictions

EXPECTED = "<records>/<task>/<router>/<id>.json, or the folder of the same name"


@dataclass(frozen=True)
class LoadedRun:
    """A finished run.

    Attributes:
        model: trained, in evaluation mode, on the CPU; its routers have no capacity limit, as in
            the evaluation that ranks.
        task: with its data.
        config: of the run.
        record: of the run.
    """

    model: nn.Module
    task: Task
    config: RunConfig
    record: RunRecord

    @property
    def device(self) -> torch.device:
        """The device of the model: `run.model.cuda()` moves it."""
        return next(self.model.parameters()).device

    def loader(self, split: Literal["train", "val", "test"] = "test") -> DataLoader[Any]:
        """Return the batches of a split in its own order, each example once, on the CPU.

        The test split stands in for a missing "val".

        Raises:
            UserError: for another name of a split.
        """
        if split not in ROLES:
            raise UserError(f"no split {split!r}; expected one of {', '.join(ROLES)}")
        return eval_loader(self.task, self.config.data, split)

    def predict(self, batch: Batch) -> Any:
        """Return the output for a batch, on the model's device and in the precision of the run."""
        precision = str(self.config.trainer["precision"])
        dtype = torch.float16 if precision == "16-mixed" else torch.bfloat16
        inputs = self.task.inputs(placed(batch, self.device))
        autocast = torch.autocast(self.device.type, dtype, "mixed" in precision)
        with evaluating(self.model), torch.no_grad(), autocast:
            output = call(self.model, inputs)
        return RoutingWeights(routing_weights(self.model)) if self.task.reads_routing else output


def load_run(record: RunRecord | str | Path, source: str | None = None) -> LoadedRun:
    """Load a finished run: its trained model, and its task with the data.

    Args:
        record: the record, the path of its file, or the run's folder beside it.
        source: folder or file of the data here; None: as recorded.

    Raises:
        UserError: for a path without a record, a run that is not finished or kept no checkpoint of
            its end, or other data than the record's.
    """
    if not isinstance(record, RunRecord | str | Path):
        raise UserError(
            f"load_run takes the path of a record or a RunRecord; this is a {type(record).__name__}"
        )
    path = _path(record)
    if not isinstance(record, RunRecord):
        record = read_record(path)
    if record.status != "ok":
        raise UserError(f"{path}: its status is {record.status}; expected a finished run")
    config = checked(RunConfig, record.config)
    if source is not None:
        config = config.model_copy(update={"task": {**config.task, "source": source}})
    return _loaded(record, config, RunFiles(path))


def _path(record: RunRecord | str | Path) -> Path:
    if isinstance(record, RunRecord):
        return record_path(record.config["records"], record.task, record.router, record.id)
    path = as_path(record)
    if path.is_dir():
        path = path.parent / f"{path.name}.json"
    if not path.is_file():
        raise UserError(f"{record}: no such record; expected {EXPECTED}")
    return path


def _loaded(record: RunRecord, config: RunConfig, files: RunFiles) -> LoadedRun:
    try:
        task = shared_task(config.task)
    except UserError as error:
        source = config.task.get("source")
        if source is None or as_path(source).exists():
            raise
        raise UserError(
            f"{files.record}: its data, task.source={source}, is not here ({error}); type "
            "load_run(record, source=<folder of the same data>)"
        ) from None
    if task.fingerprint != record.data_fingerprint:
        raise UserError(
            f"{files.record}: its data is {record.data_fingerprint}, here it is {task.fingerprint}"
            f" ({task.description}); type load_run(record, source=<folder of the same data>)"
        )
    return LoadedRun(_model(record, config, files, task), task, config, record)


def _model(record: RunRecord, config: RunConfig, files: RunFiles, task: Task) -> nn.Module:
    """Return the model at the end of a run; one that was not trained is built anew.

    Raises:
        UserError: if the run kept no checkpoint of its end.
    """
    if record.steps == 0:
        inputs = task.inputs(example_batch(task, config.data, 1))
        return build_models(config, task, inputs).model.eval()
    again = "run its command again with trainer.enable_checkpointing=true force=true"
    if not files.checkpoint.is_file():
        raise UserError(f"{files.checkpoint}: no such file; {again}")
    saved = torch.load(files.checkpoint, map_location="cpu", weights_only=True, mmap=True)
    if saved["global_step"] != record.steps:
        raise UserError(
            f"{files.checkpoint}: of step {saved['global_step']}, the run ended at {record.steps};"
            f" {again}"
        )
    return load_moe(files.checkpoint)


def recorded_run(config: RunConfig, files: RunFiles) -> RunRecord | None:
    """Return the record of a run that is finished and not to be replaced, or None.

    Predictions that are asked for and missing are made from its checkpoint.
    """
    record = None if config.force else finished_record(files.record)
    if record is not None and config.predictions and not files.predictions.exists():
        _add_predictions(record, config, files)
    return record


def _add_predictions(record: RunRecord, config: RunConfig, files: RunFiles) -> None:
    """Write the predictions of a finished run, or say in one line why they cannot be made."""
    if getattr(rank_zero_only, "rank", 0) != 0:
        return
    try:
        if record.partial:
            raise UserError(f"it is partial: {', '.join(record.partial)}")
        run = _loaded(record, config, files)
    except UserError as error:
        print(f"recorded without predictions; force=true runs it again ({error})", file=sys.stderr)
        return
    if config.trainer["accelerator"] != "cpu" and torch.cuda.is_available():
        run.model.cuda()
    rows = Predictions(run.task)
    loader = run.loader("test")
    total = None if isinstance(loader.dataset, IterableDataset) else len(loader)
    for batch in track(loader, "predictions", total, "batches"):
        if run.task.size(batch) and not rows.add(run.predict(batch), placed(batch, run.device)):
            break
    write_predictions(files.predictions, rows)
