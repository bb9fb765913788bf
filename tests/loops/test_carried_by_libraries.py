"""`carry_aux_loss` in the hands of other libraries: torch.compile, DDP, PEFT, a plain Trainer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from peft import LoraConfig, get_peft_model

import moesuite
from moesuite.nn.moe import aux_loss
from tests.conftest import ROOT, Command
from tests.loops.tiny import batch, bert, gpt, gradients, rows

COMPILED = """
import torch, moesuite
from tests.loops.tiny import batch, gpt, gradients
for checkpointing in (False, True):
    torch.compiler.reset()
    carried, written = gpt().train(), gpt().train()
    if checkpointing:
        carried.gradient_checkpointing_enable({"use_reentrant": False})
    moesuite.carry_aux_loss(carried)
    torch.compile(carried, backend="aot_eager")(**batch()).loss.backward()
    (written(**batch()).loss + moesuite.aux_loss(written)).backward()
    pairs = zip(gradients(carried), gradients(written), strict=True)
    assert max(float((ours - theirs).abs().max()) for ours, theirs in pairs) < 1e-6
    assert float(moesuite.aux_loss(carried)) == 0.0
print("same")
"""


@pytest.mark.slow
def test_compiled_models_carry(command: Command, tmp_path: Path) -> None:
    """In a process of its own: beartype, which checks shapes in tests, cannot be compiled."""
    (tmp_path / "compiled.py").write_text(COMPILED, encoding="utf-8")
    done = command("compiled", env={"PYTHONPATH": str(ROOT)})
    assert done.returncode == 0 and "same" in done.stdout, done.stderr[-2000:]


@pytest.mark.slow
def test_adapted_experts_carry() -> None:
    found = []
    for carries in (True, False):
        lora = LoraConfig(
            r=2,
            target_modules=["query"],
            target_parameters=["experts.up.weight", "experts.down.weight"],
            modules_to_save=["router"],
        )
        model = get_peft_model(bert(), lora)
        if carries:
            moesuite.carry_aux_loss(model)
        ids = batch()["input_ids"]
        (model(input_ids=ids, labels=ids).loss + aux_loss(model)).backward()
        found.append(gradients(model))
    torch.testing.assert_close(*found)


@pytest.mark.slow
def test_gpt2_takes_lora_on_experts_and_attention_as_two_adapters() -> None:
    """As docs/training-loops.md has it."""
    guide = (ROOT / "docs" / "training-loops.md").read_text(encoding="utf-8")
    code = guide.split("**LoRA on GPT-2**")[1].split("```python\n")[1].split("```")[0]
    names: dict[str, Any] = {
        "moe": gpt().train(),
        "LoraConfig": LoraConfig,
        "get_peft_model": get_peft_model,
    }
    exec(code, names)
    model = names["model"]
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=1.0)
    for _ in range(2):
        optimizer.zero_grad()
        (model(**batch()).loss + aux_loss(model)).backward()
        optimizer.step()
    trained = [name for name, p in model.named_parameters() if p.grad is not None]
    for part in ("experts.up", "experts.down", "router", "attn.c_attn"):
        assert any(part in name for name in trained)
    adapted = model.eval()(**batch()).logits
    assert not torch.allclose(adapted, gpt().eval()(**batch()).logits, atol=1e-3)
    torch.testing.assert_close(model.merge_and_unload()(**batch()).logits, adapted)


@pytest.mark.slow
@pytest.mark.parametrize("parts", [1, 2])
def test_a_plain_trainer_takes_them(parts: int, tmp_path: Path) -> None:
    """It changes the loss in place."""
    kept: dict[bool, Any] = {}
    for carries in (True, False):
        plain = transformers.Trainer
        model = gpt()
        if carries:
            moesuite.carry_aux_loss(model, scale=1 / parts)
        trainer = (plain if carries else moesuite.with_aux_loss(plain))(
            model=model,
            args=transformers.TrainingArguments(
                output_dir=str(tmp_path),
                max_steps=1,
                optim="sgd",
                learning_rate=1.0,
                per_device_train_batch_size=4 // parts,
                gradient_accumulation_steps=parts,
                save_strategy="no",
                report_to="none",
                use_cpu=True,
                disable_tqdm=True,
            ),
            train_dataset=rows(),
        )
        trainer.train()
        kept[carries] = model.state_dict()
    before = gpt().state_dict()
    gate = "transformer.h.0.mlp.router.gate.weight"
    assert not torch.equal(kept[True][gate], before[gate])
    torch.testing.assert_close(kept[True], kept[False], rtol=1e-4, atol=1e-6)
