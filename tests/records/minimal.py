"""The smallest valid record."""

from __future__ import annotations

from moesuite.records.record import RunRecord

MINIMAL = {
    "id": "abc",
    "status": "ok",
    "task": "digits",
    "data_fingerprint": "sha256:0",
    "data_description": "d",
    "router": "soft",
    "backbone": "timm:x",
    "seed": 0,
    "config": {"num_experts": 8},
    "contents": {},
    "protocol": {"engine": 1, "router": 1, "family": 1},
    "code": "c0de",
    "command": "c",
    "primary": "top1",
    "environment": {},
    "git_commit": None,
    "git_dirty": None,
    "created": "2026-01-01T00:00:00+00:00",
}


def record(**changes: object) -> RunRecord:
    return RunRecord.model_validate({**MINIMAL, **changes})
