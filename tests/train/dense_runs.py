"""Dense runs to upcycle from."""

from __future__ import annotations

from pathlib import Path

import torch

from moesuite import compose, fit
from moesuite.records.record import RunRecord

EPOCH = 22  # steps
QUIET = ["measure=false", "logger=none", "trainer.enable_progress_bar=false"]
WORDS = ["optim.schedule=rsqrt", "optim.warmup=5", *QUIET]


def run(folder: Path, *words: str) -> tuple[RunRecord, Path]:
    """Return the record and the checkpoint of a run."""
    record, path = fit(compose(*WORDS, f"records={folder}", *words))
    return record, path.with_suffix("") / "last.ckpt"


def weights(checkpoint: Path) -> dict[str, torch.Tensor]:
    return torch.load(checkpoint, weights_only=True)["state_dict"]
