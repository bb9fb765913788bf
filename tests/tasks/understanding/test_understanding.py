"""GLUE and SuperGLUE: every set in the hub's schema, with heads and as text to text."""

from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from transformers import BertTokenizerFast

from moesuite import compose
from moesuite.errors import UserError
from moesuite.tasks.text.encoder import text_encoder
from moesuite.tasks.understanding.rows import TRAINED
from moesuite.train.fit import fit
from tests.tasks.glue import BYTES, GLUE, QUICK, SUPERGLUE, T5, build, understanding_folder
from tests.tasks.local_data import TINY_BERT

EVERY = [("glue", name) for name in GLUE] + [("superglue", name) for name in SUPERGLUE]
FORMS = {
    "mnli",
    "stsb",
    "copa",
    "multirc",
    "record",
    "wsc",
}  # one of each, in the default run of tests
BY_FORM = [
    pytest.param(*pair, marks=[] if pair[1] in FORMS else pytest.mark.slow) for pair in EVERY
]


@pytest.mark.parametrize(("suite", "name"), BY_FORM)
@pytest.mark.parametrize(
    "objective", ["classification", pytest.param("text_to_text", marks=pytest.mark.slow)]
)
def test_every_set_trains_and_is_scored(
    suite: str, name: str, objective: str, tmp_path: Path
) -> None:
    backbone = TINY_BERT if objective == "classification" else ["backbone=t5_mini", *T5]
    source = understanding_folder(tmp_path / "data", suite, name)
    words = [
        f"task={suite}",
        f"task.subset={name}",
        f"task.source={source}",
        f"task.objective={objective}",
    ]
    record, path = fit(
        compose(*words, *BYTES, *QUICK, *backbone, "router=switch", f"records={tmp_path / 'runs'}")
    )
    metrics = compose(*words, *backbone).task["sets"][name]["metrics"]
    assert record.status == "ok" and record.task == path.parents[1].name == f"{suite}_{name}"
    assert record.quality.keys() == {*metrics, *(["score"] if len(metrics) > 1 else [])}
    assert record.primary == (metrics[0] if len(metrics) == 1 else "score")
    assert all(math.isfinite(quality.value) for quality in record.quality.values())
    assert record.quality[metrics[0]].n == 6


@pytest.mark.slow
def test_texts_and_prompts(tmp_path: Path) -> None:
    read = {name: build(tmp_path, "superglue", name)._read.roles["test"][0] for name in SUPERGLUE}
    assert (
        read["boolq"].prompt
        == "boolq question: question has 100 words passage: passage has 100 words"
    )
    assert read["boolq"].pairs == (("question has 100 words", "passage has 100 words"),)
    assert read["copa"].pairs[1] == ("It rained 100 h. What was the effect?", "It is dry.")
    assert read["copa"].prompt.startswith(
        "copa premise: It rained 100 h. question: effect choice1: It is wet. choice2:"
    )
    assert read["copa"].words == "choice1"
    assert read["multirc"].pairs == (("Who has cats? Ann 100", "Ann has 100 cats."),)
    assert read["multirc"].group == "Ann has 100 cats.\nWho has cats?"
    assert read["wsc"].pairs == (("she: Eve", "Ann gave #Eve# 100 pens because *she* asked."),)
    assert read["wic"].pairs == (
        ("word has 100 words sentence1 has 100 words", "sentence2 has 100 words"),
    )
    record = read["record"]
    assert (
        record.alternatives == ("Bob", "Rome", "Ann", "Zoe", "Eve")
        and record.words == "Ann"
        and record.answer == 2
    )
    assert record.pairs[2] == ("There Ann met him", "Ann met Bob in Rome 100 times. Bob is old")
    assert record.prompt.startswith(
        "record query: There @placeholder met him entities: Bob, Rome, Ann, Zoe, Eve passage:"
    )
    similar = build(tmp_path, "glue", "stsb")._read.roles["train"][2]
    assert (
        similar.answer == pytest.approx(5 / 3)
        and similar.words == "1.6"
        and similar.alternatives[-1] == "5.0"
    )


def test_training_draws_alternatives_and_keeps_the_right_one(tmp_path: Path) -> None:
    task = build(tmp_path, "superglue", "record")
    drawn = set()
    for seed in range(40):
        sample = task.dataset("train")[0, seed]
        assert (
            len(sample.texts) == TRAINED
            and "There Ann met him" in sample.texts[int(sample.answer)][0]
        )
        drawn.add(tuple(sample.texts))
    assert len(drawn) == 4  # one of four wrong ones is left out
    assert len(task.dataset("test")[0].texts) == 5


