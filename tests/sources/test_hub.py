"""Data sets of the hub that no task declares: mirrors with other splits and configurations."""

from __future__ import annotations

from typing import Any
from unittest.mock import Mock

import datasets
import huggingface_hub
import pytest
from huggingface_hub.errors import HFValidationError, RepositoryNotFoundError

from moesuite.errors import UserError
from moesuite.sources import hub, source
from moesuite.sources.hub import offline_if_unreachable, own_choice
from moesuite.sources.source import HubSource, Readable
from tests.sources.files import TRAIN_TEST

WIKITEXT = {"train": "train", "val": "validation", "test": "test"}


def offer(monkeypatch: pytest.MonkeyPatch, **configs: list[str]) -> None:
    """Let the hub have configurations with these splits."""
    monkeypatch.setattr(datasets, "get_dataset_config_names", lambda name: list(configs))
    monkeypatch.setattr(
        datasets, "get_dataset_split_names", lambda name, config: configs[config or "default"]
    )


@pytest.mark.parametrize(
    ("configs", "config", "declared", "expected"),
    [
        ({"default": ["train", "test"]}, None, TRAIN_TEST, (None, TRAIN_TEST)),
        (
            {"default": ["training", "valid", "testing"]},
            None,
            WIKITEXT,
            (None, {"train": "training", "val": "valid", "test": "testing"}),
        ),
        (
            {"default": ["train", "dev"]},
            None,
            TRAIN_TEST,
            (None, {"train": "train", "test": "dev"}),
        ),
        ({"default": ["train"]}, None, TRAIN_TEST, (None, {"train": "train"})),
        # a configuration that is there is read, another is left to the data set
        ({"a": ["train"], "b": ["train", "test"]}, "b", TRAIN_TEST, ("b", TRAIN_TEST)),
        ({"a": ["train", "test"]}, "b", TRAIN_TEST, (None, TRAIN_TEST)),
        # without a split for training loading says which there are
        ({"default": ["test"]}, None, TRAIN_TEST, (None, TRAIN_TEST)),
        ({"default": ["other"]}, None, TRAIN_TEST, (None, TRAIN_TEST)),
    ],
)
def test_splits_and_configuration_of_a_mirror(
    configs: dict[str, list[str]],
    config: str | None,
    declared: dict[str, str],
    expected: tuple[str | None, dict[str, str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    offer(monkeypatch, **configs)
    assert own_choice("me/mine", config, declared) == expected


def test_a_test_split_will_do_for_a_family_that_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    offer(monkeypatch, default=["test"])
    assert own_choice("me/mine", None, TRAIN_TEST, test_only=True) == (None, {"test": "test"})


def test_without_an_answer_of_the_hub_what_is_declared_is_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(name: str) -> None:
        raise ConnectionError("no network")

    monkeypatch.setattr(datasets, "get_dataset_config_names", refuse)
    assert own_choice("me/mine", "b", TRAIN_TEST) == ("b", TRAIN_TEST)


def test_which_split_of_a_mirror_is_scored_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    offer(monkeypatch, default=["train", "dev"])
    read: list[Any] = []

    def load_rows(name: str, config: str | None, **options: Any) -> datasets.Dataset:
        read.append((name, options["split"], options["revision"]))
        return datasets.Dataset.from_dict({"text": ["to be"]})

    monkeypatch.setattr(hub, "_resolve", lambda name, revision: "c0ffee")
    monkeypatch.setattr(hub, "load_rows", load_rows)
    loaded = HubSource(source="me/mine").load(TRAIN_TEST)
    assert read == [("me/mine", "train", "c0ffee"), ("me/mine", "dev", "c0ffee")]
    assert loaded.notes == ("no test split: the validation split (dev) is scored",)
    assert (loaded.fingerprint, loaded.description) == (
        "me/mine@c0ffee",
        "hub me/mine, revision c0ffee",
    )


@pytest.mark.parametrize(
    ("place", "says"),
    [
        (HubSource(), "this task has no hub id: give its data, for example task.source=<folder>"),
        (
            HubSource(source="no/such/folder"),
            "task.source=no/such/folder does not exist; expected my pictures, or a hub id",
        ),
        (HubSource(source="./mine"), "task.source=./mine does not exist; expected my pictures"),
    ],
)
def test_what_leads_nowhere(place: HubSource, says: str) -> None:
    with pytest.raises(UserError, match=says):
        place.load(TRAIN_TEST, readable=Readable("my pictures"))


def test_a_lone_row_cannot_be_divided() -> None:
    rows = datasets.Dataset.from_dict({"text": ["to be"]})
    with pytest.raises(UserError, match="mine has one row; expected at least 2"):
        source.with_test(source.Source({"train": rows}, "sha256:0", "mine"))


@pytest.mark.parametrize(
    ("error", "offline"),
    [
        (ConnectionError("no network"), True),
        (RepositoryNotFoundError("no such model", response=Mock()), False),
        (HFValidationError("a b c is no id"), False),
    ],
)
def test_without_the_hub_the_cache_alone_is_read(
    error: Exception, offline: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.HfApi.model_info", Mock(side_effect=error))
    offline_if_unreachable("owner/model")
    assert huggingface_hub.constants.HF_HUB_OFFLINE is offline
    assert datasets.config.HF_HUB_OFFLINE is offline
