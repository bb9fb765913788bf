"""`python -m moesuite.run --help` explains every option, from where it is declared."""

from __future__ import annotations

import subprocess
import sys

import pytest

from moesuite import UserError, compose
from moesuite.config.compose import all_options
from moesuite.config.option_help import OptionRow
from moesuite.config.run_options import (
    LAUNCHER,
    TRAINER_RANGES,
    declared_trainer_options,
    row_of,
    run_options,
)
from moesuite.config.schema import RunConfig
from moesuite.discovery.names import family_options, router_names, router_options, task_families
from moesuite.experiments.launchers import EXTRAS, HERE
from moesuite.run import help_text

NUMBERS = ("integer", "number")


def numeric_without_range(row: OptionRow) -> bool:
    kinds = [part for part in row.values.split(" or ") if part.startswith(NUMBERS)]
    return any(">" not in kind and " to " not in kind for kind in kinds)


@pytest.mark.parametrize("router", router_names())
def test_every_option_of_a_router_has_a_meaning_and_numbers_a_range(router: str) -> None:
    for name, option in router_options(router).items():
        row = row_of(name, option)
        assert row.meaning and row.values and not numeric_without_range(row), (router, row)


@pytest.mark.parametrize("family", task_families())
def test_every_option_of_a_task_has_a_meaning_and_numbers_a_range(family: str) -> None:
    for name, option in family_options(family).items():
        row = row_of(name, option)
        assert row.meaning and row.values and not numeric_without_range(row), (family, row)


def test_every_option_of_the_default_run_is_explained() -> None:
    rows = {row.name: row for group in run_options().values() for row in group}
    assert len(rows) > 110
    for row in rows.values():
        assert row.meaning and len(row.meaning) < 400, row
        if row.name.startswith("trainer."):
            assert not numeric_without_range(row), row
    sections = {"task", "router", "trainer", "backbone", "optim", "data", "logger"}
    for name in all_options():
        hidden = name in sections or name in ("task.family", "router.name")
        key_of_a_mapping = name.rpartition(".")[0] in rows
        assert hidden or key_of_a_mapping or name.startswith("logger.") or name in rows, name


def test_ranges_of_the_trainer_are_of_options_that_exist() -> None:
    assert set(TRAINER_RANGES) <= set(declared_trainer_options())


def test_launchers_are_those_that_there_are() -> None:
    assert LAUNCHER[0].choices == (HERE, *EXTRAS)


def test_help_shows_the_options_and_values_of_the_chosen_task_and_router() -> None:
    text = help_text(["task=wikitext2", "router=soft", "--help", "optim.lr=0.5"])
    assert "Task (language):" in text and "Router (soft):" in text
    for start in (
        "  task.tokenizer=word  ",
        "  router.slots_per_expert=",
        "  optim.lr=0.5  ",
        "  data.batch_size=16  ",
        "  backbone.name=gpt_mini  ",
        "  trainer.max_steps=-1  ",
        "  launcher=here  ",
        "  -m, --multirun  ",
        "  130  ",
    ):
        assert f"\n{start}" in text, start
    assert "router.balance_weight" not in text and "task.image_size" not in text
    assert max(len(line) for line in text.splitlines()) <= 100
    with pytest.raises(UserError, match="unknown task 'wikitxt2'; nearest: wikitext2"):
        help_text(["task=wikitxt2", "--help"])


def test_help_imports_no_torch() -> None:
    code = (
        "import sys; sys.argv = ['run', 'task=stdlib', '--help'];"
        " from moesuite.run import main; main();"
        " assert not {'torch', 'lightning', 'transformers'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "task.objective=causal" in done.stdout


def test_the_help_of_a_field_is_the_declaration() -> None:
    rows = {row.name: row for row in run_options()["Run"]}
    for name in ("num_experts", "layers", "upcycle_state"):
        assert rows[name].meaning == RunConfig.model_fields[name].description
    assert rows["num_experts"].values == "integer 1 to 65536"
    assert compose(f"num_experts={rows['num_experts'].default}").num_experts == 8
