"""Embeddings: reading, pooling and scores against libraries; runs from the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from moesuite import moefy
from moesuite.errors import UserError
from moesuite.models.backbones import build_backbone
from moesuite.nn.stats import routing_weights
from moesuite.tasks.embeddings.pooling import pool
from moesuite.tasks.embeddings.task import Embeddings
from moesuite.tasks.text.encoder import padded
from moesuite.tasks.text.stdlib import documented, read_library
from tests.helpers import long_except, run
from tests.tasks.local_data import BYTES, TINY_BERT, parquet, search_folder, sentences


def test_pooling_by_hand() -> None:
    hidden = torch.tensor(
        [[[3.0, 0.0], [1.0, 4.0], [9.0, 9.0]], [[0.0, 2.0], [4.0, 0.0], [2.0, 1.0]]]
    )
    mask = torch.tensor([[1, 1, 0], [1, 1, 1]])
    # before normalising: mean (2, 2) and (2, 1); first (3, 0), (0, 2); last (1, 4), (2, 1); maximum
    # (3, 4), (4, 2)
    expected = {
        "mean": [[1, 1], [2, 1]],
        "cls": [[3, 0], [0, 2]],
        "last": [[1, 4], [2, 1]],
        "max": [[3, 4], [4, 2]],
    }
    for how, rows in expected.items():
        torch.testing.assert_close(
            pool(hidden, mask, how), F.normalize(torch.tensor(rows).float(), dim=-1)
        )  # type: ignore[arg-type]


def test_padding_fills_up_on_the_right() -> None:
    batch = padded([np.array([1, 2, 3]), np.array([4])], padding=9)
    assert batch["input_ids"].tolist() == [[1, 2, 3], [4, 9, 9]]
    assert batch["attention_mask"].tolist() == [[1, 1, 1], [1, 0, 0]]


@pytest.mark.slow
def test_docstrings_and_code_of_the_standard_library() -> None:
    pairs = documented(read_library({"test": 0.1, "val": 0.05}))
    assert len(pairs["train"]) > 3500 and len(pairs["test"]) > 700 and len(pairs["val"]) > 150
    queries = [query for found in pairs.values() for query, _ in found]
    codes = [code for found in pairs.values() for _, code in found]
    assert len(set(queries)) == len(queries) and len(set(codes)) == len(codes)
    found = dict(pairs["train"] + pairs["test"] + pairs["val"])
    code = (
        found["Dedent every line in `text`."]
        if "Dedent every line in `text`." in found
        else next(iter(codes))
    )
    assert all(query not in code for query, code in pairs["val"])
    assert code.split()[0] in ("def", "class", "async") or code.startswith("@")


@pytest.mark.parametrize("pooling", ["mean", "cls", "last", "max"])
@pytest.mark.parametrize(
    "router", long_except(["usmoe", "expert_choice", "token_choice", "soft"], "usmoe")
)
def test_vectors_do_not_depend_on_padding_or_batch(
    router: str, pooling: Any, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    task = Embeddings.from_options(source=str(search_folder(tmp_path)), length=24, pooling=pooling)
    task.prepare()
    kwargs = {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
    }
    fit = task.backbone_arguments() | {"max_position_embeddings": 64}  # room for more padding
    model = build_backbone("hf:bert", False, 0, fit, kwargs).eval()
    test = task.dataset("test")
    assert test is not None
    samples = [test[0], test[7], test[19]]
    model = moefy(
        model, router, num_experts=4, layers="all", example=task.inputs(task.collate(samples))
    )

    def vectors(picked: list[Any], extra: int = 0) -> torch.Tensor:
        batch = dict(task.collate(picked))
        batch["input_ids"] = F.pad(batch["input_ids"], (0, extra), value=3)
        batch["attention_mask"] = F.pad(batch["attention_mask"], (0, extra))
        with torch.no_grad():
            return pool(
                model(**task.inputs(batch)).last_hidden_state, batch["attention_mask"], pooling
            )

    together, alone = vectors(samples), torch.cat([vectors([sample]) for sample in samples])
    torch.testing.assert_close(together[[0, 3, 1, 4, 2, 5]], alone, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(vectors(samples, extra=5), together, atol=1e-5, rtol=1e-4)


def test_routing_weights_are_those_of_all_layers(tmp_path: Path) -> None:
    kwargs = {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
    }
    fit = {"head": "embedding", "vocab_size": 50, "max_position_embeddings": 16}
    model = build_backbone("hf:bert", False, 0, fit, kwargs).eval()
    with pytest.raises(UserError, match="any router but dense"):
        routing_weights(model)
    moe = moefy(model, "token_choice", num_experts=4, layers="all").eval()
    moe(input_ids=torch.arange(12).view(2, 6))
    weights = routing_weights(moe)
    assert (
        weights.shape == (2, 6, 8) and int((weights > 0).sum()) == 2 * 6 * 2
    )  # one expert a token and layer


def test_a_label_comes_with_another_text_of_its_class(tmp_path: Path) -> None:
    labels = [number % 3 for number in range(30)]
    folder = parquet(
        tmp_path / "Mine",
        train={"text": sentences(30), "label": labels},
        test={"text": sentences(5, 40), "label": [0, 1, 2, 0, 1]},
    )
    task = Embeddings.from_options(
        kind="classification",
        sets={"Mine": {"hub": "x/mine"}},
        source=str(folder.parent),
        length=32,
    )
    task.prepare()
    train, test = task.dataset("train"), task.dataset("test")
    assert train is not None and test is not None
    partners = set()
    for seed in range(40):
        (_, other), example = train[4, seed]
        assert int(bytes(other.astype(np.uint8)).split()[2]) % 3 == example.target == 1
        partners.add(bytes(other.astype(np.uint8)))
    assert len(partners) == 9  # all others of the class
    batch = task.collate([test[index] for index in range(len(test))])  # type: ignore[arg-type]
    assert (task.size(batch), task.scored(batch)) == (35, 5) and task.examples(
        "accuracy", 5
    ) == task.examples("Mine", 5) == 5


@pytest.mark.parametrize("router", ["token_choice", "usmoe"])
def test_a_search_run(router: str, tmp_path: Path) -> None:
    words = [f"task.source={search_folder(tmp_path / 'data')}", *TINY_BERT, *BYTES, "measure=false"]
    record = run(tmp_path, "task=stdlib_search", *words, f"router={router}")
    assert record.status == "ok" and record.primary == "ndcg@10"
    assert (
        set(record.quality) == {"ndcg@10", "mrr", "recall@1", "recall@10"}
        and record.quality["mrr"].n == 20
    )
    assert "BM25 has ndcg@10" in record.data_description and record.steps == 4


@pytest.mark.slow
def test_routing_as_representation(tmp_path: Path) -> None:
    words = [
        f"task.source={search_folder(tmp_path / 'data')}",
        *TINY_BERT,
        *BYTES,
        "measure=false",
        "task.pooling=last",
    ]
    record = run(
        tmp_path,
        "task=stdlib_search",
        *words,
        "task.representation=routing",
        "trainer.max_epochs=0",
    )
    assert record.status == "ok" and record.steps == 0 and record.quality["mrr"].n == 20
    with pytest.raises(UserError, match="any router but dense"):
        run(tmp_path, "task=stdlib_search", *words, "task.representation=routing", "router=dense")


@pytest.mark.slow
@pytest.mark.parametrize(
    "backbone",
    [
        "gpt_mini",
        *(pytest.param(name, marks=pytest.mark.slow) for name in ("t5_mini", "llama_mini")),
    ],
)
def test_decoders_and_encoders_embed(backbone: str, tmp_path: Path) -> None:
    words = [
        f"task.source={search_folder(tmp_path / 'data')}",
        *BYTES,
        "task.pooling=last",
        f"backbone={backbone}",
    ]
    prompt = """task.prompt='This sentence : "{}" means in one word:"'"""
    record = run(tmp_path, "task=stdlib_search", *words, prompt, "measure=false")
    assert record.status == "ok" and len(record.health) in (1, 2)
