"""fit(config) -> RunRecord: build, train, evaluate, measure, record."""

from __future__ import annotations

import signal
from functools import partial
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from torch.utils.data import IterableDataset

from moesuite.compute.cost import combine
from moesuite.compute.energy import Meter
from moesuite.compute.memory import examples_that_fit, keep_freed_memory
from moesuite.compute.passes import account
from moesuite.config.partial import partial_options, refuse_nothing, stopped_by_time
from moesuite.config.run_command import command_of
from moesuite.config.schema import RunConfig
from moesuite.config.sections import Data
from moesuite.errors import Pruned, RunFailed, UserError
from moesuite.models.forward import call, evaluating, first_tensor, placed
from moesuite.records.certificate import Example
from moesuite.records.identity import identity
from moesuite.records.provenance import environment, git_state, now
from moesuite.records.record import Lookahead, RunRecord, Status
from moesuite.records.store import RunFiles, finished_record, record_path, save_run
from moesuite.routers import router_class
from moesuite.train.build import build_models, shared_task
from moesuite.train.callbacks import Curve, Interruption, Watch, Watched
from moesuite.train.dataloaders import ResumableLoader, eval_loader, total_steps, train_loader
from moesuite.train.evaluate import EXAMPLES, Evaluated, evaluate, look
from moesuite.train.measure import MEASURE_BATCH, measure
from moesuite.train.module import MoEModule
from moesuite.train.optim import check_schedule
from moesuite.train.trainer import build_trainer, quiet
from moesuite.train.upcycled_start import Handover


