"""Time of Lightning's training loop against a bare PyTorch loop of the same steps.

    python -m moesuite.benchmarks.speed.loop [task=digits router=soft ...]

Both train the same model on the same batches with the same optimiser, one epoch at a time, in
turns. The bare loop does what a careful person writes: loader, seed, augmentation, forward,
backward, clipping, update; no logging, no bar.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from typing import Annotated

import torch
from pydantic import Field
from rich.console import Console

from moesuite.config.cli import Options, Rest, run_command
from moesuite.config.compose import compose
from moesuite.models.forward import call
from moesuite.nn.moe import aux_loss
from moesuite.train.dataloaders import train_loader
from moesuite.train.fit import Run
from moesuite.train.optim import build_optimizer
from moesuite.train.trainer import quiet

ROUNDS = 40


def lightning_epochs(words: list[str], epochs: int) -> float:
    """Return the seconds per step of a run by the suite, with its progress bar and loggers."""
    with tempfile.TemporaryDirectory() as folder:
        run = prepared([*words, f"trainer.max_epochs={epochs}", f"records={folder}"])
        run.train()
        return run.curve.seconds / run.trainer.global_step


def bare_epochs(words: list[str], epochs: int) -> float:
    """Return the seconds per step of the same training in a plain loop."""
    with tempfile.TemporaryDirectory() as folder:
        run = prepared([*words, f"trainer.max_epochs={epochs}", f"records={folder}"])
        loader = train_loader(run.task, run.config.data, lambda: 0)
        model, config, step = run.model.train(), run.config, 0
        optimizer, schedule = build_optimizer(model, config.optim, len(loader) * epochs)
        begun = time.perf_counter()
        for epoch in range(epochs):
            loader.sampler.set_epoch(epoch)  # type: ignore[attr-defined]
            for batch in loader:
                torch.default_generator.manual_seed(step)
                batch = run.task.augment(batch, step)
                loss = run.task.loss(call(model, run.task.inputs(batch)), batch) + aux_loss(model)
                optimizer.zero_grad()
                loss.backward()
                torch.nn.utils.clip_grad_norm_(model.parameters(), config.optim.clip)
                optimizer.step()
                schedule.step()
                step += 1
        return (time.perf_counter() - begun) / step


def prepared(words: list[str]) -> Run:
    """Return a run that is ready to train."""
    run = Run(compose(*words), "")
    run.build()
    return run


class LoopOptions(Options):
    """Options of the command."""

    words: Annotated[list[str], Rest("options of a run")] = Field(
        [], description="see python -m moesuite.run --help"
    )


def measure(options: LoopOptions) -> None:
    """Measure and print."""
    # neither loop evaluates or writes checkpoints
    words = [
        "trainer.check_val_every_n_epoch=1000",
        "trainer.enable_checkpointing=false",
        *options.words,
    ]
    quiet()
    samples = [
        (lightning_epochs(words, epochs=3), bare_epochs(words, epochs=3)) for _ in range(ROUNDS + 1)
    ]
    samples = samples[1:]  # the first round warms up
    ours, bare = (1000 * statistics.median(column) for column in zip(*samples, strict=True))
    low, middle, high = statistics.quantiles([a / b for a, b in samples], n=4)
    Console().print(
        f"Lightning {ours:.2f} ms/step, bare loop {bare:.2f} ms/step; ratio {ours / bare:.3f}; of "
        f"single rounds {middle:.3f}, quartiles {low:.3f} and {high:.3f}, n={ROUNDS}",
        soft_wrap=True,
    )


def main() -> None:
    """Run the command line; exits with 2 for bad input."""
    run_command(measure, LoopOptions, __doc__)


if __name__ == "__main__":
    main()
