"""`python -m moesuite.certify`: exit codes, JSON, help, and bad input."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from moesuite.certify.__main__ import certify
from moesuite.certify.properties import PROPERTIES
from moesuite.errors import UserError
from moesuite.records.certificate import Certificate, Check
from tests.certify.faults.planted import PLANTED
from tests.conftest import ROOT, Command


@pytest.mark.slow
def test_the_command_writes_json_and_a_table(command: Command, tmp_path: Path) -> None:
    done = command("moesuite.certify", "router=token_choice", "router.k=2", "num_experts=4")
    assert done.returncode == 0, done.stderr
    assert "token_choice" in done.stdout and "causal" in done.stdout
    assert "looks ahead: leaks in training and evaluation" in done.stdout
    assert "no output depends on a later token" in done.stdout  # the legend
    (path,) = (tmp_path / "runs" / "certificates").glob("*.json")
    found = json.loads(path.read_text(encoding="utf-8"))
    assert path.stem.startswith("token_choice-") and found["changed"] == {"k": 2, "num_experts": 4}
    assert (found["options"]["k"], found["options"]["balance_weight"]) == (2, 0.01) and found[
        "num_experts"
    ] == 4
    assert (
        found["checks"]["causal"]["holds"] is False
        and found["checks"]["deterministic"]["holds"] is True
    )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["router=tokn_choice"], "nearest: token_choice"),
        (["router=usmoe", "router.alpha=1.5"], "router.alpha=1.5"),
        (["router=usmoe", "router.alfa=1"], "nearest: alpha"),
        (["router=usmoe", "slots_per_token=-1"], "slots_per_token=-1"),
        (["router=cosine", "router.temperature=0"], "router.temperature=0"),
        (["router=noisy_topk", "router.k=9"], "expected 1 to num_experts=8"),
        (["router=all", "router.k=2"], "options belong to one router"),
        (["router=soft", "num_experts=1"], "num_experts=1"),
        (["records=/dev/null/a"], "records=/dev/null/a cannot be written: Not a directory"),
        (["routr=soft"], "nearest: router"),
        (["router=usmoe", "router.name=1"], "unknown option router.name"),
        (["router=soft", "router.dispatch=identity"], "expected identity for both or neither"),
        (["router=top_p", "router.p=0"], "router.p=0"),
        (["num_experts=many"], "num_experts=many: input should be a valid integer"),
        (["device=coda"], "device=coda"),
        (["device=meta"], "device=meta"),
    ],
)
def test_bad_input(
    words: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from moesuite.certify.__main__ import main

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["certify", *words])
    with pytest.raises(SystemExit) as stop:
        main()
    lines = capsys.readouterr().err.strip().splitlines()
    assert stop.value.code == 2 and len(lines) == 1 and message in lines[0], lines
    assert not (tmp_path / "runs").exists()


def certified(router: str, **changed: object) -> Certificate:
    """Return a certificate without a measurement."""
    return Certificate(
        router=router,
        options={},
        changed=changed,
        paper="",
        code="",
        num_experts=8,
        slots_per_token=1.0,
        random_in_training=False,
        claims_causal=False,
        checks={"causal": Check(holds=False)},
        at_initialisation={},
    )


def test_certificates_are_kept_by_full_name_and_options() -> None:
    names = [
        certified("soft"),
        certified("soft", k=2),
        certified("soft", k=3),
        certified("soft", k=2, num_experts=4),
    ]
    names += [
        certified("a/mine.py:Mine"),
        certified("b/mine.py:Mine"),
        certified("a.mine:Mine"),
        certified("Mine"),
    ]
    stems = [certificate.stem for certificate in names]
    assert len(set(stems)) == 8 and stems[0] == "soft" and stems[-1] == "Mine"
    assert stems[4].startswith("a-mine.py-Mine-") and certified("soft", k=2).stem == stems[1]
    old = certified("a/mine.py:Mine").model_copy(update={"changed": None})
    assert old.stem == "Mine"  # as schema 1 named it


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("router", ["switch", "expert_choice", "soft", "usmoe", "random"])
def test_a_device_certifies_as_the_cpu_does(router: str) -> None:
    here, there = certify(router, {}), certify(router, {}, device="cuda")
    assert {name: check.holds for name, check in there.checks.items()} == {
        name: check.holds for name, check in here.checks.items()
    }
    assert there.stem != here.stem == router and there.changed == {"device": "cuda"}


def run(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    from moesuite.certify.__main__ import main

    monkeypatch.setattr("sys.argv", ["certify", *words])
    with pytest.raises(SystemExit) as stop:
        main()
    return int(stop.value.code or 0)


@pytest.mark.slow
def test_the_exit_code_says_whether_a_claim_is_false(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(monkeypatch, f"router={PLANTED}:LeakInTrainingAt128") == 1
    assert "claims causal, leaks in training at length 128" in capsys.readouterr().out
    assert (
        run(monkeypatch, "router=expert_choice") == 0
    )  # looks ahead, and does not claim otherwise
    last = capsys.readouterr().out.split("\n\n")[-2]
    assert (
        last == "expert_choice: keeps what it claims; looks ahead: leaks in evaluation and "
        "training at length 24"
    )


@pytest.mark.slow
def test_a_router_that_cannot_be_certified_does_not_stop_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    names = [
        "hash",
        f"{ROOT}/tests/certify/faults/malformed.py:Raises",
        f"{ROOT}/tests/certify/faults/malformed.py:NothingAtAll",
        "dense",
    ]
    monkeypatch.setattr("moesuite.certify.__main__.router_names", lambda: names)
    assert run(monkeypatch, "router=all") == 2
    out, err = capsys.readouterr()
    assert "hash: keeps what it claims" in out and "dense: keeps what it claims" in out
    raised, nothing = err.strip().splitlines()
    case = "with 8 experts, 3 groups of 24 tokens, in training"
    assert (
        f"malformed.py:Raises cannot be certified {case}: RuntimeError: mat1 and mat2 shapes"
        in raised
    )
    assert "expected forward(x [G, T, D], mask" in raised
    assert "NothingAtAll returns a NoneType; allowed: a SoftRouting" in nothing
    assert sorted(path.stem for path in (tmp_path / "runs" / "certificates").iterdir()) == [
        "dense",
        "hash",
    ]


@pytest.mark.parametrize(
    ("name", "case"),
    [
        (
            "RaisesWithOneExpert",
            "with 1 expert, 3 groups of 24 tokens, in evaluation: RuntimeError: a choice of one",
        ),
        (
            "RaisesForOneToken",
            "with 2 experts, 3 groups of 1 token, in training: RuntimeError: a mean of one",
        ),
        ("RaisesAsItIsBuilt", "with 2 experts, as it is built: RuntimeError: no such file"),
        (
            "RaisesForPadding",
            "with 2 experts, 3 groups of 24 tokens, in training, with padding: RuntimeError: "
            "a mask",
        ),
    ],
)
def test_a_router_that_fails_in_one_case_names_the_case(name: str, case: str) -> None:
    with pytest.raises(UserError) as error:
        certify(f"{ROOT}/tests/certify/faults/malformed.py:{name}", {}, num_experts=2)
    assert f"malformed.py:{name} cannot be certified {case}; expected " in str(error.value)


def test_the_help_explains_every_column(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from moesuite.certify.__main__ import main

    monkeypatch.setattr("sys.argv", ["certify", "--help"])
    main()
    out = capsys.readouterr().out
    for prop in PROPERTIES:
        assert not prop.heading or f"{prop.heading}  {prop.meaning}" in out
    assert "one claims what does not hold, by a class attribute such as causal" in out
