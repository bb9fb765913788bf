"""What is kept beside records for the board: certificates of routers, and what routers looked at. No torch here.

`<records>/certificates/<router>.json`, and `<records>/<task>/<router>/<id>/routing.json` among the files of a run.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from moesuite.costs import Part

ROUTING = "routing.json"


class Certificate(Part):
    """What was measured of one router; see `moesuite.certificate` for each check.

    Attributes:
        code: version of engine and router, as in records.
        source: text of the router's file.
    """

    schema_version: int = 1
    router: str
    options: dict[str, Any]
    paper: str
    code: str
    source: str = ""
    num_experts: int
    slots_per_token: float
    random_in_training: bool
    claims_causal: bool
    checks: dict[str, dict[str, Any]]
    at_initialisation: dict[str, float]


class LayerRouting(Part):
    """What one MoE layer did with one example, in evaluation.

    Attributes:
        layer: name of the module.
        experts: of each token those that served it, largest combine weight first; empty: dropped.
        prefix: tokens before those of the picture, such as a class token.
        columns: tokens in a row of the picture; 0 for text.
        slots: of soft routing, for each of the first slots the weight of every token in percent of its largest one.
    """

    layer: str
    experts: list[list[int]]
    prefix: int = 0
    columns: int = 0
    slots: list[list[int]] = []


class Example(Part):
    """One test example: an image as a data URI, or the words of a text; and what became of it in each MoE layer."""

    image: str = ""
    words: list[str] = []
    layers: list[LayerRouting]


class Looked(Part):
    """What the router of a run looked at."""

    schema_version: int = 1
    id: str
    examples: list[Example]


def routing_path(record: Path) -> Path:
    """Return where it is kept what the router of a run looked at: in the folder of the run's files."""
    return record.with_suffix("") / ROUTING
