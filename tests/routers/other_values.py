"""Another value for each option of each router."""

from __future__ import annotations

from typing import Any

OTHER: dict[str, dict[str, Any]] = {
    "comparison": {"share": 0.5, "weight": 2.0},
    "cosine": {"k": 2, "temperature": 0.9, "balance_weight": 0.02},
    "expert_choice_causal": {"momentum": 0.5},
    "expert_threshold": {"momentum": 0.5, "warmup": 2},
    "group_limited": {
        "k": 2,
        "groups": 4,
        "limit": 2,
        "best_of": 1,
        "scores": "softmax",
        "update_rate": 0.5,
        "normalise": True,
        "sequence_weight": 1.0,
    },
    "hash": {"salt": 1},
    "loss_free": {"k": 2, "update_rate": 0.5, "normalise": True, "sequence_weight": 1.0},
    "noisy_topk": {"k": 1, "importance_weight": 0.2, "load_weight": 0.2},
    "quantile_balanced": {"k": 2, "normalise": True},
    "random": {"k": 2},
    "relu": {"start": 1.0, "factor": 3.0},
    "sinkhorn_expert_choice": {"noise": 9.0, "iterations": 1},
    "sinkhorn_token_choice": {"k": 2, "noise": 9.0, "iterations": 1},
    "soft": {"slots_per_expert": 3, "dispatch": "uniform", "combine": "uniform"},
    "sparsity_constrained_expert_choice": {"iterations": 1},
    "sparsity_constrained_token_choice": {"k": 2, "iterations": 1},
    "switch": {"jitter": 0.9, "balance_weight": 0.02},
    "token_choice": {
        "k": 2,
        "batch_priority": True,
        "noise": 9.0,
        "balance_weight": 0.02,
        "z_weight": 0.01,
    },
    "token_rounding": {"k": 2, "tile": 3, "rounding": "up", "balance_weight": 0.02},
    "top_p": {"p": 0.9, "balance_weight": 0.02, "entropy_weight": 0.1},
    "usmoe": {"alpha": 0.9, "normalise": True},
}
