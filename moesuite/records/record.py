"""RunRecord: one JSON file per run, which `moesuite.records.store` writes and finds.

The id is the hash of the options that change results, of the protocol versions and of the data, so
that a run finds its own record. No torch: the leaderboard reads records without it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Literal

from pydantic import ValidationError

from moesuite.errors import UserError
from moesuite.records.compute import Compute, Energy, StrictModel
from moesuite.records.compute import Sunk as Sunk
from moesuite.records.compute import UpcycledLayer as UpcycledLayer
from moesuite.records.metrics import MetricSpec
from moesuite.records.protocol import Protocol as Protocol
from moesuite.records.protocol import record_id as record_id

SCHEMA = 3
SCHEMA_SINCE = (
    "2026-11-26T00:00:00+00:00"  # no record of this schema can be older: raise it with SCHEMA
)
Status = Literal["ok", "failed", "interrupted", "pruned"]


class Quality(StrictModel):
    """One metric on the test split. `n` counts examples."""

    value: float
    direction: Literal["max", "min"]
    n: int


class Duplicates(StrictModel):
    """Examples of a split whose content stands in the training split, too, exact by hash.

    Attributes:
        count: number of them.
        total: number of examples of the split.
        unit: what is counted, if not "examples".
    """

    count: int
    total: int
    unit: str = "examples"

    def sentence(self, role: str) -> str:
        """Return the figures in words."""
        return f"{self.count:,} of {self.total:,} {role} {self.unit} also stand in train"


class RoutingHealth(StrictModel):
    """Routing health of one MoE layer over an evaluation; `moesuite.nn.stats` computes each figure.

    All but `null_share` are of experts that compute.

    Attributes:
        load: share of the pairs that each expert processed.
        unserved: share of the tokens that no expert served, in [0, 1]; those that chose null
            experts only are among them.
        dead: number of experts with less than 1 % of the uniform load.
        entropy: of the load, relative to its maximum, in [0, 1].
        pairs_per_token: mean number of experts per token.
        null_share: share of the pairs of the whole pool that null experts got, in [0, 1]; 0 without
            null experts.
    """

    load: list[float]
    unserved: float
    dead: int
    entropy: float
    pairs_per_token: float
    null_share: float = 0.0


class LayerHealth(RoutingHealth):
    """Routing health of one MoE layer on the test split, in the evaluation that ranks.

    Attributes:
        layer: name of the module.
        dropped_under_capacity: share of the tokens that no expert serves under the training
            capacity, in [0, 1]; None if evaluation lifts no capacity of the router, so that there
            is only one evaluation.
        refused_under_capacity: share of the pairs that the training capacity refuses, in [0, 1];
            None as above.
    """

    layer: str
    dropped_under_capacity: float | None = None
    refused_under_capacity: float | None = None


def dropped_under_capacity(health: Sequence[LayerHealth]) -> float | None:
    """Return the mean share of tokens dropped under the training capacity, or None (see above)."""
    shares = [
        layer.dropped_under_capacity for layer in health if layer.dropped_under_capacity is not None
    ]
    return sum(shares) / len(shares) if shares else None


class Lookahead(StrictModel):
    """Measured leak of later tokens into the predictions of a language model.

    Attributes:
        outputs: share of the outputs at earlier tokens that change when later tokens are replaced,
            in [0, 1].
        bits: rise of the cost of an earlier target, in bits, when later tokens are replaced; near 0
            if the model makes no use of the leak.
    """

    outputs: float
    bits: float


class CurvePoint(StrictModel):
    """Quality and routing health on the validation split (or else the test split) in training.

    Without capacity limit. Health is the mean over MoE layers, for dead experts the sum; None for
    a dense model.
    """

    step: int
    seconds: float
    flops: float
    loss: float
    quality: float
    entropy: float | None = None
    unserved: float | None = None
    dead: int | None = None


class RunRecord(StrictModel):
    """Everything known about one run.

    Attributes:
        id: `record_id` of `config`, `contents`, `protocol` and `data_fingerprint`, all of which
            stand here.
        contents: hashes of checkpoints and folders of models by the option that names them.
        protocol: versions of engine, router and task family.
        code: hash of the sources of engine, tasks and router; provenance, as `git_commit` and
            `environment` are.
        data_notes: what a reader has to know about the data, a sentence each.
        duplicates: examples of "test", and of "val", that stand in the training split, too; None:
            not counted, as of a stream.
        metrics: declaration of each metric of `quality`, as its task family makes it.
        partial: options that cut the run short, as they are typed; empty for a whole run.
        verdict: where an upcycled model started, in words; empty for others.
        splits: examples of each split of known length; of "test", those that are scored.
        causal: whether the task predicts later inputs, so that a router must not look ahead; None:
            not known.
        router_causal: whether the routers of all layers, with their options, claim that routing
            depends on no later token; None: not known, as of a dense model.
    """

    schema_version: int = SCHEMA
    id: str
    status: Status
    reason: str = ""
    task: str
    data_fingerprint: str
    data_description: str
    data_notes: list[str] = []
    duplicates: dict[str, Duplicates] | None = None
    unreadable: int = 0
    router: str
    router_paper: str = ""
    router_causal: bool | None = None
    backbone: str
    seed: int
    config: dict[str, Any]
    contents: dict[str, str | None]
    protocol: Protocol
    code: str
    command: str
    primary: str
    metrics: dict[str, MetricSpec] = {}
    partial: list[str] = []
    splits: dict[str, int] = {}
    causal: bool | None = None
    quality: dict[str, Quality] = {}
    limited_quality: dict[str, Quality] = {}
    compute: Compute | None = None
    energy: Energy | None = None
    health: list[LayerHealth] = []
    lookahead: Lookahead | None = None
    sunk: Sunk | None = None
    upcycled: list[UpcycledLayer] = []
    verdict: str = ""
    curve: list[CurvePoint] = []
    steps: int = 0
    seconds: float = 0.0
    waited: float = 0.0
    environment: dict[str, str]
    git_commit: str | None
    git_dirty: bool | None
    created: str


def parse_record(text: str) -> RunRecord:
    """Return the record that a text holds.

    Raises:
        UserError: if it is not a record of this schema, and what to do with an older or newer one.
    """
    if not text.strip():
        raise UserError("is empty")
    try:
        record = RunRecord.model_validate_json(text)
        version, first = record.schema_version, None
    except ValidationError as error:
        version, first = _version(text), error.errors()[0]
    if isinstance(version, int) and version > SCHEMA:
        raise UserError(f"of schema {version}, here up to {SCHEMA} is known; update moesuite")
    if isinstance(version, int) and version < SCHEMA:
        raise UserError(
            f"of schema {version}, which lacks what {SCHEMA} is checked by; run its command again"
        )
    if first is None:
        return record
    where = ".".join(str(part) for part in first["loc"])
    raise UserError(
        f"not a run record of schema {SCHEMA}: {where}{': ' * bool(where)}{first['msg'].lower()}"
    )


def _version(text: str) -> Any:
    try:
        values = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return values.get("schema_version") if isinstance(values, dict) else None
