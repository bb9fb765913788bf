"""Auxiliary losses count once: in transformers' Trainer, and carried by an output."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import timm
import torch
import transformers

import moesuite
from moesuite.errors import UserError
from moesuite.nn.moe import aux_loss

WIDTH, LENGTH, ROWS = 16, 6, 4


def gpt() -> Any:
    torch.manual_seed(0)
    config = transformers.GPT2Config(
        vocab_size=20, n_positions=LENGTH, n_embd=WIDTH, n_layer=2, n_head=2
    )
    config.attn_pdrop = config.embd_pdrop = config.resid_pdrop = 0.0
    model = transformers.GPT2LMHeadModel(config)
    return moesuite.moefy(model, "switch", num_experts=2, layers="all", jitter=0.0)


def rows() -> list[dict[str, torch.Tensor]]:
    random = torch.Generator().manual_seed(1)
    ids = torch.randint(20, (ROWS, LENGTH), generator=random)
    # nothing predicts the first token: the Trainer would count it among the items of a batch
    labels = ids.index_fill(1, torch.tensor(0), -100)
    return [{"input_ids": row, "labels": label} for row, label in zip(ids, labels, strict=True)]


def gradients(model: Any) -> list[torch.Tensor]:
    return [p.grad.clone() for p in model.parameters() if p.grad is not None]


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


@pytest.mark.parametrize("scale", [1.0, 0.5])
def test_an_output_carries_the_auxiliary_loss(scale: float) -> None:
    batch = transformers.default_data_collator(rows())
    carried, written = gpt().train(), gpt().train()
    handle = moesuite.carry_aux_loss(carried, scale)
    loss, expected = carried(**batch).loss, written(**batch).loss
    assert float(loss) == float(expected)
    loss.backward()
    (expected + scale * aux_loss(written)).backward()
    for ours, theirs in zip(gradients(carried), gradients(written), strict=True):
        torch.testing.assert_close(ours, theirs)
    assert float(aux_loss(carried)) == 0.0  # read once
    handle.remove()
    carried(**batch)
    assert float(aux_loss(carried)) > 0.0


class Outputs(NamedTuple):
    """Of a model: a name, and the tensor that the loss depends on."""

    name: str
    logits: torch.Tensor


class Host(torch.nn.Module):
    """A model whose output is of any type."""

    def __init__(self, wrap: Callable[[torch.Tensor], Any]) -> None:
        super().__init__()
        self.body = moesuite.moefy(vit(), "switch", num_experts=2, layers="all")
        self.wrap = wrap

    def forward(self, x: torch.Tensor) -> Any:
        return self.wrap(self.body(x))


def vit() -> torch.nn.Module:
    return timm.create_model(
        "vit_tiny_patch16_224", img_size=8, patch_size=4, depth=1, embed_dim=12, num_classes=2
    )


@pytest.mark.parametrize(
    ("wrap", "read"),
    [
        (lambda y: ("a", y), lambda output: output[1]),
        (lambda y: ["a", y], lambda output: output[1]),
        (lambda y: {"name": "a", "y": y}, lambda output: output["y"]),
        (lambda y: Outputs("a", y), lambda output: output.logits),
    ],
    ids=["tuple", "list", "mapping", "named tuple"],
)
def test_an_output_of_any_type_carries(wrap: Any, read: Any) -> None:
    host = Host(wrap).train()
    moesuite.carry_aux_loss(host)
    output = host(torch.randn(2, 3, 8, 8))
    assert type(output) is type(wrap(torch.zeros(1)))
    (0 * read(output)).sum().backward()  # what is left is the gradient of the auxiliary loss
    gate = host.body.blocks[0].mlp.router.gate.weight
    assert float(gate.grad.abs().sum()) > 0


def test_an_output_without_a_tensor_is_refused() -> None:
    host = Host(lambda y: "nothing").train()
    moesuite.carry_aux_loss(host)
    with pytest.raises(UserError, match="an output of type str holds no tensor .*; expected a ten"):
        host(torch.randn(2, 3, 8, 8))


def test_what_cannot_carry_or_train_is_refused() -> None:
    with pytest.raises(UserError, match="expected a class of transformers' Trainer"):
        moesuite.with_aux_loss(torch.optim.AdamW)
    with pytest.raises(UserError, match="no MoE layers; type moesuite.moefy"):
        moesuite.carry_aux_loss(torch.nn.Linear(2, 2))
    with pytest.raises(UserError, match=r"scale=0\.0: expected more than 0, e\.g\. scale=1\.0"):
        moesuite.carry_aux_loss(gpt(), 0.0)
