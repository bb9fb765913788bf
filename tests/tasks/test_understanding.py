"""GLUE and SuperGLUE: every set in the hub's schema, official metrics by hand and by scikit-learn, heads and words."""

from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from transformers import BertTokenizerFast

from moesuite import compose
from moesuite.errors import UserError
from moesuite.tasks.text.encoder import text_encoder
from moesuite.tasks.understanding import answers
from moesuite.tasks.understanding.answers import Question, credit, scores
from moesuite.tasks.understanding.task import TRAINED
from moesuite.train.build import build_task
from moesuite.train.fit import fit
from tests.tasks.glue import GLUE, SUPERGLUE, rows, understanding_folder
from tests.tasks.local_data import TINY_BERT, parquet

BYTES = ("task.tokenizer=byte", "task.length=64")
T5 = tuple(
    f"backbone.kwargs.{key}"
    for key in ("d_model=32", "d_ff=64", "num_layers=2", "num_heads=2", "d_kv=16")
)
QUICK = (
    "trainer.max_steps=2",
    "data.batch_size=4",
    "measure=false",
    "logger=none",
    "trainer.enable_progress_bar=false",
)
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


def build(root: Path, suite: str, name: str, *words: str) -> Any:
    source = understanding_folder(root, suite, name)
    return build_task(
        compose(
            f"task={suite}", f"task.subset={name}", f"task.source={source}", *BYTES, *words
        ).task
    )


def question(answer: float = 0.0, **changed: Any) -> Question:
    return Question(
        **{
            "prompt": "",
            "pairs": (("",),),
            "alternatives": ("a", "b"),
            "answer": answer,
            "words": "a",
            **changed,
        }
    )


@pytest.mark.parametrize(("suite", "name"), BY_FORM)
@pytest.mark.parametrize("objective", ["classification", "text_to_text"])
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


def test_metrics_are_those_of_scikit_learn() -> None:
    from sklearn.metrics import f1_score, matthews_corrcoef

    draw = np.random.default_rng(0)
    right, given = draw.integers(0, 2, 50).astype(float), draw.integers(0, 2, 50).astype(float)
    asked = [question(answer) for answer in right]
    found = scores(given, asked, ["accuracy", "f1", "f1_macro", "matthews"])
    assert found["accuracy"] == (right == given).mean() and found["f1"] == pytest.approx(
        f1_score(right, given)
    )
    assert found["f1_macro"] == pytest.approx(f1_score(right, given, average="macro"))
    assert found["matthews"] == pytest.approx(matthews_corrcoef(right, given))
    assert found["score"] == pytest.approx(
        np.mean([value for name, value in found.items() if name != "score"])
    )


def test_correlations_of_scores() -> None:
    asked = [question(answer) for answer in (0.0, 1.0, 2.0, 4.0)]
    found = scores(np.array([0.0, 1.0, 8.0, 9.0]), asked, ["pearson", "spearman"])
    assert found["spearman"] == 1 and found["pearson"] == pytest.approx(
        np.corrcoef([0, 1, 8, 9], [0, 1, 2, 4])[0, 1]
    )
    assert scores(np.ones(4), asked, ["pearson", "spearman"])["score"] == 0  # and not NaN


def test_metrics_of_groups_parts_and_words_by_hand() -> None:
    asked = [question(1.0, group="x"), question(0.0, group="x"), question(1.0, group="y", part=1)]
    given = np.array([1.0, 1.0, 1.0])
    assert scores(given, asked, ["exact_match"]) == {"exact_match": 0.5}
    assert scores(given, asked, ["accuracy"]) == {"accuracy": 0.5}
    assert scores(given, asked, ["accuracy_mismatched"]) == {"accuracy_mismatched": 1.0}
    counted = [
        answers.count(name, asked)
        for name in ("exact_match", "accuracy", "accuracy_mismatched", "f1")
    ]
    assert counted == [2, 2, 1, 3]
    assert credit("The old, city", ["an Old town", "house"]) == (0.5, 0.0)
    assert credit("the Pope!", ["Pope", "a man"]) == (1.0, 1.0)
    one = question(0.0, credits=((1.0, 1.0), (0.5, 0.0)))
    assert scores(np.array([1.0]), [one], ["token_f1", "token_exact_match"])["score"] == 0.25


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
    words.write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "b"]))
    BertTokenizerFast(str(words)).save_pretrained(tmp_path / "bert")
    inputs = text_encoder(str(tmp_path / "bert"), 8, list).rows([("a", "b"), ("a b", "b")])
    assert inputs["input_ids"].tolist() == [[2, 5, 3, 6, 3, 0], [2, 5, 6, 3, 6, 3]]
    assert inputs["token_type_ids"].tolist() == [[0, 0, 0, 1, 1, 0], [0, 0, 0, 0, 1, 1]]


@pytest.mark.parametrize("name", ["byte", "bert"])
def test_closing_words_stay_when_a_text_is_cut(name: str, tmp_path: Path) -> None:
    words = tmp_path / "vocab.txt"
    words.write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefgh"]))
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
    ("words", "change", "says"),
    [
        (["task.subset=cloa"], {}, "unknown set in task.subset 'cloa'; nearest: cola"),
        (
            ["task.subset=rte"],
            {"label": [-1] * 6},
            "label -1 is out of range; allowed: 0 to 1 .*not public",
        ),
        (
            ["task.subset=rte"],
            {"label": [2] * 6},
            "rte, split validation: label 2 is out of range; allowed: 0 to 1",
        ),
        (["task.subset=stsb"], {"label": [5.5] * 6}, "label 5.5 is out of range; allowed: 0 to 5"),
        (
            ["task.subset=rte"],
            {"sentence2": None},
            "has no column 'sentence2'; its columns: sentence1, label",
        ),
        (["task.subset=mnli"], {}, "mnli: no split 'validation_m.*'"),
    ],
)
def test_bad_data(words: list[str], change: dict[str, Any], says: str, tmp_path: Path) -> None:
    name = words[0].partition("=")[2]
    known = name if name in GLUE else "rte"
    columns = {
        key: value
        for key, value in (rows("glue", known, 100, 6) | change).items()
        if value is not None
    }
    parquet(tmp_path / known, train=rows("glue", known, 0, 12), validation=columns)
    with pytest.raises(UserError, match=says):
        build_task(compose("task=glue", *words, f"task.source={tmp_path}").task)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (
            ["backbone=t5_mini"],
            "cannot do task.objective=classification; .*with an encoder or a decoder only",
        ),
        (
            [*TINY_BERT, "task.objective=text_to_text"],
            "cannot do task.objective=text_to_text; .*type for example backbone=t5_mini",
        ),
    ],
)
def test_objectives_that_a_backbone_cannot_do(words: list[str], says: str, tmp_path: Path) -> None:
    source = understanding_folder(tmp_path, "glue", "rte")
    with pytest.raises(UserError, match=says):
        fit(compose("task=glue", f"task.source={source}", *BYTES, *words, f"records={tmp_path}"))


@pytest.mark.parametrize(
    "backbone", [["backbone=gpt_mini", "backbone.kwargs.n_layer=2"], ["backbone=llama_mini"]]
)
def test_decoders_read_the_last_token_that_is_no_padding(
    backbone: list[str], tmp_path: Path
) -> None:
    source = understanding_folder(tmp_path, "glue", "cola")
    words = ["task=glue", "task.subset=cola", f"task.source={source}", *BYTES, *QUICK, *backbone]
    record, _ = fit(compose(*words, "router=expert_choice", f"records={tmp_path / 'runs'}"))
    assert record.status == "ok" and record.quality["matthews"].n == 6