class Run:
    """One run, from configuration to record. Its steps are called in the order of `fit`."""

    def __init__(self, config: RunConfig, command: str, watch: Watch | None = None) -> None:
        self.config, self.command, self.watch = config.resolved(), command, watch
        self.task = shared_task(config.task)
        self.identity = identity(self.config, self.task)
        name = config.router["name"]
        self.path = record_path(config.records, self.task.name, name, self.identity.id)
        self.files = RunFiles(self.path)

    def build(self) -> None:
        """Build models, trainer and callbacks; every check of the configuration happens here."""
        refuse_nothing(self.config.trainer)
        if (
            isinstance(self.task.dataset("train"), IterableDataset)
            and self.config.trainer["max_steps"] == -1
        ):
            raise UserError(
                f"{self.task.name}: the length of streamed data is not known; type for example trainer.max_steps=10000"
            )
        self.example = self._example()
        inputs = self.task.inputs(self.example)
        self.built = build_models(self.config, self.task, inputs)
        self.model, self.dense = self.built.model, self.built.dense
        forward, self.step = account(self.model, inputs, False), account(self.model, inputs, True)
        self.expected = combine(self.model, forward, self.step, self.task.size(self.example))
        self.meter = Meter(self.config.energy)
        self.curve = Curve(self.expected.training.executed.total * self.config.data.batch_size)
        self.interruption = Interruption(self.files.checkpoint)
        watched = [] if self.watch is None else [Watched(self.watch)]
        self.trainer = build_trainer(
            self.config, self.files, [self.curve, self.interruption, *watched]
        )
        self.data = self._data(forward.output)
        if self.task.dataset("train") is None and self.trainer.max_epochs != 0:
            raise UserError(
                f"{self.task.name}: no training split; type trainer.max_epochs=0 to evaluate only"
            )
        self.module = MoEModule(self.task, self.model, self.config, self.files.folder)
        self.planned = total_steps(self.trainer, self.task, self.config.data)
        check_schedule(self.config.optim, self.planned)
        self.handover = Handover(self.config, self.planned) if self.config.goes_on else None

    @property
    def device(self) -> torch.device:
        """Device that this process trains on."""
        return self.trainer.strategy.root_device

    def _example(self, most: int = MEASURE_BATCH) -> Any:
        """Return a batch of test examples for counting and measuring."""
        size = min(self.config.data.batch_size, most)
        data = self.config.data.model_copy(update={"workers": 0, "eval_batch_size": size})
        for batch in eval_loader(self.task, data, self.task.example_split):
            self.task.inputs(batch)  # an unreadable image is an error here already
            if self.task.size(batch):
                return batch
        raise UserError(
            f"{self.task.name}: the {self.task.example_split} split has no readable example"
        )

    def _data(self, output: int) -> Data:
        """Return how data is read: in evaluation no more at once than memory holds, were all as long as can be."""
        size, inputs = self.task.size(self.example), self.task.inputs(self.example)
        longest = max(
            1.0, first_tensor(self.task.blank()).numel() * size / first_tensor(inputs).numel()
        )
        kept, made = longest * self.expected.activation_bytes, longest * output / size
        most = min(
            self.config.data.eval_batch_size,
            examples_that_fit(kept, made, self.device, self.trainer.world_size),
        )
        return self.config.data.model_copy(update={"eval_batch_size": most})

    def train(self) -> None:
        """Train, going on from the checkpoint of an interrupted run where there is one; not at all for 0 epochs."""
        if self.trainer.max_epochs == 0:
            return
        world, rank = self.trainer.world_size, self.trainer.global_rank
        progress = self.trainer.fit_loop.epoch_loop.batch_progress
        pin = self.device.type == "cuda"

        def finished() -> int:
            return progress.current.processed  # type: ignore[attr-defined] # of a subclass

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
            unsafe = False if resume else None  # our own checkpoint, the state of the loop included
            with self.meter:
                self.trainer.fit(
                    self.module, batches, validation, ckpt_path=resume, weights_only=unsafe
                )
            self.files.start_checkpoint.unlink(missing_ok=True)
        except SystemExit:  # Lightning's answer to KeyboardInterrupt
            signal.signal(signal.SIGINT, signal.default_int_handler)
            raise KeyboardInterrupt from None

    def finished(self) -> RunRecord | None:
        """Return the record of this run if it is there and shall stay."""
        return None if self.config.force else finished_record(self.path)

    def save(self, record: RunRecord, examples: list[Example]) -> None:
        """Write the record, and before it what its router looked at; what a faster process wrote meanwhile stays."""
        save_run(self.files, record, examples, self.config.force, self.trainer.global_rank)

    def evaluate(self) -> Evaluated:
        """Return quality and routing health on the test split."""
        rank, world = self.trainer.global_rank, self.trainer.world_size
        pin = self.device.type == "cuda"
        loader = partial(eval_loader, self.task, self.data, "test", rank, world, pin)
        return evaluate(self.trainer, self.module, loader, self.device)

    def look(self) -> list[Example]:
        """Return what the trained router does with a few test examples."""
        return look(self.model, self.task, self._example(EXAMPLES))

    def lookahead(self) -> Lookahead | None:
        """Measure what the trained model's outputs owe to later inputs."""
        example = placed(self.example, next(self.model.parameters()).device)
        with evaluating(self.model), torch.no_grad():
            return self.task.lookahead(
                lambda batch: call(self.model, self.task.inputs(batch)), example
            )

    def record(self, status: Status, reason: str = "", **measured: Any) -> RunRecord:
        """Return the record of this run as it stands."""
        commit, dirty = git_state()
        options, steps = self.config.model_dump(), self.trainer.global_step
        return RunRecord(
            **vars(self.identity),
            status=status,
            reason=reason,
            task=self.task.name,
            data_fingerprint=self.task.fingerprint,
            data_description=self.task.description,
            unreadable=len(set(self.task.unreadable)),
            router=self.config.router["name"],
            router_paper=router_class(self.config.router["name"]).paper,
            router_causal=self.built.causal,
            backbone=self.config.backbone.name,
            seed=self.config.seed,
            config=options,
            partial=[
                *partial_options(options),
                *stopped_by_time(options["trainer"], steps, self.planned),
            ],
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
    """Return the record of a run that is finished and shall stay, and its path; None for one that `fit` would run."""
    quiet()
    run = Run(config, "")
    return (done, run.path) if (done := run.finished()) else None


def fit(config: RunConfig, command: str = "", watch: Watch | None = None) -> tuple[RunRecord, Path]:
    """Run `config` from data to record; a run that is already recorded is not run again unless `force` is set.

    Args:
        config: checked configuration, for example of `moesuite.compose("task=digits",
            "router=soft")`.
        command: what reproduces the run, for the record; empty: made from the configuration.
        watch: called with (step, quality) after each evaluation on the validation split; may raise
            `Pruned`.

    Returns:
        The record and its path.

    Raises:
        UserError: for bad input, before anything is written.
        RunFailed: if the run cannot be finished (a loss that is not finite); a failed record is
            written first.
        KeyboardInterrupt: on Ctrl-C, after a checkpoint and a record with status interrupted; the
            same command goes on from there.
    """
    quiet()
    keep_freed_memory()
    run = Run(config, command or command_of(config), watch)
    if done := run.finished():
        return done, run.path
    run.build()
    context = run.trainer.precision_plugin.forward_context
    try:
        run.train()
        found = run.evaluate()
        lookahead, examples = run.lookahead(), run.look()
        compute = measure(
            run.model, run.dense, run.task, run.example, config, run.expected, run.step, context
        )
    except KeyboardInterrupt:
        run.save(run.record("interrupted", "Ctrl-C"), [])
        raise
    except Pruned as error:
        run.save(run.record("pruned", str(error)), [])
        raise
    except (
        MisconfigurationException
    ) as error:  # Lightning's, for example a share of the batches that is none
        run.save(run.record("failed", str(error)), [])
        raise UserError(
            f"trainer: {str(error).splitlines()[0]}; see trainer.<option> in --help"
        ) from None
    except (RunFailed, UserError) as error:  # an image that turns out unreadable is found only now
        run.save(run.record("failed", str(error)), [])
        raise
    record = run.record("ok", lookahead=lookahead, compute=compute, **found._asdict())
    run.save(record, examples)
    return record, run.path
