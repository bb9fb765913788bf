"""Trainers of sentence-transformers: they resume, take the best model, refuse cached losses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import sentence_transformers
import torch
import transformers
from datasets import Dataset
from sentence_transformers.sentence_transformer import losses
from sentence_transformers.sentence_transformer.modules import Pooling, Transformer

import moesuite
from moesuite.errors import UserError
from tests.loops.tiny import WIDTH, bert

pytestmark = pytest.mark.slow
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefghijklmno"]
PAIRS = [(f"{a} {b}", f"{b} {a} {b}") for a in "abcd" for b in "efgh"]


def encoder(folder: Path) -> Any:
    folder.mkdir(exist_ok=True)
    (folder / "vocab.txt").write_text("\n".join(WORDS), encoding="utf-8")
    transformers.BertTokenizerFast(str(folder / "vocab.txt")).save_pretrained(folder)
    config = bert(transformers.BertModel).config
    config.moesuite = None
    torch.manual_seed(0)
    transformers.BertModel(config).save_pretrained(folder)
    modules = [Transformer(str(folder)), Pooling(WIDTH)]
    model = sentence_transformers.SentenceTransformer(modules=modules, device="cpu")
    torch.manual_seed(0)
    model[0].auto_model = moesuite.moefy(model[0].auto_model, "token_choice", num_experts=2)
    return model


def trainer_of(model: Any, folder: Path, loss: Any, **options: Any) -> Any:
    data = Dataset.from_dict(
        dict(zip(("anchor", "positive"), zip(*PAIRS, strict=True), strict=True))
    )
    return moesuite.with_aux_loss(sentence_transformers.SentenceTransformerTrainer)(
        model=model,
        args=sentence_transformers.SentenceTransformerTrainingArguments(
            output_dir=str(folder),
            max_steps=4,
            per_device_train_batch_size=4,
            learning_rate=1e-2,
            save_steps=2,
            report_to="none",
            use_cpu=True,
            disable_tqdm=True,
            **{"save_strategy": "steps"} | options,
        ),
        train_dataset=data,
        eval_dataset=data,
        loss=loss,
    )


def test_a_resumed_training_ends_as_one_that_was_not_interrupted(tmp_path: Path) -> None:
    ends = []
    for resumed in (False, True):
        model = encoder(tmp_path / "encoder")
        loss = losses.MultipleNegativesRankingLoss(model)
        checkpoint = str(tmp_path / "run" / "checkpoint-2") if resumed else None
        trainer_of(model, tmp_path / "run", loss).train(resume_from_checkpoint=checkpoint)
        ends.append(model.state_dict())
    torch.testing.assert_close(*ends, rtol=0, atol=0)


def test_the_best_model_is_loaded_at_the_end(tmp_path: Path) -> None:
    model = encoder(tmp_path / "encoder")
    trainer = trainer_of(
        model,
        tmp_path / "run",
        losses.MultipleNegativesRankingLoss(model),
        eval_strategy="steps",
        eval_steps=2,
        load_best_model_at_end=True,
        metric_for_best_model="eval_loss",
        greater_is_better=True,  # the first is the best
    )
    trainer.train()
    best = trainer.state.best_model_checkpoint
    assert best.endswith("checkpoint-2")
    texts = [text for pair in PAIRS for text in pair]
    last = moesuite.load_moe(tmp_path / "run" / "checkpoint-4").encode(texts)
    ours, theirs = model.encode(texts), moesuite.load_moe(best).encode(texts)
    assert abs(ours - theirs).max() < 1e-6 < abs(ours - last).max()


@pytest.mark.parametrize("carries", [False, True])
def test_cached_losses_are_refused(carries: bool, tmp_path: Path) -> None:
    model = encoder(tmp_path / "encoder")
    trainer = trainer_of(
        model,
        tmp_path / "run",
        losses.CachedMultipleNegativesRankingLoss(model, mini_batch_size=2),
        save_strategy="no",
    )
    if carries:
        moesuite.carry_aux_loss(model)
        trainer.__class__ = sentence_transformers.SentenceTransformerTrainer
    with pytest.raises(UserError, match="again in backward, .*; type the loss without a cache"):
        trainer.train()
    # other losses go on, with activation checkpointing too
    trainer.loss = losses.MultipleNegativesRankingLoss(model)
    model[0].auto_model.gradient_checkpointing_enable({"use_reentrant": False})
    assert trainer.train().global_step == 4
