"""Every planted fault is found by the property that it breaks, and by no router that has it not."""

from __future__ import annotations

import json
from contextlib import nullcontext
from pathlib import Path

import pytest

from moesuite.certify.__main__ import certify
from moesuite.certify.certificate import CHECKS, measure
from moesuite.certify.harness import Subject
from moesuite.certify.properties import PROPERTIES
from moesuite.routing.router import Router
from moesuite.testing import RouterContract
from tests.certify.faults import malformed, planted
from tests.certify.faults.base import Good
from tests.certify.faults.groups import NegativeAndSaysSo, Real
from tests.certify.faults.leaks import LeakInTraining
from tests.conftest import ROOT, Command

BY_NAME = {prop.name: prop for prop in PROPERTIES}


def test_one_check_for_each_property() -> None:
    assert [check.__name__ for check in CHECKS] == [prop.name for prop in PROPERTIES]


@pytest.mark.parametrize(
    ("router", "name", "words"), planted.FAULTS, ids=lambda value: getattr(value, "__name__", "")
)
def test_a_planted_fault_is_found_by_what_it_breaks(
    router: type[Router], name: str, words: list[str]
) -> None:
    check = measure(BY_NAME[name], Subject(router))
    sentence = BY_NAME[name].sentence(check)
    assert check.false and sentence.startswith(f"claims {BY_NAME[name].claim}, "), sentence
    for word in words:
        assert word in sentence


@pytest.mark.parametrize("router", [Good, Real], ids=lambda router: router.__name__)
@pytest.mark.parametrize("prop", PROPERTIES, ids=lambda prop: prop.name)
def test_a_router_without_a_fault_keeps_what_it_claims(router: type[Router], prop: object) -> None:
    check = measure(prop, Subject(router))
    assert not check.false, check


def test_unclaimed_properties_are_no_false_claims() -> None:
    check = measure(BY_NAME["weights_not_negative"], Subject(NegativeAndSaysSo))
    assert check.holds is False and not check.false
    assert (
        BY_NAME["weights_not_negative"]
        .sentence(check)
        .startswith("says so: weights below 0 in training")
    )


def test_contract_and_certificate_are_the_same_checks() -> None:
    """The contract of a third party fails exactly where the certificate has a false claim.

    The sentence is the same.
    """
    router = LeakInTraining
    case = type("Case", (RouterContract,), {"router": router})()
    found = certify(f"{ROOT}/tests/certify/faults/leaks.py:LeakInTraining", {}, num_experts=4)
    assert (
        found.checks["causal"].false
        and "claims causal, leaks in training at length 24" in found.verdict
    )
    for prop in PROPERTIES:
        check = found.checks[prop.name]
        with (
            pytest.raises(AssertionError, match=prop.sentence(check))
            if check.false
            else nullcontext()
        ):
            case.test_keeps_what_its_certificate_claims(prop)


ONE_PROCESS = """
import json, sys
from moesuite.certify.__main__ import certify
from moesuite.config.compose import compose
from moesuite.errors import UserError
from moesuite.testing import RouterContract
from moesuite.train.fit import fit
from moesuite.certify.certificate import measure
from moesuite.routers import router_class
from moesuite.certify.properties import PROPERTIES

def line_of(function):
    try:
        function()
    except UserError as error:
        return str(error)
    return "nothing was said"

lines = {}
for number, name in enumerate(sys.argv[2:]):
    router = f"{sys.argv[1]}:{name}"
    case = type("Case", (RouterContract,), {"router": router_class(router)})()
    words = ("num_experts=2", "logger=none", "trainer.max_steps=1")
    config = compose(f"router={router}", *words) if number < 4 else None
    lines[name] = [
        line_of(lambda: certify(router, {})),
        line_of(lambda: case.test_keeps_what_its_certificate_claims(PROPERTIES[0])),
        line_of(lambda: fit(config)) if number < 4 else "",
    ]
print(json.dumps(lines))
"""


@pytest.mark.slow
def test_a_routing_of_the_wrong_form_is_one_line_everywhere(
    command: Command, tmp_path: Path
) -> None:
    """In certificate, contract and run.

    In a process without beartype, which would find some of them first.
    """
    (tmp_path / "forms.py").write_text(ONE_PROCESS, encoding="utf-8")
    done = command("forms", f"{ROOT}/tests/certify/faults/malformed.py", *malformed.FORMS)
    assert done.returncode == 0, done.stderr[-3000:]
    lines = json.loads(done.stdout.splitlines()[-1])
    for name, words in malformed.FORMS.items():
        for line in filter(None, lines[name]):
            assert words in line and name in line and "allowed: " in line and "\n" not in line, (
                name,
                line,
            )
    assert not list(tmp_path.glob("runs/**/*.json"))
