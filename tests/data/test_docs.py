"""The commands of `docs/data.md` do what it says."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from moesuite.data.__main__ import main
from tests.conftest import ROOT
from tests.data.sources import image_tree
from tests.helpers import invoke

BLOCK = re.findall(
    r"```text\n(.*?)```", (ROOT / "docs" / "data.md").read_text(encoding="utf-8"), re.DOTALL
)[0]
COUNTS = {"train": {"ant": 8, "bee": 8, "cow": 8}, "val": {"ant": 2, "bee": 2, "cow": 2}}


def test_the_commands_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    images = image_tree(tmp_path / "images", COUNTS)
    texts = tmp_path / "texts"
    texts.mkdir()
    for split, words in (("train", 3000), ("valid", 300)):
        (texts / f"wiki.{split}.tokens").write_text(
            "to be or not to be\n" * (words // 6), encoding="utf-8"
        )
    block = BLOCK.replace("path/to/images", str(images)).replace("path/to/texts", str(texts))
    shown, page, trained = map(shlex.split, block.splitlines())
    monkeypatch.chdir(tmp_path)
    for command in (shown, page):
        assert command[:3] == ["python", "-m", "moesuite.data"]
        own = ["task.num_classes=3"] if command is shown else []
        monkeypatch.setattr("sys.argv", ["data", *command[3:], *own])
        main()
        assert "no test split: the validation split" in capsys.readouterr().out
    assert "wikitext2" in (tmp_path / "data.html").read_text(encoding="utf-8")
    assert trained[:3] == ["python", "-m", "moesuite.run"]
    small = ["task.image_size=8", "backbone=vit_mini", "trainer.fast_dev_run=true", "measure=false"]
    assert invoke(monkeypatch, *trained[3:], *small) == 0
    out, err = capsys.readouterr()
    assert "0 of 6 test examples also stand in train" in out + err
