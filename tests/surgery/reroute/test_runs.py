"""Runs of rerouted models."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import transformers
from torch import Tensor

from moesuite import UserError, compose
from moesuite.nn.moe import moe_layers
from moesuite.train.build import build_models, build_task
from tests.helpers import run as embed
from tests.surgery.moe_models import QWEN, observed
from tests.tasks.local_data import search_folder


@pytest.mark.slow
@pytest.mark.parametrize("representation", ["hidden", "routing"])
def test_embeddings_of_a_rerouted_model(representation: str, tmp_path: Path) -> None:
    """By its folder, from the command's words: last token, PromptEOL; no training."""
    options = QWEN | {
        "vocab_size": 400,
        "shared_expert_intermediate_size": 40,
        "norm_topk_prob": True,
    }
    kind = transformers.AutoConfig.for_model("qwen2_moe", **options)
    transformers.AutoModelForCausalLM.from_config(kind).save_pretrained(tmp_path / "model")
    words = [
        f"task.source={search_folder(tmp_path / 'data')}",
        f"upcycle=hf:{tmp_path / 'model'}",
        "measure=true",
    ]
    words += [
        "backbone.tokenizer=byte",
        "task.pooling=last",
        f"task.representation={representation}",
    ]
    words += [
        """task.prompt='This sentence : "{}" means in one word:"'""",
        "trainer.max_epochs=0",
        "task.length=64",
    ]
    found = {
        router: embed(tmp_path, "task=stdlib_search", *words, f"router={router}")
        for router in ("usmoe", "dense")
    }
    for record in found.values():
        assert (
            record.status == "ok"
            and record.steps == 0
            and len(record.health) == 2
            and record.compute is not None
        )
        assert record.compute.slots_per_token_asked == 2 and record.compute.latency is not None
    assert (
        found["usmoe"].health[0].load != found["dense"].health[0].load
    )  # the second has its own rule
    assert found["usmoe"].compute.parameters_total == found["dense"].compute.parameters_total
    assert found["usmoe"].config["renormalise"] is False


def test_runs_take_unset_options_from_the_model(tmp_path: Path) -> None:
    """Experts per token and normalisation; a half-precision model is trained in float32."""
    options = QWEN | {"vocab_size": 400, "head_dim": 16, "norm_topk_prob": True}
    model = transformers.AutoModelForCausalLM.from_config(
        transformers.AutoConfig.for_model("qwen3_moe", **options)
    )
    model.bfloat16().save_pretrained(tmp_path / "model")
    words = [
        f"task.source={search_folder(tmp_path / 'data')}",
        f"upcycle=hf:{tmp_path / 'model'}",
        "task=stdlib_search",
    ]
    words += ["backbone.tokenizer=byte", "task.length=64"]

    def weights(*more: str) -> list[tuple[Tensor, Tensor]]:
        """Return raw scores and combine weights of each layer, [2, 12, 8]."""
        config = compose(*words, *more)
        built = build_models(config, build_task(config.task), None)
        assert {parameter.dtype for parameter in built.model.parameters()} == {torch.float32}
        model = built.model.eval()
        gates = [layer.router.gate.weight.detach() for _, layer in moe_layers(model)]
        return [
            (x @ gate.T, combine) for gate, (x, combine) in zip(gates, observed(model), strict=True)
        ]

    for logits, combine in weights(
        "router=usmoe"
    ):  # the best 2 · 12 pairs of a sequence, over the sum of all scores
        scores = logits.softmax(-1) / 2 + logits.sigmoid() / 8
        assert (combine > 0).sum(dim=(1, 2)).tolist() == [24, 24]
        shares = (scores / scores.sum(-1, keepdim=True))[combine > 0]
        torch.testing.assert_close(combine[combine > 0], shares, atol=1e-5, rtol=1e-4)
    for k, more in ((2, []), (3, ["router.k=3", "slots_per_token=3"])):
        for logits, combine in weights("router=token_choice", *more):
            values, indices = logits.topk(k, dim=-1)
            expected = torch.zeros_like(logits).scatter(-1, indices, values.softmax(dim=-1))
            torch.testing.assert_close(combine, expected, atol=1e-5, rtol=1e-4)
    with pytest.raises(UserError, match="tile_depth=2: backbone=hf:.* is a mixture of experts"):
        weights("router=usmoe", "tile_depth=2")