def test_answers_in_words_are_ranked_as_a_whole(tmp_path: Path) -> None:
    task = build(tmp_path, "glue", "rte", "task.objective=text_to_text")
    batch = task.collate([task.dataset("test")[0], task.dataset("test")[1]])
    assert batch["rows"].tolist() == [2, 2] and len(batch["labels"]) == 4
    decoded = [bytes(row[row >= 0].tolist()).decode() for row in batch["labels"]]
    assert decoded == ["entailment\n", "not_entailment\n"] * 2
    assert batch["decoder_input_ids"][0, :4].tolist() == [256, *b"ent"]
    logits = torch.zeros(
        4, batch["labels"].shape[1], 257
    )  # every token as likely: the shorter answer wins
    found = task._scores(SimpleNamespace(logits=logits), batch)
    torch.testing.assert_close(found, -math.log(257) * torch.tensor([[11.0, 15.0], [11.0, 15.0]]))
    metrics = task.metrics()
    task.update(metrics, SimpleNamespace(logits=logits), batch)
    assert metrics.compute()["accuracy"] == 0.5  # answers are 0 and 1


def test_a_choice_is_one_softmax_over_its_rows(tmp_path: Path) -> None:
    task = build(tmp_path, "superglue", "record")
    test = task.dataset("test")
    batch = task.collate([test[0], test[1]])
    logits = torch.arange(10.0)[:, None]
    expected = torch.nn.functional.cross_entropy(logits.reshape(2, 5), torch.tensor([2, 2]))
    torch.testing.assert_close(task.loss(SimpleNamespace(logits=logits), batch), expected)


def test_pairs_are_cut_at_the_longer_text_and_typed(tmp_path: Path) -> None:
    encoder = text_encoder("byte", 8, list)
    inputs = encoder.rows([("abcdefghij", "xy"), ("ab", "uvwxyz")])
    assert inputs["input_ids"].tolist() == [[*b"abcdexy\n"], [*b"ab\nuvwxy"]]
    words = tmp_path / "vocab.txt"
    words.write_text(
        "\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "b"]), encoding="utf-8"
    )
    BertTokenizerFast(str(words)).save_pretrained(tmp_path / "bert")
    inputs = text_encoder(str(tmp_path / "bert"), 8, list).rows([("a", "b"), ("a b", "b")])
    assert inputs["input_ids"].tolist() == [[2, 5, 3, 6, 3, 0], [2, 5, 6, 3, 6, 3]]
    assert inputs["token_type_ids"].tolist() == [[0, 0, 0, 1, 1, 0], [0, 0, 0, 0, 1, 1]]


@pytest.mark.parametrize("name", ["byte", "bert"])
def test_closing_words_stay_when_a_text_is_cut(name: str, tmp_path: Path) -> None:
    words = tmp_path / "vocab.txt"
    words.write_text(
        "\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefgh"]), encoding="utf-8"
    )
    BertTokenizerFast(str(words)).save_pretrained(tmp_path / "bert")
    tokenizer = name if name == "byte" else str(tmp_path / "bert")
    long, short = text_encoder(tokenizer, 6, list, closing=" g h").encode(
        ["a b c d e f g h", "a g h"]
    )
    if name == "byte":
        assert long.tolist() == [*b"a g h\n"] and short.tolist() == [*b"a g h\n"]
    else:
        assert long.tolist() == [2, 5, 6, 11, 12, 3] and short.tolist() == [2, 5, 11, 12, 3]
    with pytest.raises(
        UserError, match=r"task.length=3: the prompt's end ' g h' alone has \d tokens"
    ):
        text_encoder(tokenizer, 3, list, closing=" g h")


@pytest.mark.parametrize(
    "backbone",
    [
        ["backbone=gpt_mini", "backbone.kwargs.n_layer=2"],
        pytest.param(["backbone=llama_mini"], marks=pytest.mark.slow),
    ],
)
def test_decoders_read_the_last_token_that_is_no_padding(
    backbone: list[str], tmp_path: Path
) -> None:
    source = understanding_folder(tmp_path, "glue", "cola")
    words = ["task=glue", "task.subset=cola", f"task.source={source}", *BYTES, *QUICK, *backbone]
    record, _ = fit(compose(*words, "router=expert_choice", f"records={tmp_path / 'runs'}"))
    assert record.status == "ok" and record.quality["matthews"].n == 6
