"""Auxiliary losses count once in transformers' Trainer and its relatives."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

import moesuite
from moesuite.errors import UserError
from moesuite.nn.moe import aux_loss
from tests.loops.tiny import ROWS, gpt, gradients, rows


class Kept(moesuite.with_aux_loss(transformers.Trainer)):  # type: ignore[misc]
    """Keeps the gradients of its first step."""

    def _clip_grad_norm(self, *args: Any, **kwargs: Any) -> Any:
        self.kept = gradients(self.model)
        return super()._clip_grad_norm(*args, **kwargs)


@pytest.mark.parametrize("parts", [1, 2])
def test_the_trainer_takes_the_gradient_of_the_loss_written_out(parts: int, tmp_path: Path) -> None:
    trainer = Kept(
        model=gpt(),
        args=transformers.TrainingArguments(
            output_dir=str(tmp_path),
            max_steps=1,
            per_device_train_batch_size=ROWS // parts,
            gradient_accumulation_steps=parts,
            logging_steps=1,
            save_strategy="no",
            report_to="none",
            use_cpu=True,
            disable_tqdm=True,
        ),
        train_dataset=rows(),
    )
    trainer.get_train_dataloader = lambda: [
        transformers.default_data_collator(rows()[start : start + ROWS // parts])
        for start in range(0, ROWS, ROWS // parts)
    ]
    trainer.train()

    model, written = gpt().train(), []
    for batch in trainer.get_train_dataloader():
        loss = model(**batch).loss
        aux = aux_loss(model)
        ((loss + aux) / parts).backward()  # rows have equal lengths
        written.append(float(aux))
    for ours, theirs in zip(trainer.kept, gradients(model), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-6)
    logged = trainer.state.log_history[0]["aux_loss"]
    assert logged == pytest.approx(sum(written) / parts, abs=1e-5) and logged > 0


def test_an_evaluation_has_no_auxiliary_loss(tmp_path: Path) -> None:
    arguments = transformers.TrainingArguments(
        output_dir=str(tmp_path), report_to="none", use_cpu=True, disable_tqdm=True
    )
    trainer = moesuite.with_aux_loss(transformers.Trainer)(
        model=gpt(), args=arguments, eval_dataset=rows()
    )
    batch = transformers.default_data_collator(rows())
    with torch.no_grad():
        expected = float(gpt().eval()(**batch).loss)
    assert trainer.evaluate()["eval_loss"] == pytest.approx(expected, rel=1e-5)


def test_a_class_is_changed_once() -> None:
    trainer = moesuite.with_aux_loss(transformers.Seq2SeqTrainer)
    assert moesuite.with_aux_loss(trainer) is trainer
    assert issubclass(trainer, transformers.Seq2SeqTrainer)


def test_what_is_no_trainer_is_refused() -> None:
    with pytest.raises(UserError, match="expected a class of transformers' Trainer"):
        moesuite.with_aux_loss(torch.optim.AdamW)
