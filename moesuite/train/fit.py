"""fit(config) -> RunRecord: build, train, evaluate, measure, record."""

from __future__ import annotations

import signal
from functools import partial
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.utilities.exceptions import MisconfigurationException

from moesuite.compute.cost import combine
from moesuite.compute.energy import Meter
from moesuite.compute.memory import keep_freed_memory
from moesuite.compute.passes import account
from moesuite.config.roles import partial_options, refuse_nothing, stopped_by_time
from moesuite.config.run_command import command_of
from moesuite.config.schema import RunConfig
from moesuite.errors import Pruned, RunFailed, UserError, refuse_unwritable
from moesuite.records.certificate import Example
from moesuite.records.identity import identity
from moesuite.records.provenance import environment, git_state, now
from moesuite.records.record import RunRecord, Status
from moesuite.records.store import RunFiles, record_path, save_run
from moesuite.routers import router_class
from moesuite.train.build import build_models, shared_task
from moesuite.train.callbacks.curve import Curve
from moesuite.train.callbacks.stopping import Interruption, Watch, Watched
from moesuite.train.data_report import duplicates_of, tell_data
from moesuite.train.dataloaders import (
    ResumableLoader,
    eval_loader,
    example_batch,
    train_loader,
    with_fitting_eval_batch,
)
from moesuite.train.evaluate import (
    EXAMPLES,
    Evaluated,
    evaluate,
    measure_lookahead,
    routing_examples,
)
from moesuite.train.measure import MEASURE_BATCH, measure
from moesuite.train.module import MoEModule
from moesuite.train.optim import check_schedule
from moesuite.train.results.loaded_run import recorded_run
from moesuite.train.trainer import build_trainer, quiet, refuse_endless, total_steps
from moesuite.train.upcycled_start import Handover


class Run:
    """One run, from configuration to record; `fit` calls its methods in order."""

    def __init__(self, config: RunConfig, command: str, watch: Watch | None = None) -> None:
        self.config = config.resolved()
        self.command = command
        self.watch = watch
        self.task = shared_task(config.task)
        self.identity = identity(self.config, self.task)
        name = config.router["name"]
        self.path = record_path(config.records, self.task.name, name, self.identity.id)
        self.files = RunFiles(self.path)

    def build(self) -> None:
        """Build models, trainer and callbacks, without training or writing anything."""
        refuse_nothing(self.config.trainer)
        refuse_endless(self.config.trainer, self.task)
        self.example = example_batch(self.task, self.config.data, MEASURE_BATCH)
        inputs = self.task.inputs(self.example)
        self.built = build_models(self.config, self.task, inputs)
        self.model = self.built.model
        self.dense = self.built.dense
        forward = account(self.model, inputs, False)
        self.step = account(self.model, inputs, True)
        self.expected = combine(self.model, forward, self.step, self.task.size(self.example))
        self.meter = Meter(self.config.energy)
        self.curve = Curve(self.expected.training.executed.total * self.config.data.batch_size)
        callbacks: list[L.Callback] = [self.curve, Interruption(self.files.checkpoint)]
        callbacks += [] if self.watch is None else [Watched(self.watch)]
        self.trainer = build_trainer(self.config, self.files, callbacks)
        activations = self.expected.activation_bytes
        self.data = with_fitting_eval_batch(
            self.config.data, self.task, self.example, activations, forward.output, self.trainer
        )
        self.module = MoEModule(self.task, self.model, self.config, self.files.folder)
        self.planned = total_steps(self.trainer, self.task, self.config.data)
        check_schedule(self.config.optim, self.planned)
        self.handover = Handover(self.config, self.planned) if self.config.goes_on else None

    @property
    def device(self) -> torch.device:
        """Device that this process trains on."""
        return self.trainer.strategy.root_device

    def train(self) -> None:
        """Train, resuming from the checkpoint of an interrupted run; skipped for 0 epochs."""
        if self.trainer.max_epochs == 0:
            return
        world, rank = self.trainer.world_size, self.trainer.global_rank
        progress = self.trainer.fit_loop.epoch_loop.batch_progress
        pin = self.device.type == "cuda"

        def finished() -> int:
            return progress.current.processed  # type: ignore[attr-defined] # subclass has it

        batches = train_loader(self.task, self.data, finished, rank, world, pin)
        validation = eval_loader(self.task, self.data, "val", rank, world, pin)
        checkpoint = self.files.checkpoint
        resume = checkpoint if checkpoint.exists() and not self.config.force else None
        if resume is None and self.handover is not None:
            resume = self.handover.write(
                self.files.start_checkpoint, self.dense, self.model, self.built.surgery
            )
        if resume is not None and isinstance(batches, ResumableLoader):
            batches.resume(resume)
        try:
            unsafe = False if resume else None  # our own checkpoint, including the loop's state
            with self.meter:
                self.trainer.fit(
                    self.module, batches, validation, ckpt_path=resume, weights_only=unsafe
                )
            self.files.start_checkpoint.unlink(missing_ok=True)
        except SystemExit:  # what Lightning makes of KeyboardInterrupt
            signal.signal(signal.SIGINT, signal.default_int_handler)
            raise KeyboardInterrupt from None

    def finished(self) -> RunRecord | None:
        """Return the record of this run if it is finished and not to be replaced."""
        return recorded_run(self.config, self.files)

    def save(self, record: RunRecord, examples: list[Example]) -> None:
        """Write record and routing examples, unless another process finished the run meanwhile."""
        save_run(self.files, record, examples, self.config.force, self.trainer.global_rank)

    def evaluate(self) -> Evaluated:
        """Return quality and routing health on the test split."""
        rank, world = self.trainer.global_rank, self.trainer.world_size
        pin = self.device.type == "cuda"
        loader = partial(eval_loader, self.task, self.data, "test", rank, world, pin)
        return evaluate(self.trainer, self.module, loader, self.device)

    def record(self, status: Status, reason: str = "", **measured: Any) -> RunRecord:
        """Return the record of this run as it stands."""
        commit, dirty = git_state()
        options = self.config.model_dump()
        steps = self.trainer.global_step
        stopped = stopped_by_time(options["trainer"], steps, self.planned)
        return RunRecord(
            **vars(self.identity),
            status=status,
            reason=reason,
            task=self.task.name,
            data_fingerprint=self.task.fingerprint,
            data_description=self.task.description,
            data_notes=list(self.task.notes),
            duplicates=duplicates_of(self.task),
            unreadable=len(set(self.task.unreadable)),
            router=self.config.router["name"],
            router_paper=router_class(self.config.router["name"]).paper,
            router_causal=self.built.causal,
            backbone=self.config.backbone.name,
            seed=self.config.seed,
            config=options,
            partial=[*partial_options(options), *stopped],
            command=self.command,
            primary=self.task.primary.name,
            splits=self.task.split_sizes(),
            causal=self.task.causal,
            sunk=None if self.handover is None else self.handover.sunk,
            upcycled=self.built.receipt,
            verdict=self.built.verdict,
            curve=self.curve.points,
            steps=steps,
            seconds=self.curve.seconds,
            waited=self.curve.waited,
            energy=self.meter.energy,
            environment=environment(self.device.type),
            git_commit=commit,
            git_dirty=dirty,
            created=now(),
            **measured,
        )


