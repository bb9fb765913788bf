"""DeepSeek's rule by our router: the outputs of transformers' own layers."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import transformers
from torch import nn

from moesuite import reroute
from moesuite.models.example_inputs import random_example
from moesuite.nn.moe import moe_layers
from tests.surgery.moe_models import DEEPSEEK, batch
from tests.surgery.reroute import moe_types

SOME = {"n_routed_experts": 16, "num_experts_per_tok": 4}
CASES: list[tuple[str, dict[str, Any], tuple[int, int, int, str, bool]]] = [
    # options of transformers; groups, limit, best_of, scores, normalise
    ("deepseek_v3", {}, (4, 2, 2, "sigmoid", True)),
    ("deepseek_v3", {"norm_topk_prob": False}, (4, 2, 2, "sigmoid", False)),
    (
        "deepseek_v3",
        SOME | {"topk_group": 1, "routed_scaling_factor": 1.0},
        (4, 1, 2, "sigmoid", True),
    ),
    ("deepseek_v3", SOME | {"n_group": 8, "topk_group": 3}, (8, 3, 2, "sigmoid", True)),
    ("deepseek_v3", {"n_group": 1, "topk_group": 1}, (1, 1, 1, "sigmoid", True)),
    (
        "deepseek_v2",
        SOME | {"topk_method": "group_limited_greedy"},
        (4, 2, 1, "softmax", False),
    ),
    # the K best experts are in the K groups of the best ones: a limit of K or more is none
    ("deepseek_v2", {"topk_method": "group_limited_greedy"}, (1, 1, 1, "softmax", False)),
    (
        "deepseek_v2",
        SOME | {"topk_method": "group_limited_greedy", "topk_group": 3},
        (4, 3, 1, "softmax", False),
    ),
    # few of a hundred tokens tell the sum of two scores from the best one
    (
        "deepseek_v2",
        {"topk_method": "group_limited_greedy", "num_experts_per_tok": 3},
        (4, 2, 1, "softmax", False),
    ),
    # weights that are all 1 tell nothing of the scores, but their correction does
    ("deepseek_v3", {"num_experts_per_tok": 1}, (4, 2, 2, "sigmoid", True)),
    (
        "deepseek_v3",
        {"num_experts_per_tok": 8, "topk_group": 4},
        (1, 1, 1, "sigmoid", True),
    ),
    ("deepseek_v2", {"topk_method": "greedy"}, (1, 1, 1, "softmax", False)),
    ("glm4_moe", {"head_dim": 16}, (4, 2, 2, "sigmoid", True)),
    ("dots1", {"head_dim": 16}, (4, 2, 2, "sigmoid", False)),
]
CHEAP = (0, 5)


def build(kind: str, options: dict[str, Any]) -> Any:
    """Return a tiny random model whose choice of experts shows in its output."""
    torch.manual_seed(0)
    config = transformers.AutoConfig.for_model(kind, **(DEEPSEEK | options))
    model = transformers.AutoModelForCausalLM.from_config(config).eval()
    for parameter in model.parameters():
        if parameter.ndim >= 2:
            nn.init.normal_(parameter, std=0.3)
    for name, buffer in model.named_buffers():
        if name.endswith("e_score_correction_bias"):
            buffer.normal_(std=0.3)
    return model


@pytest.mark.parametrize(
    ("kind", "options", "rule"),
    [
        pytest.param(*case, marks=[] if number in CHEAP else [pytest.mark.slow])
        for number, case in enumerate(CASES)
    ],
)
def test_our_router_gives_the_outputs_of_the_model(
    kind: str, options: dict[str, Any], rule: tuple[int, int, int, str, bool]
) -> None:
    model = build(kind, options)
    expected = model(**batch())["logits"][:, :12]
    _, rows = reroute(model, "group_limited")
    for _, layer in moe_layers(model):
        read = layer.router.options
        names = ("groups", "limit", "best_of", "scores", "normalise")
        assert tuple(read[name] for name in names) == rule
    torch.testing.assert_close(model(**batch())["logits"][:, :12], expected, atol=1e-4, rtol=1e-4)
    assert rows and all(row.difference <= 1e-4 * row.scale and row.kept == 1 for row in rows)


def test_another_limit_is_another_rule() -> None:
    _, rows = reroute(build(*CASES[0][:2]), "group_limited", limit=1)
    assert all(row.kept < 1 for row in rows)


# types with groups of experts, but for one that cannot be read
GROUPED = [
    *("axk2", "bailing_hybrid", "beam", "deepseek_ocr2", "deepseek_v2", "deepseek_v3"),
    *("deepseek_v32", "dots1", "dots3_note", "exaone_moe", "glm4_moe", "glm4_moe_lite"),
    *("glm4v_moe", "glm_moe_dsa", "hy_v4", "hy_v4_vl", "kimi_linear", "mimo_v2_flash"),
    *("mistral4", "mistral_large4", "nemotron_h", "solar_open", "unlimited_ocr"),
]


@pytest.mark.slow
def test_no_type_with_groups_is_missing() -> None:
    found = [
        kind for kind in moe_types.TYPES if hasattr(moe_types.config_class(kind)(), "topk_group")
    ]
    assert found == sorted({*GROUPED, "axk1"})


@pytest.mark.slow
@pytest.mark.parametrize("kind", GROUPED)
def test_every_type_with_groups_is_rebuilt(kind: str) -> None:
    sizes = {"n_group": 4, "num_expert_group": 4, "topk_group": 2, "num_experts_per_tok": 3}
    known = moe_types.config_class(kind)().to_dict()
    model = moe_types.build(kind, **{name: sizes[name] for name in sizes.keys() & known.keys()})
    expected = model(**random_example(model))[0]
    _, rows = reroute(model, "group_limited")
    torch.testing.assert_close(
        model(**random_example(model))[0],
        expected,
        rtol=1e-4,
        atol=1e-5 * expected.abs().max().item(),
    )
    assert all(row.difference <= 1e-5 * row.scale and row.kept == 1 for row in rows)
