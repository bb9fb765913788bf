"""Exports: Every Eval Ever, model cards, the feed, spreadsheets, published figures."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from xml.etree import ElementTree

import jsonschema
import pytest
import yaml

from moesuite.leaderboard.ingest.entry import entry_of
from moesuite.leaderboard.site import exports
from moesuite.leaderboard.site.build import build
from tests.leaderboard.boards import boards_of, put
from tests.leaderboard.records import record_of


def test_every_eval_ever_accepts_what_is_exported(runs: Path, tmp_path: Path) -> None:
    """Its schema, version 0.3.0, as in the package every-eval-ever on PyPI."""
    schema = json.loads((Path(__file__).parent / "eval.schema.json").read_text(encoding="utf-8"))
    build([str(runs)], tmp_path / "site")
    files = list((tmp_path / "site" / "exports" / "every_eval_ever").rglob("*.json"))
    assert len(files) == 6 and schema["version"] == exports.SCHEMA
    for path in files:
        jsonschema.validate(json.loads(path.read_text(encoding="utf-8")), schema)
    good = json.loads(
        next(
            path for path in files if path.parent.name == "good" and "mine" in path.parts
        ).read_text(encoding="utf-8")
    )
    (result,) = good["evaluation_results"]
    interval = result["score_details"]["uncertainty"]["confidence_interval"]
    assert result["score_details"]["score"] == pytest.approx(0.9306)
    assert interval["lower"] < 0.9306 < interval["upper"]


def test_a_model_card_takes_the_block() -> None:
    from huggingface_hub import ModelCard

    card = ModelCard(exports.model_index(record_of("good", 0, 0.875)) + "\n# A model\n")
    (result,) = card.data.eval_results
    assert (result.task_type, result.dataset_type, result.dataset_revision) == (
        "image-classification",
        "someone/data",
        "abc",
    )
    assert (result.metric_type, result.metric_value) == ("top1", 0.875)
    odd = exports.model_index(
        record_of('a: "b"\n', 0, config={"task": {"name": "- x", "family": ""}})
    )
    assert yaml.safe_load(odd.strip("-\n"))["model-index"][0]["name"] == 'vit-a: "b"\n'


def test_data_of_ones_own_is_not_called_the_hub_s() -> None:
    config = {"task": {"name": "images", "hub": "someone/data", "revision": "abc", "source": "x"}}
    record = record_of("good", 0, 0.875, config=config)
    block = exports.model_index(record)
    assert 'type: "mine"' in block and "someone" not in block and "abc" not in block
    assert entry_of(record)[0].hub == ""
    assert entry_of(record_of("good", 0, 0.875))[0].hub == "someone/data"


def test_the_feed_is_atom_and_tells_the_newest_first(runs: Path, tmp_path: Path) -> None:
    build([str(runs)], tmp_path / "site")
    root = ElementTree.parse(tmp_path / "site" / "feed.xml").getroot()
    name = "{http://www.w3.org/2005/Atom}"
    updated = [entry.findtext(f"{name}updated") or "" for entry in root.findall(f"{name}entry")]
    assert (
        updated == sorted(updated, reverse=True) and root.findtext(f"{name}updated") == updated[0]
    )
    assert all(root.findtext(f"{name}{part}") for part in ("id", "title"))


def test_no_spreadsheet_takes_a_name_for_a_formula() -> None:
    (board,) = boards_of([record_of("good", 0, backbone="=HYPERLINK(1)")])
    assert "'=HYPERLINK(1)" in exports.csv_of(board) and ",-0" not in exports.csv_of(board)


def test_published_figures_stand_beside_measured_ones(tmp_path: Path) -> None:
    quality = {
        name: {"value": 0.8, "direction": "max", "n": 9}
        for name in ("spearman", "STSBenchmark", "STS12")
    }
    config = {"task": {"name": "sts", "family": "embeddings", "kind": "similarity"}}
    config["trainer"] = {"max_time": "00:01:00:00"}  # as many steps as there is time for
    known = {
        "task": "sts",
        "family": "embeddings",
        "config": config,
        "quality": quality,
        "backbone": "minilm",
    }
    known |= {"splits": {"test": 9}, "curve": []}
    run = record_of("dense", 0, steps=0, **known)
    put(tmp_path / "runs", [run, record_of("dense", 1, **known)])
    build([str(tmp_path / "runs")], tmp_path / "site")
    page = (tmp_path / "site" / "tasks" / "sts.html").read_text(encoding="utf-8")
    assert (
        "Claimed and measured" not in page
    )  # one of the two was trained: another model than the published one
    shutil.rmtree(tmp_path / "runs")
    put(tmp_path / "runs", [run])
    build([str(tmp_path / "runs")], tmp_path / "site")
    page = (tmp_path / "site" / "tasks" / "sts.html").read_text(encoding="utf-8")
    assert "0.8203" in page and "−0.0203" in page and page.count("mteb") == 2