def recorded(config: RunConfig) -> tuple[RunRecord, Path] | None:
    """Return the record of a finished run and its path, or None if `fit` would run it."""
    quiet()
    run = Run(config, "")
    record = run.finished()
    return None if record is None else (record, run.path)


def fit(config: RunConfig, command: str = "", watch: Watch | None = None) -> tuple[RunRecord, Path]:
    """Run `config` from data to record; a finished run is not repeated unless `force` is set.

    Args:
        config: checked configuration, e.g. `moesuite.compose("task=digits", "router=soft")`.
        command: reproduces the run, for the record; empty: derived from the configuration.
        watch: called with (step, quality) after each evaluation on the validation split; may raise
            `Pruned`.

    Returns:
        The record and its path.

    Raises:
        UserError: for bad input, usually before anything is written.
        RunFailed: if the run cannot be finished (a loss that is not finite); a failed record is
            written first.
        KeyboardInterrupt: on Ctrl-C, after a checkpoint and a record with status interrupted; the
            same command resumes from there.
    """
    quiet()
    keep_freed_memory()
    run = Run(config, command or command_of(config), watch)
    if (record := run.finished()) is not None:
        return record, run.path
    refuse_unwritable(run.path.parent, f"records={config.records}")
    run.build()
    if run.trainer.is_global_zero:
        tell_data(run.task)
    context = run.trainer.precision_plugin.forward_context
    try:
        run.train()
        evaluated = run.evaluate()
        lookahead = measure_lookahead(run.model, run.task, run.example)
        few = example_batch(run.task, run.config.data, EXAMPLES)
        examples = routing_examples(run.model, run.task, few)
        compute = measure(
            run.model, run.dense, run.task, run.example, config, run.expected, run.step, context
        )
    except KeyboardInterrupt:
        run.save(run.record("interrupted", "Ctrl-C"), [])
        raise
    except Pruned as error:
        run.save(run.record("pruned", str(error)), [])
        raise
    except MisconfigurationException as error:  # of Lightning, e.g. a fraction of no batches
        run.save(run.record("failed", str(error)), [])
        raise UserError(
            f"trainer: {str(error).splitlines()[0]}; see trainer.<option> in --help"
        ) from None
    except (RunFailed, UserError) as error:  # e.g. an image that cannot be decoded
        run.save(run.record("failed", str(error)), [])
        raise
    record = run.record("ok", lookahead=lookahead, compute=compute, **evaluated._asdict())
    run.save(record, examples)
    return record, run.path
