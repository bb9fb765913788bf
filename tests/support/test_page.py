"""`docs/models.md` is what the command writes of the stored results, and holds no fault."""

from __future__ import annotations

from moesuite.support.page import page
from moesuite.support.result import Outcome, Report, Result, read
from tests.conftest import ROOT

STORED = read(ROOT / "docs" / "models.json")


def test_the_document_is_that_of_the_stored_results() -> None:
    assert (ROOT / "docs" / "models.md").read_text(encoding="utf-8") == page(STORED)


def test_no_model_crashes_or_gives_wrong_numbers() -> None:
    assert [each.name for each in STORED.results if each.status in ("crash", "wrong")] == []


def test_most_of_both_libraries_is_tried() -> None:
    for library, least in (("timm", 150), ("hf", 550)):
        results = [each for each in STORED.results if each.library == library]
        assert len(results) >= least
        tried = [each for each in results if each.status != "unsupported"]
        assert len(tried) / len(results) > 0.7


def test_every_refusal_says_why() -> None:
    outcomes = [o for each in STORED.results for o in (each.upcycle, each.reroute) if o is not None]
    refusals = [outcome.detail for outcome in outcomes if outcome.status == "refused"]
    assert len(refusals) > 50
    assert [detail for detail in refusals if len(detail) < 40] == []


def test_a_page_by_hand() -> None:
    fine = Outcome(status="fine", layers=2)
    refused = Outcome(status="refused", detail="Ab has no MLP | at all; expected another")
    results = [
        Result(library="timm", name="vit", model="vit_tiny", upcycle=fine),
        Result(library="hf", name="ab", model="Ab", upcycle=refused, reroute=fine),
        Result(
            library="hf", name="cd", upcycle=Outcome(status="unsupported", detail="no input of it")
        ),
    ]
    text = page(Report(versions={"timm": "1.0", "torch": "2.0"}, results=results))
    assert "timm 1.0, torch 2.0" in text
    assert "## timm: 1 families\n\n1 fine.\n" in text
    assert "| vit | `vit_tiny` | fine, 2 layers |\n" in text
    assert "## transformers: 2 model types\n\n1 fine, 1 unsupported.\n" in text
    assert "| ab | `Ab` | refused: has no MLP / at all | fine, 2 layers |\n" in text
    assert "### Not tried (1)\n\n- cd: no input of it\n" in text
