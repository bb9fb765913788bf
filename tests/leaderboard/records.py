"""Records and certificates for tests of the board: valid ones, made by hand."""

from __future__ import annotations

from typing import Any

from moesuite.config.run_command import reproduce
from moesuite.records.certificate import Certificate, Example, LayerRouting, Looked
from moesuite.records.metrics import FAMILIES
from moesuite.records.protocol import Protocol
from moesuite.records.record import RunRecord, record_id

PROTOCOL = Protocol(engine=1, router=1, family=1)
PIXEL = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNgAAAAAgAB"
    "SK+kcQAAAABJRU5ErkJggg=="
)
PART = {"backbone": 1e9, "router": 1e6, "dispatch_combine": 2e6, "experts": 5e8, "padding": 0.0}


def compute_of(
    ratio: float, experts: float, uncounted: bool = False, dense: bool = False
) -> dict[str, Any]:
    """Return costs that agree with each other.

    A training step is of 32 examples, three forward passes each.
    """
    timing: dict[str, Any] = {
        "median": 0.1 * ratio,
        "iqr": 0.01,
        "n": 9,
        "ratio_to_dense": ratio,
        "dense_median": 0.1,
    }
    timing |= {
        "quartiles": [0.1 * ratio - 0.005, 0.1 * ratio + 0.005],
        "dense_quartiles": [0.09, 0.11],
    }
    part = {**PART, "experts": experts}
    if dense:
        part = {**dict.fromkeys(PART, 0.0), "backbone": PART["backbone"] + experts}
    executed = part if dense else {**part, "padding": 1e8}
    training = {key: 3 * value for key, value in part.items()}
    layer = {
        "layer": "blocks.1.mlp",
        "activated": {**part, "backbone": 0.0},
        "executed": {**executed, "backbone": 0.0},
        "slots_per_token": 1.0,
        "parameters_total": 1500000,
        "parameters_active": 500000,
    }
    return {
        "activated": part,
        "executed": executed,
        "expected": part,
        "training": training,
        "training_step_flops": 32 * sum(training.values()),
        "layers": [] if dense else [layer],
        "uncounted": ["Model.attn: mine.attention"] if uncounted else [],
        "activation_bytes": 1.0,
        "parameters_total": 2000000,
        "parameters_active": 2000000 if dense else 1000000,
        "slots_per_token_asked": 1.0,
        "slots_per_token_effective": 1.0,
        "latency": timing,
        "training_step": timing,
        "threads": 2,
        "batch_size": 32,
        "peak_memory_bytes": 2**30,
        "device": "cpu",
    }


def config_of(
    task: str, router: str, seed: int, family: str = "vision", **changes: Any
) -> dict[str, Any]:
    return {
        "seed": seed,
        "router_seed": 0,
        "num_experts": 4,
        "slots_per_token": None,
        "layers": "last_half",
        "records": "runs",
        "task": {
            "name": task,
            "family": family,
            "hub": "someone/data",
            "revision": "abc",
            "source": None,
        },
        "router": {"name": router} if router in ("dense", "soft") else {"name": router, "k": 1},
        "backbone": {"name": "vit", "model": "timm:vit", "seed": seed},
        "optim": {"lr": 0.001},
        "data": {"batch_size": 32, "seed": seed},
        "trainer": {"max_steps": 100, "max_time": None, "enable_progress_bar": True},
        **changes,
    }


def record_of(
    router: str,
    seed: int,
    value: float = 0.9,
    task: str = "mine",
    config: dict[str, Any] | None = None,
    **changes: Any,
) -> RunRecord:
    """Return a finished record whose id is right."""
    family = changes.pop("family", "vision")
    metric = {"language": "bits_per_byte", "embeddings": "spearman"}.get(family, "top1")
    spec = FAMILIES[family][metric]
    config = config_of(task, router, seed, family) | (config or {})
    config["task"] = {"name": task, **config["task"]}
    config["backbone"] = {**config["backbone"], "name": changes.get("backbone", "vit")}
    known: dict[str, Any] = {
        "contents": {},
        "protocol": PROTOCOL,
        "data_fingerprint": "sha256:da7a0000",
    }
    known |= {key: changes.pop(key) for key in list(changes) if key in known}
    layer = {"layer": "blocks.1.mlp", "load": [0.5, 0.25, 0.25, 0.0], "unserved": 0.125, "dead": 1}
    costs = compute_of(
        1.25 if router != "dense" else 1.0, 5e8 + 1e8 * len(router), dense=router == "dense"
    )
    costs = changes.pop("compute", costs)
    step_flops = costs["training_step_flops"] if costs else 1e12
    health = {"entropy": 0.9, "unserved": 0.1, "dead": 0} if router != "dense" else {}
    points = [(10, 0.5), (50, 0.8), (100, value)]
    values: dict[str, Any] = {
        "id": record_id(config, known["contents"], known["protocol"], known["data_fingerprint"]),
        "status": "ok",
        "code": "c0de" * 16,
        "task": task,
        "data_description": "d",
        "router": router,
        "router_paper": "Someone 2024, https://example.org/paper",
        "backbone": "vit",
        "seed": seed,
        "config": config,
        "command": reproduce([f"task={task}", f"router={router}", f"seed={seed}"]),
        "primary": metric,
        "metrics": {metric: spec.model_dump()},
        "splits": {"train": 1437, "test": 360},
        "quality": {metric: {"value": value, "direction": spec.direction, "n": 360}},
        "compute": costs,
        "health": [] if router == "dense" else [{**layer, "entropy": 0.75, "pairs_per_token": 1.0}],
        "curve": [
            {
                "step": s,
                "seconds": s / 10,
                "flops": s * step_flops,
                "loss": 1.0,
                "quality": q,
                **health,
            }
            for s, q in points
        ],
        "steps": 100,
        "seconds": 12.5,
        "environment": {"device": "CPU", "cpus": "2", "threads": "2", "moesuite": "0.1.0"},
        "git_commit": "c" * 40,
        "git_dirty": False,
        "created": f"2026-11-26T00:00:{seed:02d}+00:00",
        **known,
    }
    return RunRecord.model_validate(values | changes)


def certificate_of(router: str = "good", **options: object) -> Certificate:
    """Return a certificate that a router is deterministic and not causal."""
    checks = {
        name: {"holds": name != "causal", "figure": 0.0, "detail": ""}
        for name in ("deterministic", "causal")
    }
    return Certificate.model_validate(
        {
            "router": router,
            "options": options,
            "paper": "",
            "code": "x",
            "source": "class Good: ...",
            "num_experts": 4,
            "slots_per_token": 1.0,
            "random_in_training": False,
            "claims_causal": False,
            "checks": checks,
            "at_initialisation": {"dropped_under_capacity": 0.0, "dead": 0.0},
        }
    )


def looked_of(record: RunRecord) -> Looked:
    """Return what a router looked at: an image of four patches, and a text of three words."""
    layer = {"layer": "blocks.1.mlp", "experts": [[0], [1, 2], [], [3]], "columns": 2}
    slots = [[100, 50, 0, 25], [0, 100, 10, 5]]
    return Looked(
        id=record.id,
        examples=[
            Example(image=PIXEL, layers=[LayerRouting(**layer, slots=slots)]),
            Example(
                words=["a ", "<b>", "c"],
                layers=[LayerRouting(layer="blocks.1.mlp", experts=[[0], [1], []])],
            ),
        ],
    )
