"""Search spaces: Hydra's sweep grammar, the old form, and studies that span both."""

from __future__ import annotations

from pathlib import Path

import optuna
import pytest

from moesuite.errors import UserError
from moesuite.tune.arguments import parse_command
from moesuite.tune.space.parameter import Parameter
from moesuite.tune.space.search_space import read_space
from moesuite.tune.space.sweep_grammar import canonical, modern, parse_parameter
from moesuite.tune.storage import open_storage
from moesuite.tune.study import open_study
from moesuite.tune.worker import plan_study, search

NAME = "optim.lr"


@pytest.mark.parametrize(
    ("line", "parameter"),
    [
        ("interval(0, 1)", Parameter(NAME, "float", (0.0, 1.0))),
        ("tag(log, interval(1e-4,1e-2))", Parameter(NAME, "float", (1e-4, 1e-2), log=True)),
        ("range(1, 5)", Parameter(NAME, "int", (1, 4))),
        ("range(1, 9, 3)", Parameter(NAME, "int", (1, 7), step=3)),
        ("range(8, 0, -3)", Parameter(NAME, "int", (2, 8), step=3)),
        ("range(0.3, 0.6, 0.1)", Parameter(NAME, "float", (0.3, 0.5), step=0.1)),
        ("range(0, 1, 0.25)", Parameter(NAME, "float", (0.0, 0.75), step=0.25)),
        ("tag(log, range(1, 65))", Parameter(NAME, "int", (1, 64), log=True)),
        ("int(interval(1, 4))", Parameter(NAME, "int", (1, 4))),
        ("tag(log, int, interval(1, 4))", Parameter(NAME, "int", (1, 4), log=True)),
        ("choice(2, 0.5, true, 'a, b')", Parameter(NAME, "choice", (2, 0.5, True, "a, b"))),
        ("null, 0.5, 1", Parameter(NAME, "choice", (None, 0.5, 1))),
        ("sort(choice(3, 1))", Parameter(NAME, "choice", (1, 3))),
    ],
)
def test_hydra_s_sweeps_are_parameters(line: str, parameter: Parameter) -> None:
    parsed = parse_parameter(NAME, line)
    assert parsed == parameter
    assert [type(value) for value in parsed.values] == [type(value) for value in parameter.values]
    assert parse_parameter(NAME, parsed.text) == parsed


def test_a_range_searches_what_a_sweep_runs() -> None:
    """range(1, 5) of a sweep is 1, 2, 3, 4; Optuna's ends are both included."""
    study = optuna.create_study(sampler=optuna.samplers.BruteForceSampler())
    study.optimize(parse_parameter("k", "range(1, 5)").suggest, n_trials=10)
    assert sorted(trial.params["k"] for trial in study.trials) == [1, 2, 3, 4]


def test_a_glob_chooses_among_the_named_values_of_an_option() -> None:
    lines = {
        "router.dispatch": "glob(*)",
        "optim.schedule": "glob([c*, r*], exclude=r*)",
        "balance_scope": "glob(*al)",
    }
    values = {parameter.name: parameter.values for parameter in read_space(None, lines, "soft")}
    assert values == {
        "router.dispatch": ("learned", "uniform", "identity"),
        "optim.schedule": ("cosine", "constant"),
        "balance_scope": ("global", "local"),
    }
    with pytest.raises(UserError, match="named values, which this option does not have"):
        read_space(None, {"optim.lr": "glob(*)"}, "soft")
    with pytest.raises(UserError, match="matches cosine; expected at least two of cosine, rsqrt"):
        read_space(None, {"optim.schedule": "glob(cos*)"}, "soft")


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("tag(log, interval(0, 1))", "a logarithmic range begins above 0, not at 0"),
        ("log(-1, 1)", "a logarithmic range begins above 0, not at -1"),
        ("interval(2, 1)", "expected the smaller number first, as interval(1, 2)"),
        ("interval(0, inf)", "expected two finite numbers"),
        ("range(1, 2)", "expected at least two values below the end"),
        ("range(1, 5, 0)", "expected at least two values below the end"),
        ("tag(log, range(1, 9, 2))", "a logarithmic range has no step"),
        ("tag(exp, interval(1, 2))", "unexpected tag 'exp'; expected log or int"),
        ("tag(log, choice(1, 2))", "unexpected tag 'log'; expected log or int, before an interval"),
        ("int(1, 1)", "expected at least two values below the end"),
        ("int(1, 2.5)", "expected whole numbers; for others type interval(1, 2.5)"),
        ("float(1)", "one value, nothing to search"),
        ("float(a, b)", "mismatch type argument start"),
        ("choice(1)", "at least two values"),
        ("choice(1, 1)", "all different"),
        ("normal(0, 1)", "Unknown function 'normal'; expected interval(a,b), range(a,b)"),
        ("choice(1, 2", "expected interval(a,b), range(a,b), choice(a,b,...)"),
        ("5", "one value, nothing to search; expected interval(a,b)"),
    ],
)
def test_a_line_that_is_no_range(line: str, says: str) -> None:
    with pytest.raises(UserError) as error:
        read_space(None, {NAME: line}, "soft")
    text = str(error.value)
    assert says in text and text.startswith(f"tune.space.{NAME}={line}: ") and "\n" not in text


