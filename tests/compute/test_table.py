"""`python -m moesuite.compute`: the published table of Soft MoE."""

from __future__ import annotations

import json
import resource
from functools import partial

import pytest

from moesuite.compute.__main__ import main, print_rows
from moesuite.compute.paper_models import SOFT_MOE
from tests.conftest import Command

MEMORY = 4 * 2**30  # the weights of the largest model take 200 GiB


@pytest.mark.slow
def test_the_cost_table_of_soft_moe_needs_no_memory_for_weights(command: Command) -> None:
    """Parameters to the printed digits, GFLOP per image within 1 %.

    Some digits are cut off there: 108.6 M is printed as 108 M.
    """
    limit = partial(resource.setrlimit, resource.RLIMIT_DATA, (MEMORY, MEMORY))
    run = command("moesuite.compute", "table=soft_moe", "format=json", preexec_fn=limit)
    rows = json.loads(run.stdout)
    assert [set(row) for row in rows] == [{"model", "params", "gflop_per_image"}] * 9
    found = {row["model"]: row for row in rows}
    assert list(found) == [model.name for model in SOFT_MOE]
    assert (rows[0]["model"], rows[-1]["model"]) == ("ViT-S/16", "Soft-H/14-256E")
    for model in SOFT_MOE:
        row = found[model.name]
        if model.params is not None:
            printed, digit = model.params
            assert abs(row["params"] - printed) < digit, model.name
        if model.gflop is not None:
            assert row["gflop_per_image"] == pytest.approx(model.gflop, rel=0.01), model.name
    assert found["Soft-H/14-256E"]["params"] == pytest.approx(54e9, rel=0.01)


def test_the_table_as_markdown(capsys: pytest.CaptureFixture[str]) -> None:
    row = {"model": "m", "params": 27_318_100_000, "gflop_per_image": 283.66}
    print_rows([{**row, "paper_params": 27.3e9, "paper_gflop_per_image": 284.6}], "markdown")
    last = capsys.readouterr().out.strip().splitlines()[-1]
    assert [cell.strip() for cell in last.split("|")] == [
        "",
        "m",
        "27.3 B",
        "27.3 B",
        "283.66",
        "284.6",
        "",
    ]


@pytest.mark.parametrize(
    ("word", "says"), [("table=soft", "input should be 'soft_moe'"), ("tabel=x", "nearest: table")]
)
def test_bad_input_of_the_table(
    word: str, says: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["compute", word])
    with pytest.raises(SystemExit) as stop:
        main()
    assert stop.value.code == 2 and says in capsys.readouterr().err
