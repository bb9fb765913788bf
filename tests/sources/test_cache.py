"""Caches are checked by content.

A changed byte is reported, and what is read is rebuilt.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest

from moesuite.sources.cache import SEAL, cached, changed, load_rows
from moesuite.tasks.preferences.backgammon.selfplay import Recipe, made
from moesuite.tasks.text.corpus import Text
from moesuite.tasks.text.tokenizer import tokens_of
from moesuite.tasks.vision.decoding import Decoding
from moesuite.tasks.vision.splits import decode_all

Cached = tuple[Callable[[], Any], str]  # reads through the cache; the files that it reads


def _tokens(folder: Path) -> Cached:
    text = Text(
        "sha256:1", "a text", "halves", lambda: {"train": [b"to be " * 2000], "test": [b"or not"]}
    )

    def read() -> list[int]:
        return [*map(int, tokens_of(text, "byte").splits["train"])]

    return read, "tokens/*/train.npy"


def _images(folder: Path) -> Cached:
    pixels = (np.arange(3 * 8 * 8 * 3) % 251).astype(np.uint8).reshape(3, 8, 8, 3)
    features = datasets.Features({"image": datasets.Image()})
    rows = datasets.Dataset.from_dict({"image": list(pixels)}, features=features)
    rows = rows.cast_column("image", datasets.Image(decode=False))

    def read() -> list[int]:
        return (
            decode_all(rows, 8, Decoding(3), folder / "images", "key", "here")[0].ravel().tolist()
        )

    return read, "images/*/pixels.npy"


def _labels(folder: Path) -> Cached:
    pytest.importorskip("gnubg_nn")
    recipe = Recipe("gnubg-nn", 4, 2, 0, 0, 0.3, 0)
    return lambda: (made(recipe) / "train.parquet").read_bytes(), "backgammon/*/train.parquet"


def _arrow(folder: Path) -> Cached:
    datasets.Dataset.from_dict({"text": ["to be", "or not"] * 50}).to_parquet(
        folder / "train.parquet"
    )
    place = folder / "arrow"

    def read() -> list[str]:
        files = str(folder / "train.parquet")
        return list(
            load_rows("parquet", data_files=files, split="train", cache_dir=str(place))["text"]
        )

    return read, "arrow/**/*.arrow"


KINDS = {"tokens": _tokens, "images": _images, "labels": _labels, "arrow": _arrow}


def _flip(path: Path) -> None:
    """Change bytes in the middle, so that length and head are as they were."""
    content = bytearray(path.read_bytes())
    for index in range(len(content) // 2, len(content) // 2 + 40):
        content[index] ^= 1
    path.write_bytes(content)


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-60])


def _empty(path: Path) -> None:
    path.write_bytes(b"")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("harm", [_flip, _cut, _empty])
def test_changed_caches_are_reported_and_rebuilt(
    kind: str,
    harm: Callable[[Path], None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("MOESUITE_CACHE", str(tmp_path))
    read, pattern = KINDS[kind](tmp_path)
    before = read()
    assert read() == before and "made again" not in capsys.readouterr().err
    (file,) = tmp_path.glob(pattern)
    content = file.read_bytes()
    harm(file)
    assert file.read_bytes() != content
    assert read() == before
    assert capsys.readouterr().err.count("; made again\n") == 1
    assert read() == before and "made again" not in capsys.readouterr().err  # whole from here on


def _write(folder: Path) -> None:
    (folder / "a").write_text("to be", encoding="utf-8")
    (folder / "b").write_text("or not", encoding="utf-8")


@pytest.mark.parametrize(
    ("harm", "says"),
    [
        (lambda folder: (folder / "a").write_text("to bee", encoding="utf-8"), "a was changed"),
        (lambda folder: (folder / "b").unlink(), "files are a, not a, b"),
        (
            lambda folder: (folder / "c").write_text("", encoding="utf-8"),
            "files are a, b, c, not a, b",
        ),
        (lambda folder: (folder / SEAL).unlink(), f"{SEAL} is missing or unreadable"),
        (
            lambda folder: (folder / SEAL).write_text("[1", encoding="utf-8"),
            f"{SEAL} is missing or unreadable",
        ),
        (
            lambda folder: (folder / SEAL).write_text("7", encoding="utf-8"),
            f"{SEAL} is missing or unreadable",
        ),
    ],
)
def test_a_folder_by_hand(harm: Callable[[Path], Any], says: str, tmp_path: Path) -> None:
    folder = cached(tmp_path / "one", _write)
    assert changed(folder) == ""
    harm(folder)
    assert changed(folder) == says
    assert changed(cached(folder, _write)) == "" and [path.name for path in tmp_path.iterdir()] == [
        "one"
    ]


def test_a_failed_rebuild_leaves_the_cache_unchanged(tmp_path: Path) -> None:
    folder = cached(tmp_path / "one", _write)
    (folder / "a").write_text("changed", encoding="utf-8")

    def fail(place: Path) -> None:
        raise OSError("no space left")

    with pytest.raises(OSError, match="no space left"):
        cached(folder, fail)
    assert changed(folder) == "a was changed" and [path.name for path in tmp_path.iterdir()] == [
        "one"
    ]