OLD_FORMS = [
    ("log(1e-4,1e-2)", "tag(log, interval(1e-4, 1e-2))"),
    ("float(0, 0.2)", "interval(0, 0.2)"),
    ("int(1, 4)", "range(1, 5)"),
    ("choice(null, 0.5, 1, 2)", "null, 0.5, 1, 2"),
]


@pytest.mark.parametrize(("old", "new"), OLD_FORMS)
def test_the_old_form_is_read_with_a_hint(
    old: str, new: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert modern(old) == new and modern(new) == new
    name = f"tune_{abs(hash(old))}"  # a hint is shown once in a process
    (parameter,) = read_space(None, {name: f"{old} if router=soft"}, "soft")
    assert parameter == parse_parameter(name, new)
    assert capsys.readouterr().err == (
        f"tune.space.{name}={old} is the old form, still read; type tune.space.{name}='{new}'\n"
    )
    assert read_space(None, {name: new}, "soft") == [parameter]
    assert not capsys.readouterr().err


def test_a_cast_of_choices_is_no_old_form() -> None:
    """Hydra's int(1, 4) is a choice of 1 and 4; here two numbers are the ends of the old form."""
    assert parse_parameter("k", "int(1, 4)") == Parameter("k", "int", (1, 4))
    assert parse_parameter("k", "int(choice(1.0, 4.0))") == Parameter("k", "choice", (1, 4))


def test_the_text_of_a_recorded_plan_is_compared_in_one_form() -> None:
    assert canonical("k", "choice(False, True)") == "choice(false, true)"
    assert canonical("k", "log(0.999, 1)") == "tag(log, interval(0.999, 1))"
    assert canonical("k", "log(1, 1)") == "tag(log, interval(1, 1))"  # the same to six digits


@pytest.mark.slow
def test_a_study_begun_in_the_old_form_goes_on_in_the_new(tmp_path: Path) -> None:
    """Its space was recorded as old text, and its trial with Optuna's distributions of the time."""
    words = ["task=digits", "trainer.max_steps=3", "data.batch_size=256", "winner=0", "study=s"]
    words += ["router=soft", "tune=slots", "trials=2", f"records={tmp_path}"]
    plan, _, _ = plan_study(parse_command(words))
    storage = open_storage(str(tmp_path / "studies" / "s.journal"))
    study = open_study(plan, storage, optuna.pruners.NopPruner())
    assert plan.described["space"]["router.slots_per_expert"] == "range(1, 5)"
    old = {**plan.described["space"], "router.slots_per_expert": "int(1, 4)"}
    study.set_user_attr("plan", {**plan.described, "space": old})
    trial = study.ask()
    trial.suggest_categorical("num_experts", (4, 8, 16, 32))
    trial.suggest_int("router.slots_per_expert", 1, 4)
    study.tell(trial, 0.5)
    record = search(parse_command(words))
    assert [trial.state for trial in record.trials] == ["complete", "complete"]
    assert record.trials[0].params == trial.params
    with pytest.raises(
        UserError, match=r"range\(1, 5\) in its space, where this one has range\(1, 4\)"
    ):
        search(parse_command([*words, "tune.space.router.slots_per_expert=range(1,4)"]))
