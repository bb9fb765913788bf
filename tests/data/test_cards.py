"""Data cards: the committed page is what the YAML files say."""

from __future__ import annotations

from pathlib import Path

import pytest

from moesuite.data import cards
from moesuite.data.__main__ import main
from tests.conftest import ROOT


@pytest.fixture(scope="module")
def text() -> str:
    return cards.cards()


def card(text: str, name: str) -> str:
    return text.partition(f"## {name}\n")[2].partition("\n## ")[0]


def test_the_committed_page_is_current(text: str) -> None:
    """Else: python -m moesuite.data cards=docs/tasks.md."""
    assert (ROOT / "docs" / "tasks.md").read_text(encoding="utf-8") == text


def test_every_packaged_task_has_a_card_that_says_all(text: str) -> None:
    names = [path.stem for path in (ROOT / "tasks").glob("*/*.yaml")]
    assert len(names) > 20 and text.count("\n## ") == len(names)
    for name in names:
        for what in ("source", "licence", "splits", "size", "metric", "floor", "ceiling"):
            assert f"\n- {what}: " in card(text, name), (name, what)


def test_figures_follow_from_the_files(text: str) -> None:
    cifar = card(text, "cifar100")
    assert "revision `aadb3af77e9048adbea6b47c21a81e47dd092ae5`" in cifar
    assert "- floor: 0.01 (1 of 100 classes)" in cifar and "- ceiling: 1\n" in cifar
    assert "train from `train`, test from `validation`" in card(text, "imagenet")
    assert "- ceiling: 0, which no text allows" in card(text, "enwik8")
    assert "- floor: 0 (unrelated ranks)" in card(text, "sts")
    assert "  - copa: 2 classes, scored by accuracy; train, validation" in card(text, "superglue")
    assert "- floor: not stated" in card(text, "mteb")  # of many tasks


def test_the_gain_of_a_random_order_by_hand() -> None:
    """The answer has each of the first ten ranks once in n orders: 1/log2(2) + ... + 1/log2(11)."""
    gains = (1, 0.6309, 0.5, 0.4307, 0.3869, 0.3562, 0.3333, 0.3155, 0.3010, 0.2891)
    assert pytest.approx(sum(gains), abs=1e-3) == cards.GAIN


def test_the_command_writes_the_page_alone(
    tmp_path: Path,
    text: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(cards, "cards", lambda: text)
    monkeypatch.setattr("sys.argv", ["data", f"cards={tmp_path / 'cards.md'}"])
    main()
    assert (tmp_path / "cards.md").read_text(
        encoding="utf-8"
    ) == text and capsys.readouterr().out == ""
