"""Files beside records: router certificates, routing examples, verdicts of reruns. No torch.

`<records>/certificates/<router>.json` (with a hash behind it for a router outside the package, or
with options of one's own); `routing.json` and `verified.json` among the files of a run,
`<records>/<task>/<router>/<id>/`.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from moesuite.records.compute import StrictModel


class Check(StrictModel):
    """The outcome of one check.

    Attributes:
        holds: None if the check does not apply.
        figure: largest difference, or largest share.
        detail: what is wrong, and where, in words.
        claimed: whether the router claims it, by a class attribute or by being a router; a claim
            that does not hold is false.
    """

    holds: bool | None
    figure: float | None = None
    detail: str = ""
    claimed: bool = False

    @property
    def false(self) -> bool:
        """Whether a claim is false."""
        return self.claimed and self.holds is False


class Certificate(StrictModel):
    """Measured properties of one router; `moesuite.certify.properties` explains each check.

    Attributes:
        router: full name, as on the command line.
        options: all of the router's.
        changed: those options, and settings of the measurement, that are not the default.
        protocol: of engine and router, in words (`moesuite.records.protocol.of_router`); empty in
            older certificates.
        code: hash of the sources of engine and router, as in records.
        source: text of the router's file.
        device: where it was measured.
        gate: kind of the router's gate; None: its own.
        claims_causal: what the class says.
        verdict: in words: false claims first, then what else a reader should know.
    """

    schema_version: int = 2
    router: str
    options: dict[str, Any]
    changed: dict[str, Any] | None = None
    paper: str
    protocol: str = ""
    code: str
    source: str = ""
    num_experts: int
    slots_per_token: float
    device: str = "cpu"
    gate: str | None = None
    random_in_training: bool
    claims_causal: bool
    checks: dict[str, Check]
    at_initialisation: dict[str, float]
    verdict: list[str] = []

    @property
    def has_false_claim(self) -> bool:
        """Whether any claim of the router does not hold."""
        return any(check.false for check in self.checks.values())

    @property
    def given(self) -> dict[str, Any]:
        """Options of the router that are not None."""
        return {key: value for key, value in self.options.items() if value is not None}

    @property
    def stem(self) -> str:
        """File name: the router's; plus a hash for outside routers or changed options."""
        plain = self.router.rpartition(":")[2]
        if self.changed is None:  # of schema 1
            return plain
        if not self.changed and plain == self.router:
            return plain
        slug = re.sub(r"[^\w.-]+", "-", self.router).strip("-.")[-80:]
        known = json.dumps([self.router, self.changed], sort_keys=True, default=str)
        return f"{slug}-{hashlib.sha256(known.encode()).hexdigest()[:8]}"


Certificates = Mapping[str, Sequence[Certificate]]  # by router, one for each set of options


class LayerRouting(StrictModel):
    """Routing of one example by one MoE layer, in evaluation.

    Attributes:
        layer: name of the module.
        experts: of each token those that served it, largest combine weight first; empty: unserved.
        prefix: tokens before those of the picture, such as a class token.
        columns: tokens in a row of the picture; 0 for text.
        slots: of soft routing, for each of the first slots the weight of every token in percent of
            its largest one.
    """

    layer: str
    experts: list[list[int]]
    prefix: int = 0
    columns: int = 0
    slots: list[list[int]] = []


class Example(StrictModel):
    """One test example, an image (data URI) or the words of a text, and its routing by layer."""

    image: str = ""
    words: list[str] = []
    layers: list[LayerRouting]


class Looked(StrictModel):
    """Routing of a few test examples of a run."""

    schema_version: int = 1
    id: str
    examples: list[Example]


class Rerun(StrictModel):
    """One metric of a record against that of its rerun.

    Attributes:
        difference: of the two, absolute.
        tolerance: largest difference that is within the tolerance of its seeds; None: fewer seeds
            than that needs.
    """

    recorded: float
    again: float
    difference: float
    tolerance: float | None = None


class Verdict(StrictModel):
    """Outcome of running a record again; see `moesuite.records.verification`.

    Attributes:
        reason: one line.
        metrics: by name, those of "limited_quality" with "limited " before it.
        seeds: that the tolerance is of; 0: of none.
        created, code, git_commit, git_dirty, machine, version: of the rerun.
    """

    verdict: Literal["equal", "within", "different"]
    reason: str
    metrics: dict[str, Rerun]
    seeds: int
    created: str
    code: str
    git_commit: str | None
    git_dirty: bool | None
    machine: str
    version: str


class Verified(StrictModel):
    """All verdicts on a record, oldest first: `<records>/<task>/<router>/<id>/verified.json`."""

    schema_version: int = 1
    id: str
    verdicts: list[Verdict]
