"""Options: every one has a meaning, numbers have a range, and errors suggest what works."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from moesuite import UserError, compose
from moesuite.config.options import as_path, is_section
from moesuite.config.schema import RunConfig
from moesuite.config.sections import Backbone, Data, Optim
from moesuite.discovery.names import CONF

FIELDS = {
    f"{prefix}{name}": field
    for prefix, section in (
        ("", RunConfig),
        ("optim.", Optim),
        ("data.", Data),
        ("backbone.", Backbone),
    )
    for name, field in section.model_fields.items()
    if not is_section(field.annotation)
}


@pytest.mark.parametrize("name", FIELDS)
def test_every_field_has_a_meaning_and_every_number_a_range(name: str) -> None:
    field = FIELDS[name]
    assert field.description and len(field.description) > 8 and field.description[-1] != "."
    if field.annotation in (int, float, int | None, float | None):
        assert any(hasattr(mark, "ge") or hasattr(mark, "gt") for mark in field.metadata)
    if field.default is None:
        assert field.examples, "what an error may suggest"


def test_a_validation_split_may_be_named_where_none_is_declared() -> None:
    for words in (["task.splits={train:a,val:b,test:c}"], ["task.splits.val=b"]):
        splits = compose("task=imagenet", *words).task["splits"]
        assert splits["val"] == "b" and splits.keys() == {"train", "val", "test"}
    assert compose("task=wikitext2", "task.splits.val=b").task["splits"]["val"] == "b"
    with pytest.raises(UserError, match="unknown option 'task.splits.vl'"):
        compose("task=imagenet", "task.splits={train:a,vl:b}")


def test_a_folder_may_be_named_like_a_home() -> None:
    assert as_path("~no such user") == Path("~no such user")
    assert as_path("~/x") == Path.home() / "x"


def test_the_default_configuration_has_the_defaults_of_the_fields() -> None:
    files = {"": CONF / "config.yaml", "optim.": CONF / "optim" / "adamw.yaml"}
    compared = 0
    for prefix, path in files.items():
        for name, value in OmegaConf.to_container(OmegaConf.load(path), resolve=False).items():  # type: ignore[union-attr]
            field = FIELDS.get(f"{prefix}{name}")
            if field is not None and not str(value).startswith("${"):
                assert value == field.default, name
                compared += 1
    assert compared >= 25


# one of each kind of value in every run; all options together take minutes
SAMPLE = ("slots_per_token", "layers", "decoder", "backbone.tokenizer", "optim.lr", "logger")


def suggested(error: UserError) -> list[str]:
    """Return the words that an error suggests: what a shell makes of them."""
    _, is_there, hint = str(error).partition("type for example ")
    word = hint.split(", or ")[0].split("; ")[0].replace("<value>", "1").replace("<name>", "a")
    return shlex.split(word) if is_there else []


@pytest.mark.parametrize(
    "values",
    [
        ("99", "None"),
        # four more of the same kind: half a minute
        pytest.param(("nonsense", "-1", "[1.5]", "{a:1}"), marks=pytest.mark.slow),
    ],
    ids=["few", "more"],
)
@pytest.mark.parametrize(
    "name",
    [
        name if name in SAMPLE else pytest.param(name, marks=pytest.mark.slow)
        for name in FIELDS
        if name not in ("task", "router")
    ],
)
def test_suggestions_of_errors_are_accepted(name: str, values: tuple[str, ...]) -> None:
    """Typed instead of the wrong value, in a shell; for every option and several wrong values."""
    for value in values:
        try:
            compose(f"{name}={value}")
        except UserError as error:
            message = str(error)
            assert "\n" not in message
            words = suggested(error)
            if words:
                compose(*words)
            else:
                assert name == "logger", message


@pytest.mark.parametrize(
    ("word", "says"),
    [
        ("layers=99", "layers=99: expected text or list of integers or text; type for example"),
        ("slots_per_token=-1", "type for example slots_per_token=1.0"),
        ("data=3", "data=3: expected options of data; type for example data.batch_size=32"),
        ("decoder=2", "type for example 'decoder={name:token_choice,k:2}'"),
    ],
)
def test_errors_of_values(word: str, says: str) -> None:
    with pytest.raises(UserError) as raised:
        compose(word)
    assert says in str(raised.value)
