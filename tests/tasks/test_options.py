"""Options of the task families: in groups, each explained beside its default."""

from __future__ import annotations

import inspect
import re

import pytest

from moesuite import compose
from moesuite.discovery.names import contract_class, task_families
from moesuite.discovery.signature import option_fields, signature_options
from moesuite.task import Task, task_class
from moesuite.train.build import declare_task

MOST = 10  # parameters of an `__init__`
BOUNDED = re.compile(r"\b(Ge|Gt|Le|Lt|Count|Share|Area|Plies)\b")
RANGE = re.compile(r">=? \d|in [\[(]\d|\d to [\d`]")
RECORDED = {
    "vision": {
        *("name", "embedded", "hub", "revision", "config", "source", "splits", "columns"),
        *("num_classes", "image_size", "channels", "mean", "std", "cache", "streaming", "strict"),
        *("crop", "crop_pct", "hflip", "auto_augment", "erase", "mixup", "cutmix", "smoothing"),
        *(
            "probes",
            "attacks",
            "attack_radius",
            "background",
            "value_range",
            "licence",
            "size",
            "ceiling",
        ),
    },
    "language": {
        *("name", "embedded", "hub", "revision", "config", "source", "splits", "column"),
        *("objective", "tokenizer", "length", "stride", "mask_share", "metric", "streaming"),
        *("eval_documents", "licence", "size", "ceiling"),
    },
    "embeddings": {
        *("name", "kind", "sets", "names", "source", "splits", "tokenizer", "length", "pooling"),
        *("prompt", "representation", "temperature", "close", "licence", "size", "ceiling"),
    },
    "understanding": {
        *("name", "hub", "revision", "source", "subset", "sets", "objective", "tokenizer"),
        *("length", "licence", "size", "ceiling"),
    },
    "preferences": {
        *("name", "kind", "head", "loss", "alternatives", "source", "hub", "revision", "splits"),
        *("columns", "expert", "positions", "test_positions", "train_plies", "test_plies"),
        *(
            "random_moves",
            "train_on",
            "play",
            "games",
            "tokenizer",
            "length",
            "licence",
            "size",
            "ceiling",
        ),
    },
    "diagnostics": {
        *("name", "kind", "world", "train", "val", "test", "length", "width", "clusters"),
        *("imbalance", "separation", "noise", "units", "licence", "size", "ceiling"),
        *("shift", "needles", "lookalikes", "mark", "functions", "seen", "function_units", "blur"),
        *("facts", "nodes", "symbols"),
    },
}
TASKS = {
    "vision": "digits",
    "language": "stdlib",
    "embeddings": "sts",
    "understanding": "glue",
    "preferences": "backgammon",
    "diagnostics": "planted_experts",
}


@pytest.mark.parametrize("family", task_families())
def test_a_family_has_few_parameters_and_explains_every_option(family: str) -> None:
    path = task_families()[family]
    cls = task_class(family)
    assert len(inspect.signature(cls.__init__).parameters) - 1 <= MOST
    options = signature_options(path, contract_class(path, "Task").name, skip=1)
    assert [name for name, option in options.items() if len(option.meaning) < 10] == []
    unbounded = [
        name
        for name, option in options.items()
        if BOUNDED.search(option.type) and not RANGE.search(option.meaning)
    ]
    assert unbounded == []


@pytest.mark.parametrize("family", task_families())
def test_records_keep_the_options_of_a_family(family: str) -> None:
    """Ids of records are hashes of these names and their values."""
    assert set(option_fields(task_class(family).__init__)) == RECORDED[family]
    config = compose(f"task={TASKS[family]}")
    assert set(config.task) - {"family", "recipe"} == RECORDED[family]


def _groups(task: Task) -> dict[str, object]:
    return {
        name: group for name, group in vars(task).items() if hasattr(group, "__dataclass_fields__")
    }


def test_flat_options_of_the_command_line_reach_their_groups() -> None:
    words = ["task.mixup=0.3", "task.crop=0.5", "task.channels=3", "task.attack_radius=2"]
    groups = _groups(declare_task(compose("task=digits", *words).task))
    values = {key: value for group in groups.values() for key, value in vars(group).items()}
    expected = {
        "mixup": 0.3,
        "crop": 0.5,
        "channels": 3,
        "attack_radius": 2.0,
        "embedded": "digits",
    }
    assert {key: values[key] for key in expected} == expected


@pytest.mark.parametrize(
    ("words", "tokenizer"),
    [
        (["task=preferences_text"], "bpe"),
        (["task=glue", "backbone=bert_mini"], "bpe"),
        (["task=preferences_text", "backbone.tokenizer=word"], "word"),
        (["task=glue"], "sentence-transformers/all-MiniLM-L6-v2"),
    ],
)
def test_a_task_of_texts_has_the_tokenizer_of_its_backbone_or_its_own(
    words: list[str], tokenizer: str
) -> None:
    config = compose(*words)
    assert config.task["tokenizer"] == tokenizer
    assert config.backbone.tokenizer in (tokenizer, "byte")
