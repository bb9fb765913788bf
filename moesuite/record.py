"""RunRecord: one JSON file per run, written whole or not at all, never overwritten silently.

`<records>/<task>/<router>/<id>.json`; the id is the hash of resolved configuration, code and data, so that the same
run finds its own record. No torch here: the leaderboard reads records without it.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from moesuite.errors import UserError

SCHEMA = 1
Status = Literal["ok", "failed", "interrupted"]


class Part(BaseModel):
    """Base of all parts: unknown fields are errors."""

    model_config = ConfigDict(extra="forbid", ser_json_inf_nan="strings")


class Quality(Part):
    """One metric on the test split. `n` counts examples."""

    value: float
    direction: Literal["max", "min"]
    n: int


class Split(Part):
    """Floating-point operations of one forward pass of one example, 2 per multiply-add."""

    backbone: float
    router: float
    dispatch_combine: float
    experts: float
    padding: float

    @property
    def total(self) -> float:
        """Sum of all parts."""
        return self.backbone + self.router + self.dispatch_combine + self.experts + self.padding

    def __add__(self, other: Split) -> Split:
        return Split(**{part: value + getattr(other, part) for part, value in self})

    def over(self, count: int) -> Split:
        """Return every part divided by `count`."""
        return Split(**{part: value / count for part, value in self})


class Timing(Part):
    """Seconds of a repeated measurement: median and interquartile range over `n` repeats."""

    median: float
    iqr: float
    n: int
    ratio_to_dense: float
    dense_median: float


class LayerCompute(Part):
    """What one MoE layer costs per example, of the forward pass."""

    layer: str
    activated: Split
    executed: Split
    slots_per_token: float
    parameters_total: int
    parameters_active: int


class Compute(Part):
    """What the run costs. FLOPs are per example; timings per batch.

    Attributes:
        activated, executed: forward pass in evaluation, with the routing of test examples after training.
        expected: the same as `executed`, from the budget alone, before training.
        training: executed in forward and backward, as expected before training.
        training_step_flops: of an optimizer step.
        layers: share of each MoE layer in the forward pass.
        uncounted: "module: operation" for everything that no formula counts: FLOPs are then a lower bound.
        activation_bytes: that a training step keeps for its backward pass, per example.
        latency, training_step: seconds of a batch of `batch_size`; None: not measured.
        step_peak_bytes, dense_step_peak_bytes: most that a measured training step holds beyond weights and optimizer.
        peak_memory_bytes: of the process in training (GPU: allocated).
    """

    activated: Split
    executed: Split
    expected: Split
    training: Split
    training_step_flops: float
    layers: list[LayerCompute] = []
    uncounted: list[str] = []
    parameters_total: int
    parameters_active: int
    activation_bytes: float
    slots_per_token_asked: float
    slots_per_token_effective: float
    latency: Timing | None
    training_step: Timing | None
    step_peak_bytes: int | None = None
    dense_step_peak_bytes: int | None = None
    threads: int
    batch_size: int
    peak_memory_bytes: int
    device: str

    @property
    def latency_per_sample(self) -> float | None:
        """Seconds of inference per example."""
        return None if self.latency is None else self.latency.median / self.batch_size

    @property
    def throughput(self) -> float | None:
        """Examples per second in training."""
        return None if self.training_step is None else self.batch_size / self.training_step.median


class LayerHealth(Part):
    """Routing health of one MoE layer on the test split; see `moesuite.stats`."""

    layer: str
    load: list[float]
    dropped: float
    refused: float
    dead: int
    entropy: float
    pairs_per_token: float


class CurvePoint(Part):
    """Quality on the validation split (test split where there is none) during training."""

    step: int
    seconds: float
    flops: float
    loss: float
    quality: float


class RunRecord(Part):
    """Everything that is known of one run."""

    schema_version: int = SCHEMA
    id: str
    status: Status
    reason: str = ""
    task: str
    data_fingerprint: str
    data_description: str
    unreadable: int = 0
    router: str
    router_paper: str = ""
    backbone: str
    seed: int
    config: dict[str, Any]
    command: str
    primary: str
    quality: dict[str, Quality] = {}
    limited_quality: dict[str, Quality] = {}
    compute: Compute | None = None
    health: list[LayerHealth] = []
    curve: list[CurvePoint] = []
    steps: int = 0
    seconds: float = 0.0
    environment: dict[str, str]
    git_commit: str | None
    git_dirty: bool | None
    created: str


def record_id(config: dict[str, Any], code: str, data: str) -> str:
    """Return the 12-digit hash of a run's resolved configuration, code version and data fingerprint."""
    text = json.dumps([config, code, data], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def record_path(records: str | Path, task: str, router: str, identity: str) -> Path:
    """Return where a record is kept; a router outside the package is filed under its class's name."""
    return Path(records) / task / router.rpartition(":")[2] / f"{identity}.json"


def write_record(path: Path, record: RunRecord, overwrite: bool = False) -> None:
    """Write atomically: a temporary file in the same folder, fsync, rename.

    Raises:
        FileExistsError: if a finished record is there and `overwrite` is False.
    """
    if path.exists() and not overwrite and read_record(path).status == "ok":
        raise FileExistsError(f"{path}: a finished record is never overwritten silently")
    write_text(path, record.model_dump_json(indent=1) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write a file atomically; its folder is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}.", suffix=".part")
    try:
        with os.fdopen(handle, "w") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        Path(name).chmod(0o644)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def read_record(path: Path) -> RunRecord:
    """Read one record.

    Raises:
        UserError: if it is not a record of this schema.
    """
    try:
        return RunRecord.model_validate_json(path.read_text())
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise UserError(f"{path}: not a run record of schema {SCHEMA}: {where}: {first['msg'].lower()}") from None


def read_records(folder: str | Path) -> Iterator[RunRecord]:
    """Yield every record below `folder`, in the order of their paths.

    Raises:
        UserError: if the folder does not exist, or a file is no record.
    """
    if not Path(folder).is_dir():
        raise UserError(
            f"records={folder} does not exist; allowed: a folder that runs wrote to; first type python -m moesuite.run"
        )
    for path in sorted(Path(folder).glob("*/*/*.json")):
        yield read_record(path)
